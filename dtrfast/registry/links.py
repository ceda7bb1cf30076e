"""Links of blobs to the repositories that hold them, and references of manifests to blobs.

A link that no manifest refers to is in its *grace*. The grace runs from `unreferenced_since`: the
time when the link was made, lost its last reference, or was last requested. After the grace it may
be removed. A referenced link has no grace, and the time in its record means nothing.

Functions over a transaction.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import repeat
from typing import Self

import msgspec

from dtrfast.errors import BlobUnknown, Corrupt
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    BLOBS_UNHELD,
    HOLDERS,
    LINKS,
    LINKS_UNREFERENCED,
    NUMBER_SIZE,
    REFERENCES,
    REFERENCES_DELETED,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest, keys_of
from dtrfast.registry import catalog, statistics
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.writing import TargetRepository

_LINK = struct.Struct("<BBHIQQ")  # version, flags, two reserved fields, created, unreferenced since
_SIZED_LINK = struct.Struct("<BBHIQQQ")  # and the size; missing in rows of versions before 1.4
_VERSION = 1


class Link(msgspec.Struct, frozen=True, gc=False):
    """The link of a blob to a repository. Times are in seconds since the epoch. `size` is in bytes;
    None in a row that an older version wrote.
    """

    created_at: int
    unreferenced_since: int
    size: int | None = None

    def encode(self) -> bytes:
        fields = (_VERSION, 0, 0, 0, self.created_at, self.unreferenced_since)
        return _LINK.pack(*fields) if self.size is None else _SIZED_LINK.pack(*fields, self.size)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        if len(data) < _LINK.size or data[0] != _VERSION:
            raise Corrupt("a link record has an unknown version: run a newer dtrfast")
        if len(data) < _SIZED_LINK.size:
            return cls(*_LINK.unpack_from(data)[4:])
        return cls(*_SIZED_LINK.unpack_from(data)[4:])


def link_key(repository: RepositoryId, digest: Digest) -> bytes:
    return number_key(repository) + digest.key()


def holder_key(digest: Digest, repository: RepositoryId) -> bytes:
    return digest.key() + number_key(repository)


def holder_in(key: bytes) -> tuple[Digest, RepositoryId]:
    """Return the digest and the repository in a key of HOLDERS."""
    repository = RepositoryId(number_of(key[-NUMBER_SIZE:]))
    return Digest.from_key(key[:-NUMBER_SIZE]), repository


def get(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> Link | None:
    """Return the link; None if the repository does not hold the blob."""
    data = transaction.get(LINKS, link_key(repository, digest))
    return None if data is None else Link.decode(data)


def put(transaction: WriteTransaction, target: TargetRepository, digest: Digest, size: int) -> bool:
    """Link the blob and start its grace, or restart the grace of the link that exists.

    Returns True for a new link, which the change log then has.
    """
    now, repository = target.author.now, target.id
    old = get(transaction, repository, digest)
    created_at = now if old is None else old.created_at
    _set(transaction, link_key(repository, digest), old, Link(created_at, now, size))
    if old is not None:
        return False
    transaction.put(HOLDERS, holder_key(digest, repository), b"")
    catalog.enter(transaction, repository)
    statistics.add(transaction, links=1, linked_bytes=size)
    target.record(transaction, "blob.link", {"digest": str(digest)})
    return True


def renew(
    transaction: WriteTransaction, repository: RepositoryId, digest: Digest, now: int
) -> bool:
    """Restart the grace. Returns False if the repository does not hold the blob."""
    link = get(transaction, repository, digest)
    if link is not None:
        new = Link(link.created_at, now, link.size)
        _set(transaction, link_key(repository, digest), link, new)
    return link is not None


def remove(
    transaction: WriteTransaction, target: TargetRepository, digest: Digest, size: int | None = None
) -> None:
    """Remove a link, even if manifests refer to the blob. Raises `BlobUnknown`.

    If no repository holds the blob any more, it is listed, and the store frees it later. `size` is
    the size in bytes for a link without one, which an older version wrote.
    """
    link = get(transaction, target.id, digest)
    if link is None:
        raise BlobUnknown("no such blob in this repository", detail={"digest": str(digest)})
    key = link_key(target.id, digest)
    transaction.delete(HOLDERS, holder_key(digest, target.id))
    transaction.delete(LINKS, key)
    transaction.delete(LINKS_UNREFERENCED, _note(key, link))
    catalog.leave_if_empty(transaction, target.id)
    statistics.add(transaction, links=-1, linked_bytes=-(link.size or size or 0))
    sequence = target.record(transaction, "blob.unlink", {"digest": str(digest)})
    if not is_held(transaction, digest):
        # The blob may come back and go again. The sequence number tells the two rows apart.
        transaction.put(BLOBS_UNHELD, digest.key(), number_key(sequence))


def is_held(transaction: ReadTransaction, digest: Digest) -> bool:
    """Return True if a repository holds the blob under this digest."""
    return any(True for _ in transaction.scan(HOLDERS, digest.key(), limit=1))


def holders(transaction: ReadTransaction, digest: Digest, limit: int) -> list[RepositoryId]:
    """Return up to `limit` repositories that hold the blob."""
    rows = transaction.scan(HOLDERS, digest.key(), limit=limit)
    return [holder_in(key)[1] for key, _ in rows]


def is_referenced(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Return True if a present manifest of the repository refers to the blob."""
    return any(True for _ in transaction.scan(REFERENCES, link_key(repository, digest), limit=1))


