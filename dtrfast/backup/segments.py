"""Rows of tables as segments: compressed pieces that are named by their content.

A table is cut behind keys whose hash says so. A change moves no cut but those beside it, so the
next snapshot of the table has most of its segments in common with this one.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

import xxhash
import zstandard

from dtrfast.errors import Corrupt

_LENGTHS = struct.Struct("<HI")
_CUT_MASK = 0x3FF  # one key of 1,024 on average
_SIZE_MAX = 4 << 20
_LEVEL = 3
# A segment ends with the row that makes it too large, which may be a manifest of 64 MiB.
_SEGMENT_SIZE_MAX = 256 << 20
COMPRESSED_SIZE_MAX = _SEGMENT_SIZE_MAX + (_SEGMENT_SIZE_MAX >> 8)  # zstd adds no more
_KEY_SIZE_MAX = 511  # of LMDB


def cut(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The rows, back to back, in pieces."""
    pieces: list[bytes] = []
    size = 0
    for key, value in rows:
        pieces += (_LENGTHS.pack(len(key), len(value)), key, value)
        size += _LENGTHS.size + len(key) + len(value)
        if size >= _SIZE_MAX or not xxhash.xxh3_64_intdigest(key) & _CUT_MASK:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def name_of(segment: bytes) -> str:
    """By which it is kept: its SHA-256 in hex."""
    return hashlib.sha256(segment).hexdigest()


def compress(segment: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(segment)


def decompress(data: bytes, name: str) -> bytes:
    """The segment of that name. Raises `Corrupt`."""
    try:
        # The library reserves what the frame says, whatever the limit.
        if zstandard.frame_content_size(data) > _SEGMENT_SIZE_MAX:
            raise Corrupt(f"the segment {name} cannot be read (it says that it is too large)")
        segment = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=_SEGMENT_SIZE_MAX, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise Corrupt(f"the segment {name} cannot be read ({error})") from error
    if name_of(segment) != name:
        raise Corrupt(f"the segment {name} has other bytes")
    return segment


def rows_of(segment: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The rows. Raises `Corrupt`."""
    offset = 0
    while offset < len(segment):
        if offset + _LENGTHS.size > len(segment):
            raise Corrupt("a segment ends within a row")
        key_length, value_length = _LENGTHS.unpack_from(segment, offset)
        offset += _LENGTHS.size
        key = segment[offset : offset + key_length]
        offset += key_length
        value = segment[offset : offset + value_length]
        offset += value_length
        if len(value) != value_length or not 0 < len(key) <= _KEY_SIZE_MAX:
            raise Corrupt("a segment has a row that cannot be one")
        yield key, value
