"""A second blob store, which shows that the seam holds: bytes as files named by their digests.

`contents/ALGORITHM-HEX` is content by one of its names. Claims are locks on a file, as those of the
local store, so they hold between processes and end with theirs. `tests/uploads_as_files.py` has
the uploads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

from dtrfast import errors
from dtrfast.machine import disk
from dtrfast.oci.digests import ALGORITHMS, Digest
from dtrfast.store import blobs, claims
from tests.fakes.blobs import MemoryBlobs
from tests.uploads_as_files import FileUpload, FileUploads, write


class FileBlobs(FileUploads):
    """A `BlobStore` for several processes, which shares nothing with the local store but claims."""

    def __init__(self, root: Path, clock: Callable[[], int]) -> None:
        super().__init__(root, clock)
        (root / "contents").mkdir(0o700, parents=True, exist_ok=True)

    def content(self, digest: Digest) -> Path:
        return self.root / "contents" / f"{digest.algorithm}-{digest.hex}"

    def read(self, digest: Digest) -> bytes:
        with self.open_range(digest) as reader:
            return reader.file.read()

    def stat(self, digest: Digest) -> blobs.BlobStat:
        with self.open_range(digest) as reader:
            return reader.stat

    def peek(self, digest: Digest) -> blobs.Peek:
        stat = self.stat(digest)
        return blobs.Peek(stat, self.read(digest) if stat.size <= 8192 else None)

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> FileReader:
        with contextlib.suppress(FileNotFoundError):
            return FileReader(self.content(digest).open("rb"), digest, offset, length)
        raise errors.BlobUnknown("there is no such blob")

    def commit(self, upload: blobs.Upload, digest: Digest) -> FilePlaced:
        assert isinstance(upload, FileUpload)
        try:
            upload.check(digest)
        except errors.DigestInvalid:
            upload.cancel()
            raise
        return FilePlaced(self, upload, digest)

    def release(self, digests: Iterable[Digest], is_held: blobs.IsHeld) -> list[Digest]:
        return [digest for digest in digests if self._is_settled(digest, is_held)]

    def _is_settled(self, digest: Digest, is_held: blobs.IsHeld) -> bool:
        with contextlib.suppress(errors.BlobUnknown), claims.Claim(self.root / "claims") as claim:
            names = _names(self.read(digest))
            if not claim.add(names[0]):
                return False
            for name in names if is_held([names]) == [False] else ():
                disk.remove(self.content(name))
        return True

    def measure(self, blobs: Iterable[Digest], is_held: blobs.IsHeld, **how: Any) -> blobs.Usage:
        memory, asked = MemoryBlobs(self.clock), list(blobs)
        memory.contents = {one: self.read(one) for one in asked if self.content(one).exists()}
        return memory.measure(asked, is_held, **how)


class _Closing:
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileReader(_Closing):
    def __init__(self, file: BinaryIO, digest: Digest, offset: int, size: int | None) -> None:
        self.file, self.stat = file, blobs.BlobStat(digest, os.fstat(file.fileno()).st_size)
        self.range = offset, self.stat.size - offset if size is None else size

    def __iter__(self) -> Iterator[blobs.Extent]:
        if self.range[1]:
            yield blobs.Extent(self.file.fileno(), *self.range)

    def close(self) -> None:
        self.file.close()


class FilePlaced(_Closing):
    inline = pending = None

    def __init__(self, files: FileBlobs, upload: FileUpload, digest: Digest) -> None:
        self._files, self._upload, self._body = files, upload, bytes(upload.content)
        self.stat = blobs.BlobStat(digest, len(self._body))
        self._claim = claims.Claim(files.root / "claims")
        self._claim.wait(_names(self._body)[0])

    def settle(self) -> None:
        for path in map(self._files.content, _names(self._body)):
            if not path.exists():
                write(path, self._body)

    def finish(self) -> None:
        self._files.remember(self._upload, self.stat.digest)
        self._upload.cancel()

    def close(self) -> None:
        self._claim.close()


def _names(content: bytes) -> list[Digest]:
    return [Digest.of_bytes(content, algorithm) for algorithm in ALGORITHMS]
