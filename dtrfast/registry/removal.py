"""Deleting repositories: gone at once, in the trash for a while, then freed a step at a time.

A delete takes the name away, so nobody finds the repository any more, whatever it holds. Its rows
stay under the number that nobody else ever gets: until it is restored, or its time in the trash is
over; then the housekeeper removes them.
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
    NUMBER_SIZE,
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
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import catalog, links, ownership, repositories, statistics, trash, unheld
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.links import Link
from dtrfast.registry.ownership import UNKNOWN
from dtrfast.registry.records import StoredManifest, decode_repository
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStore

# Rows that one transaction removes: some milliseconds.
_STEP_MAX = 300
# Rows that are only removed; those that are counted or linked come before.
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
    """A repository in the trash."""

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
    """Put the repository into the trash; returns its number. Raises `RepositoryUnknown`.

    What was granted on it stays with the number, and means nothing without the name. `owner` is the
    account that the change log names; None: the one that has the name now.
    """
    owner = ownership.owner_of(transaction, name) if owner is None else owner
    repository = repositories.get(transaction, name)
    key = name.text.encode()
    record = transaction.get(REPOSITORIES, key)
    assert record is not None
    for table, row in (
        (REPOSITORIES, key),
        (CATALOG, key),
        (PUBLIC, key),
        (REPOSITORY_NAMES, number_key(repository)),
        (USAGES, key),
    ):
        transaction.delete(table, row)
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


def trashed(transaction: ReadTransaction) -> Iterator[DeletedRepository]:
    """Repositories in the trash, in the order in which they were made."""
    for _, data in transaction.scan(REPOSITORIES_TRASHED):
        yield _decoder.decode(data)


def find_trashed(transaction: ReadTransaction, repository: int) -> DeletedRepository:
    """Raises `RepositoryUnknown`."""
    data = transaction.get(REPOSITORIES_TRASHED, number_key(repository))
    if data is None:
        raise RepositoryUnknown("there is no such repository in the trash")
    return _decoder.decode(data)


def restore(
    transaction: WriteTransaction, repository: int, name: RepositoryName, author: Author
) -> None:
    """Bring a repository back, under its name or another one.

    Raises `RepositoryUnknown`, `Conflict` if the name is taken.
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
    """Let a repository go for good, if it was deleted at that time; `step` empties it."""
    data = transaction.get(REPOSITORIES_TRASHED, key)
    if data is not None and _decoder.decode(data).deleted_at == deleted_at:
        transaction.delete(REPOSITORIES_TRASHED, key)
        transaction.put(REPOSITORIES_DELETED, key, number_key(deleted_at))


def next_to_remove(transaction: ReadTransaction) -> tuple[RepositoryId, int] | None:
    """A repository that left the trash and has rows, and the time at which it was deleted."""
    for key, deleted_at in transaction.scan(REPOSITORIES_DELETED, limit=1):
        return RepositoryId(number_of(key)), number_of(deleted_at)
    return None


def step(engine: Engine, blobs: BlobStore) -> int:
    """Remove some rows of repositories that left the trash; returns how many."""
    with engine.read() as transaction:
        found = next_to_remove(transaction)
    if found is None:
        return 0
    # The grace of its blobs ran while it was in the trash.
    repository, deleted_at = found
    sizes = _sizes(engine, blobs, repository)
    return engine.write(partial(_remove_some, repository=repository, now=deleted_at, sizes=sizes))


def _sizes(engine: Engine, blobs: BlobStore, repository: RepositoryId) -> dict[bytes, int]:
    """The sizes of blobs whose links are of an older version, and have none."""
    with engine.read() as transaction:
        rows = transaction.scan(LINKS, number_key(repository), limit=_STEP_MAX)
        old = [key for key, data in rows if Link.decode(data).size is None]
    digests = {key: Digest.from_key(key[NUMBER_SIZE:]) for key in old}
    found = blobs.sizes(digests.values())
    return {key: found.get(digest, 0) for key, digest in digests.items()}


def _remove_some(
    transaction: WriteTransaction, repository: int, now: int, sizes: Mapping[bytes, int]
) -> int:
    prefix = number_key(repository)
    held = [key for key, _ in transaction.scan(LINKS, prefix, limit=_STEP_MAX)]
    if held:
        return _unlink(transaction, RepositoryId(repository), held, now, sizes)
    rows = transaction.scan(MANIFESTS, prefix, limit=_STEP_MAX)
    # Only their sizes are kept: together they may take a gigabyte.
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
    keys = [key for key, _ in transaction.scan(table, prefix, limit=_STEP_MAX)]
    for key in keys:
        transaction.delete(table, key)
    return len(keys)


def _unlink(
    transaction: WriteTransaction,
    repository: RepositoryId,
    keys: list[bytes],
    now: int,
    sizes: Mapping[bytes, int],
) -> int:
    place = unheld.place_of(transaction, repository, now)
    for key in keys:
        links.remove(transaction, place, Digest.from_key(key[NUMBER_SIZE:]), sizes.get(key))
    return len(keys)