def is_kept(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """Return True if a manifest of the repository, present or in the trash, refers to the blob."""
    key = link_key(repository, digest)
    return is_referenced(transaction, repository, digest) or any(
        True for _ in transaction.scan(REFERENCES_DELETED, key, limit=1)
    )


def missing(
    transaction: ReadTransaction, repository: RepositoryId, digests: Iterable[Digest]
) -> list[Digest]:
    """Return those of `digests` that the repository does not hold as blobs, in order, each once."""
    unique = list(dict.fromkeys(digests))
    keys = _keys(repository, unique)
    held = transaction.get_many(LINKS, keys)
    if len(held) == len(unique):
        return []
    return [digest for digest, key in zip(unique, keys, strict=True) if key not in held]


def add_references(
    transaction: WriteTransaction,
    repository: RepositoryId,
    manifest: Digest,
    digests: Iterable[Digest],
    *,
    was_deleted: bool = True,
) -> None:
    """Write the references of a manifest to its blobs, which need not exist yet. They end the grace
    of the blobs. With `was_deleted` False the manifest was certainly not in the trash.
    """
    keys, end = sorted(_keys(repository, dict.fromkeys(digests))), manifest.key()
    rows = [key + end for key in keys]
    transaction.put_all(REFERENCES, zip(rows, repeat(b"")))
    if was_deleted:
        transaction.delete_all(REFERENCES_DELETED, rows)
    held = transaction.get_many(LINKS, keys).items()
    transaction.delete_all(LINKS_UNREFERENCED, [_note_in(key, data) for key, data in held])


def remove_references(
    transaction: WriteTransaction,
    repository: RepositoryId,
    manifest: Digest,
    digests: Iterable[Digest],
    now: int,
) -> None:
    """Replace the references of a manifest that goes to the trash, which still keeps the blobs. The
    grace of a blob without other references starts at `now`.
    """
    keys, end = sorted(_keys(repository, dict.fromkeys(digests))), manifest.key()
    rows = [key + end for key in keys]
    transaction.delete_all(REFERENCES, rows)
    transaction.put_all(REFERENCES_DELETED, zip(rows, repeat(b"")))
    held = transaction.get_many(LINKS, keys)
    kept = transaction.begun(REFERENCES, list(held))
    free = [row for row, is_kept in zip(held.items(), kept, strict=True) if not is_kept]
    old = [(key, Link.decode(data)) for key, data in free]
    new = [(key, Link(link.created_at, now, link.size)) for key, link in old]
    transaction.delete_all(LINKS_UNREFERENCED, [_note(key, link) for key, link in old])
    transaction.put_all(LINKS, [(key, link.encode()) for key, link in new])
    transaction.put_all(LINKS_UNREFERENCED, [(_note(key, link), b"") for key, link in new])


def forget_references(
    transaction: WriteTransaction,
    repository: RepositoryId,
    manifest: Digest,
    digests: Iterable[Digest],
) -> None:
    """Delete the references of a manifest that leaves the trash for good. A blob that no other
    manifest keeps is listed with its grace, which started when the manifest was deleted or later.
    """
    keys, end = sorted(_keys(repository, dict.fromkeys(digests))), manifest.key()
    transaction.delete_all(REFERENCES_DELETED, [key + end for key in keys])
    held = transaction.get_many(LINKS, keys)
    keys = list(held)
    for table in (REFERENCES, REFERENCES_DELETED):
        kept = zip(keys, transaction.begun(table, keys), strict=True)
        keys = [key for key, is_kept in kept if not is_kept]
    notes = [_note_in(key, held[key]) for key in keys]
    transaction.put_all(LINKS_UNREFERENCED, zip(notes, repeat(b"")))


def _keys(repository: RepositoryId, digests: Iterable[Digest]) -> list[bytes]:
    """Return the keys of the links of many blobs."""
    return keys_of(digests, number_key(repository))


def _note(key: bytes, link: Link) -> bytes:
    """Return the key of LINKS_UNREFERENCED that finds a link by the start of its grace."""
    return number_key(link.unreferenced_since) + key


def _note_in(key: bytes, data: bytes) -> bytes:
    """Return the same key for an encoded link, of which only the time is read: eight bytes, the
    least significant one first.
    """
    if len(data) < _LINK.size or data[0] != _VERSION:
        raise Corrupt("a link record has an unknown version: run a newer dtrfast")
    return data[23:15:-1] + key


def _set(transaction: WriteTransaction, key: bytes, old: Link | None, link: Link) -> None:
    if old is not None:
        transaction.delete(LINKS_UNREFERENCED, _note(key, old))
    transaction.put(LINKS, key, link.encode())
    transaction.put(LINKS_UNREFERENCED, _note(key, link), b"")
