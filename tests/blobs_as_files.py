"""A second blob store, which shows that the seam holds: bytes as files named by their digests.

`contents/ALGORITHM-HEX` is content by one of its names. In a folder for each label lie `ID.state`,
an upload as it was saved; `ID`, its holder's lock and a byte for each recall; and `ID.ended`, what
it became. The rules for bodies that come again are those of the fake's upload (docs/uploads.md).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

from dtrfast import errors
from dtrfast.oci.digests import ALGORITHMS, Digest
from dtrfast.store import blobs, claims, disk
from tests.fakes.blobs import MemoryBlobs, MemoryUpload

State = tuple[blobs.LastBody, bytes]


class FileBlobs:
    def __init__(self, root: Path, clock: Callable[[], int]) -> None:
        self.root, self.clock = root, clock
        (root / "contents").mkdir(0o700, parents=True, exist_ok=True)

    def content(self, digest: Digest) -> Path:
        return self.root / "contents" / f"{digest.algorithm}-{digest.hex}"

    def upload(self, label: str, upload_id: str, suffix: str = "") -> Path:
        """Raises `ValueError` for what is no id."""
        folder = self.root / Digest.of_bytes(label.encode()).hex
        return folder / f"{uuid.UUID(upload_id)}{suffix}"

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

    def begin(
        self, label: str, *, algorithm: str = "", bound: blobs.OpenBound | None = None
    ) -> FileUpload:
        upload_id = str(uuid.uuid4())
        path = self.upload(label, upload_id, ".state")
        path.parent.mkdir(0o700, exist_ok=True)
        if bound is not None and len(list(path.parent.glob("*.state"))) >= bound.name_max:
            raise errors.UploadsTooMany("too many uploads are open: end some")
        _write(path, msgspec.msgpack.encode((blobs.LastBody(), b"")))
        return self.resume(label, upload_id)

    def resume(self, label: str, upload_id: str, wait_seconds: float = 1.0) -> FileUpload:
        self.state(label, upload_id)
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(self.upload(label, upload_id).open("ab"))
            for _ in range(1 + int(wait_seconds / 0.01)):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    upload = FileUpload(self, label, upload_id, lock)
                    stack.pop_all()
                    return upload
                time.sleep(0.01)
        raise errors.UploadBusy("another request holds this upload: try again")

    def state(self, label: str, upload_id: str) -> State:
        with contextlib.suppress(ValueError, FileNotFoundError):
            saved = self.upload(label, upload_id, ".state").read_bytes()
            state: State = msgspec.msgpack.decode(saved, type=State)
            return state
        raise errors.UploadUnknown("no such upload: begin a new one")

    def upload_offset(self, label: str, upload_id: str) -> int:
        offset = self.last_body(label, upload_id).offset
        with contextlib.suppress(errors.UploadBusy):
            upload = self.resume(label, upload_id, 0)
            upload.tell()
            upload.release()
            return upload.offset
        self.upload(label, upload_id, ".told").write_text(str(offset))
        return offset

    def last_body(self, label: str, upload_id: str) -> blobs.LastBody:
        return self.state(label, upload_id)[0]

    def recall(self, label: str, upload_id: str) -> None:
        self.state(label, upload_id)
        for path in (self.upload(label, upload_id), self.root / "recalls"):
            with path.open("ab") as file:
                file.write(b"!")

    @property
    def recalls(self) -> int:
        return disk.size_of(self.root / "recalls")

    def commit(self, upload: blobs.Upload, digest: Digest) -> FilePlaced:
        assert isinstance(upload, FileUpload)
        try:
            upload.check(digest)
        except errors.DigestInvalid:
            upload.cancel()
            raise
        return FilePlaced(self, upload, digest)

    def finished(self, label: str, upload_id: str) -> Digest | None:
        with contextlib.suppress(ValueError, FileNotFoundError):
            saved = self.upload(label, upload_id, ".ended").read_bytes()
            at, digest = msgspec.json.decode(saved, type=tuple[int, str])
            return Digest.parse(digest) if self.clock() - at < 600 else None
        return None

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
        self._claim = claims.Claim.take(files.root / "claims", _names(self._body)[0])

    def settle(self) -> None:
        for path in map(self._files.content, _names(self._body)):
            if not path.exists():
                _write(path, self._body)

    def finish(self) -> None:
        memory = msgspec.json.encode((self._files.clock(), str(self.stat.digest)))
        _write(self._files.upload(self._upload.name, self._upload.id, ".ended"), memory)
        self._upload.cancel()

    def close(self) -> None:
        self._claim.close()


class FileUpload(MemoryUpload):
    """In memory while it is held."""

    def __init__(self, files: FileBlobs, label: str, upload_id: str, lock: BinaryIO) -> None:
        super().__init__(MemoryBlobs(files.clock), label)
        self.id, self._lock, self._files = upload_id, lock, files
        self.last_body, self.content[:] = files.state(label, upload_id)
        self._size = os.fstat(lock.fileno()).st_size
        self.hold()

    def is_recalled(self) -> bool:
        return os.fstat(self._lock.fileno()).st_size != self._size

    def end_body(self) -> None:
        super().end_body()
        self.save()

    def save(self) -> None:
        last = msgspec.structs.replace(self.last_body, offset=self.offset)
        state = msgspec.msgpack.encode((last, self.content))
        _write(self._files.upload(self.name, self.id, ".state"), state)

    def release(self) -> None:
        if self.held:
            with contextlib.suppress(FileNotFoundError):
                told = self._files.upload(self.name, self.id, ".told").read_text()
                self.told_offset = int(told)
            super().release()
            with self._lock:
                self.save()

    def cancel(self) -> None:
        if self.held:
            super().cancel()
            with self._lock:
                for suffix in (".state", ".told", ""):
                    disk.remove(self._files.upload(self.name, self.id, suffix))


def _names(content: bytes) -> list[Digest]:
    return [Digest.of_bytes(content, algorithm) for algorithm in ALGORITHMS]


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    with disk.reported(), new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        new.replace(path)
    disk.sync_directory(path.parent)
