"""Deletion of repositories: into the trash at once, and freed in steps when they have left it.

A deletion removes the repository's name, so no request finds the repository any more. Its rows stay
under its number, which no other repository gets. They stay until the repository is restored, or
until its time in the trash is over: then the housekeeper removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from dtrfast.errors import Conflict, RepositoryUnknown
from dtrfast.index import changes, epoch
from dtrfast.index.engine import Engine, ReadTransaction, Table, WriteTransaction
from dtrfast.index.tables import (
    CATALOG,
    LINKS,
    MANIFEST_TAGS,
    MANIFESTS,
    MANIFESTS_DELETED,
    OUTLINES,
    PUBLIC,
    PULLS,
    READMES,
    READMES_HTML,
    READMES_WAITING,
    REFERENCES,
    REFERENCES_DELETED,
    REFERRERS,
    REPOSITORIES,
    REPOSITORIES_DELETED,
    REPOSITORIES_TRASHED,
    REPOSITORY_NAMES,
    TAG_HISTORY,
    TAGS,
    TRUSTS,
    USAGES,
    number_key,
    number_of,
)
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import catalog, links, ownership, repositories, statistics, trash, unheld
from dtrfast.registry.keys import RepositoryId, digest_in
from dtrfast.registry.links import Link
from dtrfast.registry.ownership import UNKNOWN
from dtrfast.registry.records import StoredManifest, decode_repository
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStore

# Rows of one table that one transaction removes: some milliseconds.
_STEP_MAX = 300
# Tables whose rows are only removed. Rows that are counted or linked are removed before these.
_PLAIN: tuple[Table, ...] = (
    MANIFEST_TAGS,
    OUTLINES,
    REFERRERS,
    REFERENCES,
    REFERENCES_DELETED,
    MANIFESTS_DELETED,
    TAG_HISTORY,
    TRUSTS,
    READMES,
    READMES_HTML,
    READMES_WAITING,
    PULLS,
)


class DeletedRepository(msgspec.Struct, frozen=True, array_like=True):
    """A repository in the trash. `deleted_at` is in seconds since the epoch. `record` is an encoded
    `RepositoryRecord`.
    """

    version: int
    id: int
    name: str
    deleted_at: int
    deleted_by: str
    record: bytes
    owner: int = UNKNOWN  # the account that it belonged to


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DeletedRepository)


def delete(
    transaction: WriteTransaction, name: RepositoryName, author: Author, owner: int | None = None
) -> RepositoryId:
    """Put the repository into the trash. Returns its number. Raises `RepositoryUnknown`.

    Grants on it stay with the number, and have no effect without the name. `owner` is the id of the
    owning account from the change log; None: of the account that has the name now.
    """
    owner = ownership.owner_of(transaction, name) if owner is None else owner
    repository = repositories.get(transaction, name)
    record = transaction.get(REPOSITORIES, name.text.encode())
    assert record is not None
    _delete_name(transaction, name, repository)
    trashed = DeletedRepository(
        version=1,
        id=repository,
        name=name.text,
        deleted_at=author.now,
        deleted_by=author.actor,
        record=record,
        owner=owner,
    )
    transaction.put(REPOSITORIES_TRASHED, number_key(repository), _encoder.encode(trashed))
    trash.put(transaction, "repository", number_key(repository), author.now)
    statistics.add(transaction, repositories=-1)
    epoch.advance(transaction)
    changes.record(
        transaction,
        "repository.delete",
        time=author.now,
        actor=author.actor,
        repository=name.text,
        payload={"id": repository, "owner": owner},
    )
    return repository


def _delete_name(
    transaction: WriteTransaction, name: RepositoryName, repository: RepositoryId
) -> None:
    """Delete the rows with the name, so that no request finds the repository."""
    for table in (REPOSITORIES, CATALOG, PUBLIC, USAGES):
        transaction.delete(table, name.text.encode())
    transaction.delete(REPOSITORY_NAMES, number_key(repository))


def trashed(transaction: ReadTransaction) -> Iterator[DeletedRepository]:
    """Yield the repositories in the trash, in the order in which they were created."""
    for _, data in transaction.scan(REPOSITORIES_TRASHED):
        yield _decoder.decode(data)


def find_trashed(transaction: ReadTransaction, repository: int) -> DeletedRepository:
    """Return a repository in the trash. Raises `RepositoryUnknown`."""
    data = transaction.get(REPOSITORIES_TRASHED, number_key(repository))
    if data is None:
        raise RepositoryUnknown("there is no such repository in the trash")
    return _decoder.decode(data)


def restore(
    transaction: WriteTransaction, repository: int, name: RepositoryName, author: Author
) -> None:
    """Restore a repository from the trash, under its old name or another one.

    Raises `RepositoryUnknown`, and `Conflict` if a repository has the name.
    """
    found = find_trashed(transaction, repository)
    key = name.text.encode()
    if transaction.get(REPOSITORIES, key) is not None:
        raise Conflict(f"there is another repository {name} now: restore it under another name")
    record = decode_repository(found.record)
    transaction.put(REPOSITORIES, key, found.record)
    transaction.put(REPOSITORY_NAMES, number_key(repository), key)
    if record.is_public:
        transaction.put(PUBLIC, key, b"")
    if catalog.holds_something(transaction, RepositoryId(repository)):
        transaction.put(CATALOG, key, b"")
    transaction.delete(REPOSITORIES_TRASHED, number_key(repository))
    trash.remove(transaction, "repository", number_key(repository), found.deleted_at)
    statistics.add(transaction, repositories=1)
    epoch.advance(transaction)
    changes.record(
        transaction,
        "repository.restore",
        time=author.now,
        actor=author.actor,
        repository=name.text,
        payload={"id": repository, "record": found.record},
    )


def purge(transaction: WriteTransaction, key: bytes, deleted_at: int) -> None:
    """Remove a repository from the trash for good, if it was deleted at that time. `step` then
    removes its rows.
    """
    data = transaction.get(REPOSITORIES_TRASHED, key)
    if data is not None and _decoder.decode(data).deleted_at == deleted_at:
        transaction.delete(REPOSITORIES_TRASHED, key)
        transaction.put(REPOSITORIES_DELETED, key, number_key(deleted_at))


def next_to_remove(engine: Engine) -> tuple[RepositoryId, int] | None:
    """Return a repository that left the trash and has rows, and the time of its deletion; None if
    there is none.
    """
    with engine.read() as transaction:
        for key, deleted_at in transaction.scan(REPOSITORIES_DELETED, limit=1):
            return RepositoryId(number_of(key)), number_of(deleted_at)
    return None


def step(engine: Engine, blobs: BlobStore) -> int:
    """Remove some rows of a repository that left the trash. Returns the number of rows."""
    found = next_to_remove(engine)
    if found is None:
        return 0
    repository, deleted_at = found
    sizes = _sizes(engine, blobs, repository)
    remove = partial(_remove_rows, repository=repository, deleted_at=deleted_at, sizes=sizes)
    return engine.write(remove)


def _sizes(engine: Engine, blobs: BlobStore, repository: RepositoryId) -> dict[bytes, int]:
    """Return the sizes in bytes for links without one, which an older version wrote, by key."""
    with engine.read() as transaction:
        rows = transaction.scan(LINKS, number_key(repository), limit=_STEP_MAX)
        old = [key for key, data in rows if Link.decode(data).size is None]
    digests = {key: digest_in(key) for key in old}
    found = blobs.sizes(digests.values())
    return {key: found.get(digest, 0) for key, digest in digests.items()}


def _remove_rows(
    transaction: WriteTransaction,
    repository: RepositoryId,
    deleted_at: int,
    sizes: Mapping[bytes, int],
) -> int:
    """Remove some rows: links first, then all others. Returns the number of rows."""
    prefix = number_key(repository)
    held = [key for key, _ in transaction.scan(LINKS, prefix, limit=_STEP_MAX)]
    if held:
        # At the time of the deletion: the grace of its blobs ran while it was in the trash.
        target = unheld.target_of(transaction, repository, deleted_at)
        for key in held:
            links.remove(transaction, target, digest_in(key), sizes.get(key))
        return len(held)
    rows = transaction.scan(MANIFESTS, prefix, limit=_STEP_MAX)
    # Only the sizes of manifests are kept in memory: their bytes may take a gigabyte.
    manifests = [(key, len(StoredManifest.decode(data).body)) for key, data in rows]
    for key, size in manifests:
        statistics.add(transaction, manifests=-1, manifest_bytes=-size)
        transaction.delete(MANIFESTS, key)
    tags = [key for key, _ in transaction.scan(TAGS, prefix, limit=_STEP_MAX)]
    for key in tags:
        statistics.add(transaction, tags=-1)
        transaction.delete(TAGS, key)
    count = len(manifests) + len(tags) + sum(_clear(transaction, t, prefix) for t in _PLAIN)
    if count == 0:
        transaction.delete(REPOSITORIES_DELETED, prefix)
    return count


def _clear(transaction: WriteTransaction, table: Table, prefix: bytes) -> int:
    """Delete some rows of a table. Returns the number of rows."""
    keys = [key for key, _ in transaction.scan(table, prefix, limit=_STEP_MAX)]
    for key in keys:
        transaction.delete(table, key)
    return len(keys)
