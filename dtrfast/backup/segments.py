"""Segments: compressed pieces of a table's rows, named by their content.

A table is cut after each key whose hash matches a mask. A change of rows moves only the cuts next
to it, so the next snapshot of the table shares most of its segments with this one.
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
# A segment ends after the row that makes it too large, which may be a manifest of 64 MiB.
_SEGMENT_SIZE_MAX = 256 << 20
COMPRESSED_SIZE_MAX = _SEGMENT_SIZE_MAX + (_SEGMENT_SIZE_MAX >> 8)  # zstd adds no more
_KEY_SIZE_MAX = 511  # of LMDB


def cut(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Yield segments: rows back to back, each with the lengths of its key and value in front."""
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
    """Return a segment's name: its SHA-256 in hex."""
    return hashlib.sha256(segment).hexdigest()


def compress(segment: bytes) -> bytes:
    """Return a segment as a zstd frame."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(segment)


def decompress(data: bytes, name: str) -> bytes:
    """Return the segment with this name from its zstd frame. Raises `Corrupt`."""
    try:
        # The library allocates the size that the frame states, whatever the limit.
        if zstandard.frame_content_size(data) > _SEGMENT_SIZE_MAX:
            raise Corrupt(f"the segment {name} cannot be read (its stated size is too large)")
        segment = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=_SEGMENT_SIZE_MAX, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise Corrupt(f"the segment {name} cannot be read ({error})") from error
    if name_of(segment) != name:
        raise Corrupt(f"the segment {name} does not match its SHA-256")
    return segment


def rows_of(segment: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of a segment, as keys and values. Raises `Corrupt`."""
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
            raise Corrupt("a segment has a malformed row")
        yield key, value
