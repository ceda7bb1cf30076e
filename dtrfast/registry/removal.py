"""Deleting repositories: gone at once, and then freed a bounded step at a time.

A delete takes the name away, so nobody finds the repository any more, whatever it holds. Its rows
are removed by the housekeeper, under the number that nobody else ever gets.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from dtrfast.errors import BlobUnknown
from dtrfast.index import changes, epoch
from dtrfast.index.engine import Engine, Table, WriteTransaction
from dtrfast.index.tables import (
    CATALOG,
    LINKS,
    MANIFEST_TAGS,
    MANIFESTS,
    PUBLIC,
    READMES,
    REFERENCES,
    REFERRERS,
    REPOSITORIES,
    REPOSITORIES_DELETED,
    REPOSITORY_NAMES,
    TAGS,
    TRUSTS,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories, statistics
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author
from dtrfast.store import contents
from dtrfast.store.blobs import RepositoryId

# Rows that one transaction removes: some milliseconds.
_STEP_MAX = 300
# Rows that are only removed; those that are counted or linked come before.
_PLAIN: tuple[Table, ...] = (MANIFEST_TAGS, REFERRERS, REFERENCES, TRUSTS)


def delete(transaction: WriteTransaction, name: RepositoryName, author: Author) -> RepositoryId:
    """Take the repository away; returns its number. Raises `RepositoryUnknown`.

    What was granted on it is for the caller to take back.
    """
    repository = repositories.get(transaction, name)
    key = name.text.encode()
    for table, row in (
        (REPOSITORIES, key),
        (CATALOG, key),
        (PUBLIC, key),
        (REPOSITORY_NAMES, number_key(repository)),
        (READMES, number_key(repository)),
    ):
        transaction.delete(table, row)
    transaction.put(REPOSITORIES_DELETED, number_key(repository), number_key(author.now))
    statistics.add(transaction, repositories=-1)
    epoch.advance(transaction)
    changes.record(
        transaction,
        "repository.delete",
        time=author.now,
        actor=author.actor,
        repository=name.text,
        payload={"id": repository},
    )
    return repository


def step(engine: Engine, now: int) -> int:
    """Remove some rows of repositories that were deleted; returns how many."""
    with engine.read() as transaction:
        waiting = [number_of(key) for key, _ in transaction.scan(REPOSITORIES_DELETED, limit=1)]
    return sum(engine.write(partial(_remove_some, repository=n, now=now)) for n in waiting)


def _remove_some(transaction: WriteTransaction, repository: int, now: int) -> int:
    prefix = number_key(repository)
    links = [key for key, _ in transaction.scan(LINKS, prefix, limit=_STEP_MAX)]
    if links:
        return _unlink(transaction, RepositoryId(repository), links, now)
    manifests = list(transaction.scan(MANIFESTS, prefix, limit=_STEP_MAX))
    for key, data in manifests:
        size = len(StoredManifest.decode(data).body)
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
    transaction: WriteTransaction, repository: RepositoryId, keys: Iterable[bytes], now: int
) -> int:
    count = 0
    for key in keys:
        digest = Digest.from_key(key[len(number_key(repository)) :])
        try:
            contents.unlink(transaction, repository, digest, now)
        except BlobUnknown:  # a link to nothing, which an earlier version may have left
            transaction.delete(LINKS, key)
        count += 1
    return count
