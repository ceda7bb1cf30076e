"""Which repository holds which blob, and which manifests refer to it: functions over a transaction.

A link that no manifest refers to is in its *grace*, which runs from `unreferenced_since`: the time
it was made, or lost its last reference, or was last asked for. After the grace it may be removed. A
referenced link has no grace; the time in its record then means nothing.
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
    REFERENCES,
    REFERENCES_DELETED,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest, keys_of
from dtrfast.registry import catalog, statistics
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.writing import Place

_LINK = struct.Struct("<BBHIQQ")  # version, flags, two reserved fields, created, unreferenced since
_SIZED_LINK = struct.Struct("<BBHIQQQ")  # and the size; missing in rows of versions before 1.4
_VERSION = 1


class Link(msgspec.Struct, frozen=True, gc=False):
    """A blob's place in a repository. Times are seconds since the epoch. `size` in bytes; None in a
    row of an older version.
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


def get(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> Link | None:
    """The link, or None when the repository does not hold the blob."""
    data = transaction.get(LINKS, link_key(repository, digest))
    return None if data is None else Link.decode(data)


def put(transaction: WriteTransaction, place: Place, digest: Digest, size: int) -> bool:
    """Link the blob, in its grace from now; renew the grace where the link exists. Recorded in the
    change log if it is new; then True.
    """
    now, repository = place.author.now, place.id
    old = get(transaction, repository, digest)
    created_at = now if old is None else old.created_at
    _set(transaction, link_key(repository, digest), old, Link(created_at, now, size))
    if old is not None:
        return False
    transaction.put(HOLDERS, digest.key() + number_key(repository), b"")
    catalog.enter(transaction, repository)
    statistics.add(transaction, links=1, linked_bytes=size)
    place.record(transaction, "blob.link", {"digest": str(digest)})
    return True


def renew(
    transaction: WriteTransaction, repository: RepositoryId, digest: Digest, now: int
) -> bool:
    """Start the grace anew; False when the link is gone."""
    link = get(transaction, repository, digest)
    if link is not None:
        new = Link(link.created_at, now, link.size)
        _set(transaction, link_key(repository, digest), link, new)
    return link is not None


def remove(
    transaction: WriteTransaction, place: Place, digest: Digest, size: int | None = None
) -> None:
    """Unlink, also what manifests refer to. Raises `BlobUnknown`. What the last one lets go of is
    listed, for the store to free. `size` is for rows of older versions, which have none.
    """
    link = get(transaction, place.id, digest)
    if link is None:
        raise BlobUnknown("no such blob in this repository", detail={"digest": str(digest)})
    key = link_key(place.id, digest)
    transaction.delete(HOLDERS, digest.key() + number_key(place.id))
    transaction.delete(LINKS, key)
    transaction.delete(LINKS_UNREFERENCED, _note(key, link))
    catalog.leave_if_empty(transaction, place.id)
    statistics.add(transaction, links=-1, linked_bytes=-(link.size or size or 0))
    sequence = place.record(transaction, "blob.unlink", {"digest": str(digest)})
    if not is_held(transaction, digest):
        # The sequence tells this row from that of a later time, as the blob may come back.
        transaction.put(BLOBS_UNHELD, digest.key(), number_key(sequence))


def is_held(transaction: ReadTransaction, digest: Digest) -> bool:
    """True if any repository holds the blob under this name."""
    return any(True for _ in transaction.scan(HOLDERS, digest.key(), limit=1))


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
    """Note that `manifest` refers to the blobs, which need not be there yet. `was_deleted`: it may
    have been in the trash.
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
    """The manifest goes to the trash, and keeps the blobs there. The grace of a blob that nothing
    else refers to runs from `now`.
    """
    keys, end = sorted(_keys(repository, dict.fromkeys(digests))), manifest.key()
    rows = [key + end for key in keys]
    transaction.delete_all(REFERENCES, rows)
    transaction.put_all(REFERENCES_DELETED, zip(rows, repeat(b"")))
    held = transaction.get_many(LINKS, keys)
    kept = transaction.begun(REFERENCES, list(held))
    rest = [row for row, is_kept in zip(held.items(), kept, strict=True) if not is_kept]
    _renew_all(transaction, rest, now)


def _renew_all(
    transaction: WriteTransaction, rows: Iterable[tuple[bytes, bytes]], now: int
) -> None:
    """Start the grace of many links anew."""
    old = [(key, Link.decode(data)) for key, data in rows]
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
    """The manifest leaves the trash for good. A blob that nothing keeps then goes when its grace,
    which has been running, is over.
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
    """The key of the link of each of many blobs."""
    return keys_of(digests, number_key(repository))


def _note(key: bytes, link: Link) -> bytes:
    """The row that finds a link in its grace by its time."""
    return number_key(link.unreferenced_since) + key


def _note_in(key: bytes, data: bytes) -> bytes:
    """The same of a record, which is not decoded: its time is eight bytes, the least one first."""
    if len(data) < _LINK.size or data[0] != _VERSION:
        raise Corrupt("a link record has an unknown version: run a newer dtrfast")
    return data[23:15:-1] + key


def _set(transaction: WriteTransaction, key: bytes, old: Link | None, link: Link) -> None:
    if old is not None:
        transaction.delete(LINKS_UNREFERENCED, _note(key, old))
    transaction.put(LINKS, key, link.encode())
    transaction.put(LINKS_UNREFERENCED, _note(key, link), b"")
