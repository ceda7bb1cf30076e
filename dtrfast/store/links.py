"""Which repository holds which blob, and which manifests refer to it: functions over a transaction.

A link that no manifest refers to is in its *grace*, which runs from `unreferenced_since`: the time
it was made, or lost its last reference, or was last asked for. After the grace it may be removed. A
referenced link has no grace; the time in its record then means nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Self

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    HOLDERS,
    LINKS,
    LINKS_UNREFERENCED,
    REFERENCES,
    REFERENCES_DELETED,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import catalog
from dtrfast.store.blobs import RepositoryId

_LINK = struct.Struct("<BBHIQQ")  # version, flags, two reserved fields, created, unreferenced since
_VERSION = 1


class Link(msgspec.Struct, frozen=True, gc=False):
    """A blob's place in a repository. Times are seconds since the epoch."""

    created_at: int
    unreferenced_since: int

    def encode(self) -> bytes:
        return _LINK.pack(_VERSION, 0, 0, 0, self.created_at, self.unreferenced_since)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        if len(data) < _LINK.size or data[0] != _VERSION:
            raise Corrupt("a link record has an unknown version: run a newer dtrfast")
        _, _, _, _, created_at, unreferenced_since = _LINK.unpack_from(data)
        return cls(created_at, unreferenced_since)


def link_key(repository: RepositoryId, digest: Digest) -> bytes:
    return number_key(repository) + digest.key()


def get(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> Link | None:
    """The link, or None when the repository does not hold the blob."""
    data = transaction.get(LINKS, link_key(repository, digest))
    return None if data is None else Link.decode(data)


def put(transaction: WriteTransaction, repository: RepositoryId, digest: Digest, now: int) -> bool:
    """Link the blob, in its grace from `now`; renew the grace where the link exists. True if it is
    new.
    """
    old = get(transaction, repository, digest)
    created_at = now if old is None else old.created_at
    _set(transaction, link_key(repository, digest), old, Link(created_at, now))
    if old is None:
        transaction.put(HOLDERS, digest.key() + number_key(repository), b"")
        catalog.enter(transaction, repository)
    return old is None


def renew(
    transaction: WriteTransaction, repository: RepositoryId, digest: Digest, now: int
) -> bool:
    """Start the grace anew; False when the link is gone."""
    link = get(transaction, repository, digest)
    if link is not None:
        _set(transaction, link_key(repository, digest), link, Link(link.created_at, now))
    return link is not None


def remove(transaction: WriteTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Unlink, whoever refers to the blob; False if there was no link."""
    transaction.delete(HOLDERS, digest.key() + number_key(repository))
    was_there = transaction.delete(LINKS, link_key(repository, digest))
    catalog.leave_if_empty(transaction, repository)
    return was_there


def holders(transaction: ReadTransaction, digest: Digest, limit: int) -> list[RepositoryId]:
    """Up to `limit` repositories that hold the blob."""
    prefix = digest.key()
    rows = transaction.scan(HOLDERS, prefix, limit=limit)
    return [RepositoryId(number_of(key[len(prefix) :])) for key, _ in rows]


def is_referenced(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Whether a manifest of the repository refers to the blob."""
    return any(True for _ in transaction.scan(REFERENCES, link_key(repository, digest), limit=1))


def is_kept(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Whether a manifest of the repository refers to the blob, be it in the trash."""
    key = link_key(repository, digest)
    return is_referenced(transaction, repository, digest) or any(
        True for _ in transaction.scan(REFERENCES_DELETED, key, limit=1)
    )


def missing(
    transaction: ReadTransaction, repository: RepositoryId, digests: Iterable[Digest]
) -> list[Digest]:
    """Those of `digests` that the repository does not hold, in order, each once."""
    unique = dict.fromkeys(digests)
    return [d for d in unique if transaction.get(LINKS, link_key(repository, d)) is None]


def add_references(
    transaction: WriteTransaction,
    repository: RepositoryId,
    manifest: Digest,
    digests: Iterable[Digest],
) -> None:
    """Note that `manifest` refers to the blobs, which need not be there yet."""
    for digest in dict.fromkeys(digests):
        key = link_key(repository, digest)
        transaction.put(REFERENCES, key + manifest.key(), b"")
        transaction.delete(REFERENCES_DELETED, key + manifest.key())
        link = get(transaction, repository, digest)
        if link is not None:
            transaction.delete(LINKS_UNREFERENCED, number_key(link.unreferenced_since) + key)


def remove_references(
    transaction: WriteTransaction,
    repository: RepositoryId,
    manifest: Digest,
    digests: Iterable[Digest],
    now: int,
) -> None:
    """The manifest goes to the trash, and keeps the blobs there. The grace of a blob that nothing
    else refers to runs from `now`.
    """
    for digest in dict.fromkeys(digests):
        key = link_key(repository, digest) + manifest.key()
        transaction.delete(REFERENCES, key)
        transaction.put(REFERENCES_DELETED, key, b"")
        if not is_referenced(transaction, repository, digest):
            renew(transaction, repository, digest, now)


def forget_references(
    transaction: WriteTransaction,
    repository: RepositoryId,
    manifest: Digest,
    digests: Iterable[Digest],
) -> None:
    """The manifest leaves the trash for good. A blob that nothing keeps then goes when its grace,
    which has been running, is over.
    """
    for digest in dict.fromkeys(digests):
        key = link_key(repository, digest)
        transaction.delete(REFERENCES_DELETED, key + manifest.key())
        link = get(transaction, repository, digest)
        if link is not None and not is_kept(transaction, repository, digest):
            transaction.put(LINKS_UNREFERENCED, number_key(link.unreferenced_since) + key, b"")


def _set(transaction: WriteTransaction, key: bytes, old: Link | None, link: Link) -> None:
    if old is not None:
        transaction.delete(LINKS_UNREFERENCED, number_key(old.unreferenced_since) + key)
    transaction.put(LINKS, key, link.encode())
    transaction.put(LINKS_UNREFERENCED, number_key(link.unreferenced_since) + key, b"")
