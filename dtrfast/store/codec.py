"""Compression of chunks as zstd frames, and detection of content that is compressed already.

Contexts of the library are costly to make, so each thread keeps its own.
"""

from __future__ import annotations

import threading

import zstandard

from dtrfast.errors import Corrupt

RAW = 0
ZSTD = 1

# Level 1: measured on 64 KiB pieces of a Debian root file system (204 MB), level 3 makes 96.8 MB of
# them instead of 99.2 and takes 1.3 times as long.
LEVEL = 1
# For layers that the gzip tier converts: 64 KiB pieces are 3 % smaller than at level 1, for 3 to 5
# ns a byte instead of 3, beside 20 ns of the replay. Level 3 saves 1 to 2 % more and takes 4 to 7.
TIER_LEVEL = 2
# Formats for which chunking does not pay: measured on ten builds of an image, chunking gzip or zstd
# saves 0 to 4 %.
_COMPRESSED_MAGICS = (
    b"\x1f\x8b",  # gzip
    b"\x28\xb5\x2f\xfd",  # zstd
    b"\xfd7zXZ\x00",
    b"BZh",
    b"\x04\x22\x4d\x18",  # lz4
    b"LZIP",
)


def is_compressed(first: bytes) -> bool:
    """True if content that begins with these bytes, eight or more, is compressed."""
    return first.startswith(_COMPRESSED_MAGICS)


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.compressors = {
            level: zstandard.ZstdCompressor(level=level, write_checksum=False)
            for level in (LEVEL, TIER_LEVEL)
        }
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def compress(data: bytes | memoryview, level: int = LEVEL) -> bytes:
    """Return one frame, which states its content size. `level` is one of the levels here."""
    return _contexts.compressors[level].compress(data)


def decompress(data: bytes, length: int) -> bytes:
    """Return the content of a frame, which has `length` bytes. Raises `Corrupt`."""
    try:
        # Checked first: the library allocates the size that the frame states, whatever the limit.
        size = zstandard.frame_content_size(data)
        if size == length:
            return _contexts.decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a chunk does not decompress ({error})") from error
    raise Corrupt(f"a chunk decompresses to {size} bytes instead of {length}")


def decode(codec: int, stored: bytes, length: int) -> bytes:
    """Return a chunk's content from its stored bytes. Raises `Corrupt`."""
    return decompress(stored, length) if codec == ZSTD else stored
