"""Layers of images: blobs of a given size and a given kind of content.

Each blob differs from all others in every chunk. The same seed makes the same bytes, on any
machine and in any year, so that runs can be compared.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

from benchmarks.holdings import Blob
from benchmarks.load import Body

_GZIP_MAGIC = b"\x1f\x8b\x08\x00"
# Starts like no compressed format, so that the bytes behind it are cut into chunks.
_PLAIN_START = b"new\n"
_BLOCK_SIZE = 4 << 20
_READ_SIZE = 1 << 20
# Compressible content repeats its block with one byte in so many changed. Chunks have 16 KiB at
# least, so none equals another. zstd makes a 64 KiB piece of it 2.4 times smaller; of a Debian root
# file system 2.1 times.
_CHANGE_DISTANCE = 4096
_WORD_COUNT = 4096


class Kind(StrEnum):
    """What the bytes are like."""

    GZIP = "gzip"  # compressed: random behind gzip's first bytes
    CHUNKABLE = "chunkable"  # uncompressed by name, and yet random
    COMPRESSIBLE = "compressible"  # text-like


def layers(folder: Path, kind: Kind, count: int, size: int, salt: int = 0) -> tuple[Blob, ...]:
    """So many blobs of this kind and size, one behind the other in a file in `folder`."""
    path = folder / kind
    source = random.Random(f"{kind} {salt}")
    with path.open("wb") as file:
        write = _write_text if kind is Kind.COMPRESSIBLE else _write_noise
        write(file.fileno(), count * size, source)
        start = _GZIP_MAGIC if kind is Kind.GZIP else _PLAIN_START
        for number in range(count):
            os.pwrite(file.fileno(), start, number * size)
    return blobs_of([Body(path, number * size, size) for number in range(count)])


def blobs_of(bodies: Sequence[Body]) -> tuple[Blob, ...]:
    """These stretches of files with their digests."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return tuple(threads.map(_blob_of, bodies))


def digest_of(content: bytes) -> str:
    """The SHA-256 digest as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob_of(body: Body) -> Blob:
    size = body.file.stat().st_size - body.offset if body.size is None else body.size
    found = hashlib.sha256()
    with body.file.open("rb") as file:
        offset, end = body.offset, body.offset + size
        while offset < end:
            data = os.pread(file.fileno(), min(_READ_SIZE, end - offset), offset)
            found.update(data)
            offset += len(data)
    return Blob(body, size, f"sha256:{found.hexdigest()}")


def _write_noise(file: int, size: int, source: random.Random) -> None:
    for offset in range(0, size, _BLOCK_SIZE):
        os.pwrite(file, source.randbytes(min(_BLOCK_SIZE, size - offset)), offset)


def _write_text(file: int, size: int, source: random.Random) -> None:
    block = bytearray(_text(_BLOCK_SIZE, source))
    for offset in range(0, size, _BLOCK_SIZE):
        places = slice(source.randrange(_CHANGE_DISTANCE), None, _CHANGE_DISTANCE)
        block[places] = source.randbytes(len(block[places]))
        os.pwrite(file, block[: size - offset], offset)


def _text(size: int, source: random.Random) -> bytes:
    """Words of a small language, the frequent ones often, and numbers that never come again."""
    words = [source.randbytes(source.randint(2, 12)).hex().encode() for _ in range(_WORD_COUNT)]
    weights = [1 / rank for rank in range(1, _WORD_COUNT + 1)]
    chosen = source.choices(words, weights, k=size // 16)
    return b" ".join(word + b"=" + source.randbytes(9).hex().encode() for word in chosen)[:size]
