"""The frame of a gzip file (RFC 1952): its header, its trailer, and the encoders they point to."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MAGIC = b"\x1f\x8b\x08"
_FIXED = struct.Struct("<3sB4xBB")  # magic and method, flags, MTIME (which says nothing), XFL, OS
TRAILER_SIZE = 8  # CRC-32 and size modulo 2^32
# The longest header that is recognized. A file name in it has some bytes, if any.
HEADER_SIZE_MAX = 64 * 1024

_HAS_CHECKSUM, _HAS_EXTRA, _HAS_NAME, _HAS_COMMENT = 2, 4, 8, 16
_RESERVED = 0xE0


@dataclass(frozen=True, slots=True)
class GzipHeader:
    """A header of `size` bytes, and its fields XFL and OS."""

    size: int
    extra_flags: int
    system: int


def parse_header(data: bytes) -> GzipHeader | None:
    """Return the gzip header at the beginning of `data`; None if there is no whole header."""
    if len(data) < _FIXED.size:
        return None
    magic, flags, extra_flags, system = _FIXED.unpack_from(data)
    if magic != _MAGIC or flags & _RESERVED:
        return None
    end = _FIXED.size
    if flags & _HAS_EXTRA:
        if len(data) < end + 2:
            return None
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for flag in (_HAS_NAME, _HAS_COMMENT):
        if flags & flag:
            end = data.find(b"\x00", end) + 1
            if end == 0:
                return None
    end += 2 if flags & _HAS_CHECKSUM else 0
    return GzipHeader(end, extra_flags, system) if end <= len(data) else None
