"""Layers of images: blobs of a given size and a given kind of content.

Each blob differs from all others in all chunks. The same seed makes the same bytes on any machine
and at any time, so that runs can be compared.
"""

from __future__ import annotations

import hashlib
import os
import random
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

from benchmarks.holdings import Blob
from benchmarks.load import Body

_GZIP_MAGIC = b"\x1f\x8b\x08\x00"
# No compressed format starts like this, so the server cuts the bytes into chunks.
_PLAIN_START = b"new\n"
_BLOCK_SIZE = 4 << 20
_READ_SIZE = 1 << 20
# Compressible content repeats its block with one byte in so many changed. Chunks have 16 KiB at
# least, so none equals another. zstd makes a 64 KiB piece of it 2.4 times smaller; of a Debian root
# file system 2.1 times.
_CHANGE_DISTANCE = 4096
_WORD_COUNT = 4096


class Kind(StrEnum):
    """The kind of a blob's bytes."""

    GZIP = "gzip"  # compressed: random bytes after gzip's first bytes
    CHUNKABLE = "chunkable"  # random bytes that look uncompressed
    COMPRESSIBLE = "compressible"  # text-like
    REAL = "real"  # files of this machine in a tar, as in an uncompressed layer

    @property
    def about(self) -> str:
        """A short description for reports."""
        return _ABOUT[self]


_ABOUT = {
    Kind.GZIP: "compressed",
    Kind.CHUNKABLE: "uncompressed random bytes",
    Kind.COMPRESSIBLE: "uncompressed text",
    Kind.REAL: "uncompressed files of this machine",
}
# Directories that have many files on every machine.
_REAL_FILES = "/usr"


def layers(folder: Path, kind: Kind, count: int, size: int, salt: int = 0) -> tuple[Blob, ...]:
    """Make `count` blobs of this kind and size, one after the other in a file in `folder`.

    Returns fewer blobs if there are not enough real files.
    """
    path = folder / kind
    written = _write(path, kind, count * size, salt)
    count = min(count, written // size)
    start = _GZIP_MAGIC if kind is Kind.GZIP else _PLAIN_START
    with path.open("r+b") as file:
        for number in range(count):
            # With real files a new salt makes new blobs, but not new chunks.
            first = start + b"%d\n" % salt if salt else start
            os.pwrite(file.fileno(), first, number * size)
    return blobs_of([Body(path, number * size, size) for number in range(count)])


def content(folder: Path, kind: Kind, size: int) -> bytes:
    """Yield bytes of this kind. `folder` is used for temporary files."""
    path = folder / kind
    _write(path, kind, size, 0)
    data = path.read_bytes()
    path.unlink()
    return data


def blobs_of(bodies: Sequence[Body]) -> tuple[Blob, ...]:
    """Return these ranges of files as blobs with their digests."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return tuple(threads.map(_blob_of, bodies))


def digest_of(content: bytes) -> str:
    """Return the SHA-256 digest in the form of registries."""
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


def _write(path: Path, kind: Kind, size: int, salt: int) -> int:
    """Fill a new file. Returns its size."""
    source = random.Random(f"{kind} {salt}")
    with path.open("wb") as file:
        if kind is Kind.REAL:
            return _write_files(file.fileno(), size)
        write = _write_text if kind is Kind.COMPRESSIBLE else _write_noise
        write(file.fileno(), size, source)
        return size


def _write_files(file: int, size: int) -> int:
    """Yield the beginning of a tar of real files."""
    position = 0
    for piece in _tar_pieces():
        position += os.pwrite(file, piece[: size - position], position)
        if position == size:
            break
    return position


def _tar_pieces() -> Iterator[bytes]:
    for parent, folders, names in os.walk(_REAL_FILES):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                yield _tar_of(path)


def _tar_of(path: Path) -> bytes:
    """Yield a file in tar format."""
    data = path.read_bytes()
    entry = tarfile.TarInfo(str(path))
    entry.size = len(data)
    padding = -len(data) % tarfile.BLOCKSIZE
    return b"".join((entry.tobuf(), data, bytes(padding)))


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
    """Return text of a small vocabulary with realistic frequencies, and unique numbers."""
    words = [source.randbytes(source.randint(2, 12)).hex().encode() for _ in range(_WORD_COUNT)]
    weights = [1 / rank for rank in range(1, _WORD_COUNT + 1)]
    chosen = source.choices(words, weights, k=size // 16)
    return b" ".join(word + b"=" + source.randbytes(9).hex().encode() for word in chosen)[:size]
