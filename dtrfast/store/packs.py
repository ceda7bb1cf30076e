"""The pack format: an append-only file of chunks that describes itself record by record.

A pack starts with a header, followed by records. A record of chunks is a head, an entry for each
chunk, then their stored bytes back to back, so that the chunks of one buffer are one extent. Other
records are pieces of recipes: a blob's pack says of which chunks the blob consists, in this pack
and in others. There is no footer. A repair without an index walks the records, and stops at the
first with a wrong checksum. `docs/format.md` has the bytes.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import xxhash

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.machine import disk
from dtrfast.store.parts import UploadPart

_HEADER = struct.Struct("<8sIIII16s16sIIQ")  # magic … see `header`
_MAGIC = b"DTRPACK\x00"
_VERSION = 1
HEADER_SIZE = _HEADER.size + 8

# Magic, count, stored bytes, XXH3-64 of magic, count, stored and the entries.
_HEAD = struct.Struct("<4sIQQ")
_ENTRY = struct.Struct("<QIIB3x16s")  # chunk id, length, stored, codec, XXH3-128 of the content
_RECORD_MAGIC = b"DTRR"
_ENTRIES_MAX = 1 << 16

_RECIPE_HEAD = struct.Struct("<4sIQQ32s")  # magic, count, size and offset of the content, SHA-256
_RECIPE_HEAD_SIZE = _RECIPE_HEAD.size + 8  # XXH3-64 of the fields and the parts
_RECIPE_PART = struct.Struct("<QI")  # chunk id, length
_RECIPE_MAGIC = b"DTRB"
RECIPE_PARTS_MAX = 4096  # 48 KiB: a recipe of any length is written and read in pieces

# Magic, count of rows, bytes of the rows, size of the content, SHA-256, XXH3-64 of the fields and
# the rows.
_REPLAY_HEAD = struct.Struct("<4sIQQ32s")
_REPLAY_HEAD_SIZE = _REPLAY_HEAD.size + 8
_REPLAY_ROW = struct.Struct("<BQI")  # kind, offset, bytes of the value
_REPLAY_MAGIC = b"DTRX"
REPLAY_ROWS_MAX = 64
_REPLAY_SIZE_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class PackEntry:
    """A chunk in a pack. `offset`: start of its stored bytes in the file. `hash`: XXH3-128."""

    id: int
    hash: bytes
    codec: int
    length: int
    stored: int
    offset: int


def header(store: uuid.UUID, file_id: bytes, created_at: int) -> bytes:
    """Return the header of a pack, with the ids of the store and of the file.

    It has fields for features that a reader must know and for encryption, which are 0.
    """
    fields = _HEADER.pack(_MAGIC, _VERSION, 0, 0, 0, store.bytes, file_id, 0, 0, created_at)
    return fields + xxhash.xxh3_64_digest(fields)


def check_header(data: bytes) -> bytes:
    """Return the file id in a header. Raises `Corrupt`, or `FormatUnknown` for features that this
    version does not know.
    """
    fields, check = data[: _HEADER.size], data[_HEADER.size : HEADER_SIZE]
    if len(data) < HEADER_SIZE or xxhash.xxh3_64_digest(fields) != check or fields[:8] != _MAGIC:
        raise Corrupt("a pack does not start with a pack's header")
    _, version, _, _, incompatible, _, file_id, _, transform, _ = _HEADER.unpack(fields)
    if version != _VERSION or incompatible or transform:
        raise FormatUnknown("a pack was written by a newer dtrfast: run that one")
    return bytes(file_id)


def record_size(count: int) -> int:
    """Return the bytes of a record before its chunks."""
    return _HEAD.size + count * _ENTRY.size


def record_head(entries: Sequence[PackEntry | UploadPart]) -> bytes:
    """Return the head and the table, which precede the stored bytes of `entries`."""
    table = b"".join([_ENTRY.pack(e.id, e.length, e.stored, e.codec, e.hash) for e in entries])
    stored = sum(e.stored for e in entries)
    check = _checksum(len(entries), stored, table)
    return _HEAD.pack(_RECORD_MAGIC, len(entries), stored, check) + table


@dataclass(frozen=True, slots=True)
class RecipePiece:
    """Parts of the chunked blob with this SHA-256 and `size`.

    They begin at `offset` of the blob.
    """

    sha256: bytes
    size: int
    offset: int
    parts: list[tuple[int, int]]  # chunk id, length


def recipe_piece(piece: RecipePiece) -> bytes:
    """Return the record of a piece, which has at most `RECIPE_PARTS_MAX` parts."""
    table = b"".join([_RECIPE_PART.pack(*part) for part in piece.parts])
    head = _RECIPE_HEAD.pack(
        _RECIPE_MAGIC, len(piece.parts), piece.size, piece.offset, piece.sha256
    )
    return head + xxhash.xxh3_64_digest(head + table) + table


def recipe_size(count: int) -> int:
    """Return the bytes that the records of a recipe of `count` parts take."""
    return -(-count // RECIPE_PARTS_MAX) * _RECIPE_HEAD_SIZE + count * _RECIPE_PART.size


@dataclass(frozen=True, slots=True)
class ReplayPiece:
    """Rows of the replay recipe of the content with this SHA-256 and `size`.

    A row is its kind, its offset, and its value (`tier.recipe_copy`).
    """

    sha256: bytes
    size: int
    rows: list[tuple[int, int, bytes]]


def replay_piece(piece: ReplayPiece) -> bytes:
    """Return the record of a piece of a replay recipe."""
    body = b"".join(
        _REPLAY_ROW.pack(kind, offset, len(value)) + value for kind, offset, value in piece.rows
    )
    head = _REPLAY_HEAD.pack(_REPLAY_MAGIC, len(piece.rows), len(body), piece.size, piece.sha256)
    return head + xxhash.xxh3_64_digest(head + body) + body


Record = list[PackEntry] | RecipePiece | ReplayPiece


def walk(descriptor: int, size: int, offset: int = HEADER_SIZE) -> Iterator[tuple[Record, int]]:
    """The records of a pack from `offset` on, each with its end in the file.

    Ends at `size`, or at the first record that is torn or has a wrong checksum.
    """
    while offset + _HEAD.size <= size:
        magic = disk.read_at(descriptor, 4, offset)
        found: tuple[Record, int] | None
        if magic == _RECORD_MAGIC:
            found = _read_chunks(descriptor, size, offset)
        elif magic == _RECIPE_MAGIC:
            found = _read_piece(descriptor, size, offset)
        elif magic == _REPLAY_MAGIC:
            found = _read_replay(descriptor, size, offset)
        else:
            return
        if found is None:
            return
        offset = found[1]
        yield found


def entries(descriptor: int, size: int) -> Iterator[PackEntry]:
    """The chunks of a pack, in the order of the file."""
    for record, _ in walk(descriptor, size):
        if isinstance(record, list):
            yield from record


def _read_chunks(descriptor: int, size: int, offset: int) -> tuple[list[PackEntry], int] | None:
    """Return the chunks of a record and the offset of the next record; None if it is not whole."""
    _, count, stored, check = _HEAD.unpack(disk.read_at(descriptor, _HEAD.size, offset))
    payload = offset + record_size(count)
    if count > _ENTRIES_MAX or payload + stored > size:
        return None
    table = disk.read_at(descriptor, count * _ENTRY.size, offset + _HEAD.size)
    if _checksum(count, stored, table) != check:
        return None
    found = []
    for identifier, length, stored_size, codec, digest in _ENTRY.iter_unpack(table):
        found.append(PackEntry(identifier, digest, codec, length, stored_size, payload))
        payload += stored_size
    return found, payload


def _read_piece(descriptor: int, size: int, offset: int) -> tuple[RecipePiece, int] | None:
    """Return a piece of a recipe and the offset of the next record; None if it is not whole."""
    if offset + _RECIPE_HEAD_SIZE > size:
        return None
    data = disk.read_at(descriptor, _RECIPE_HEAD_SIZE, offset)
    head, check = data[: _RECIPE_HEAD.size], data[_RECIPE_HEAD.size :]
    _, count, content_size, content_offset, sha256 = _RECIPE_HEAD.unpack(head)
    end = offset + _RECIPE_HEAD_SIZE + count * _RECIPE_PART.size
    if count > RECIPE_PARTS_MAX or end > size:
        return None
    table = disk.read_at(descriptor, count * _RECIPE_PART.size, offset + _RECIPE_HEAD_SIZE)
    if xxhash.xxh3_64_digest(head + table) != check:
        return None
    parts = list(_RECIPE_PART.iter_unpack(table))
    return RecipePiece(sha256, content_size, content_offset, parts), end


def _read_replay(descriptor: int, size: int, offset: int) -> tuple[ReplayPiece, int] | None:
    """Return a piece of a replay recipe and the offset of the next record; None if not whole."""
    if offset + _REPLAY_HEAD_SIZE > size:
        return None
    data = disk.read_at(descriptor, _REPLAY_HEAD_SIZE, offset)
    head, check = data[: _REPLAY_HEAD.size], data[_REPLAY_HEAD.size :]
    _, count, body_size, content_size, sha256 = _REPLAY_HEAD.unpack(head)
    end = offset + _REPLAY_HEAD_SIZE + body_size
    if body_size > _REPLAY_SIZE_MAX or end > size:
        return None
    body = disk.read_at(descriptor, body_size, offset + _REPLAY_HEAD_SIZE)
    if xxhash.xxh3_64_digest(head + body) != check:
        return None
    rows = []
    at = 0
    while at + _REPLAY_ROW.size <= body_size:
        kind, row_offset, length = _REPLAY_ROW.unpack_from(body, at)
        at += _REPLAY_ROW.size + length
        rows.append((kind, row_offset, body[at - length : at]))
    if at != body_size or len(rows) != count or not rows:
        return None
    return ReplayPiece(sha256, content_size, rows), end


def _checksum(count: int, stored: int, table: bytes) -> int:
    return xxhash.xxh3_64_intdigest(struct.pack("<4sIQ", _RECORD_MAGIC, count, stored) + table)
