"""The pack format: an append-only file of chunks that describes itself record by record.

A pack starts with a header and goes on with records. A record is a head, an entry for each of its
chunks, then their stored bytes back to back, so that neighbouring chunks of one buffer are one
extent. There is no footer: a reader that loses the index walks the records, and stops at the first
that does not check. `docs/format.md` has the bytes.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import xxhash

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.store import disk
from dtrfast.store.parts import Part

_HEADER = struct.Struct("<8sIIII16s16sIIQ")  # magic … see `header`
_MAGIC = b"DTRPACK\x00"
_VERSION = 1
HEADER_SIZE = _HEADER.size + 8

_HEAD = struct.Struct(
    "<4sIQQ"
)  # magic, count, stored bytes, XXH3-64 of magic, count, stored and the entries
_ENTRY = struct.Struct("<QIIB3x16s")  # chunk id, length, stored, codec, XXH3-128 of the content
_RECORD_MAGIC = b"DTRR"
_ENTRIES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A chunk in a pack. `offset` is where its stored bytes begin in the file."""

    id: int
    hash: bytes
    codec: int
    length: int
    stored: int
    offset: int


def header(store: uuid.UUID, file_id: bytes, created_at: int) -> bytes:
    """The first bytes of a pack: whose it is, which features a reader must know, and how it is
    encrypted (not).
    """
    fields = _HEADER.pack(_MAGIC, _VERSION, 0, 0, 0, store.bytes, file_id, 0, 0, created_at)
    return fields + xxhash.xxh3_64_digest(fields)


def check_header(data: bytes) -> bytes:
    """The file id in a header. Raises `Corrupt`, or `FormatUnknown` for features that we do not
    have.
    """
    fields, check = data[: _HEADER.size], data[_HEADER.size : HEADER_SIZE]
    if len(data) < HEADER_SIZE or xxhash.xxh3_64_digest(fields) != check or fields[:8] != _MAGIC:
        raise Corrupt("a pack does not start with a pack's header")
    _, version, _, _, incompatible, _, file_id, _, transform, _ = _HEADER.unpack(fields)
    if version != _VERSION or incompatible or transform:
        raise FormatUnknown("a pack was written by a newer dtrfast: run that one")
    return bytes(file_id)


def record_size(count: int) -> int:
    """Bytes of a record before its chunks."""
    return _HEAD.size + count * _ENTRY.size


def record_head(entries: Sequence[Entry | Part]) -> bytes:
    """What goes before the stored bytes of `entries`."""
    table = b"".join([_ENTRY.pack(e.id, e.length, e.stored, e.codec, e.hash) for e in entries])
    stored = sum(e.stored for e in entries)
    check = _checksum(len(entries), stored, table)
    return _HEAD.pack(_RECORD_MAGIC, len(entries), stored, check) + table


def entries(descriptor: int, size: int, offset: int = HEADER_SIZE) -> Iterator[Entry]:
    """The chunks of a pack's records from `offset`, up to `size` or the first record that is not
    whole.
    """
    while offset + _HEAD.size <= size:
        magic, count, stored, check = _HEAD.unpack(disk.read_at(descriptor, _HEAD.size, offset))
        payload = offset + record_size(count)
        if magic != _RECORD_MAGIC or count > _ENTRIES_MAX or payload + stored > size:
            return
        table = disk.read_at(descriptor, count * _ENTRY.size, offset + _HEAD.size)
        if _checksum(count, stored, table) != check:
            return
        offset = payload
        for identifier, length, stored_size, codec, digest in _ENTRY.iter_unpack(table):
            yield Entry(identifier, digest, codec, length, stored_size, offset)
            offset += stored_size


def _checksum(count: int, stored: int, table: bytes) -> int:
    return xxhash.xxh3_64_intdigest(struct.pack("<4sIQ", _RECORD_MAGIC, count, stored) + table)
