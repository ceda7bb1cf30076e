"""Uploads as files, for the second blob store (`tests/blobs_as_files.py`).

In a folder for each label lie `ID.state`, an upload as it was saved; `ID`, its holder's lock and a
byte for each recall; `ID.told`, the offset that a client was told meanwhile; and `ID.ended`, its
digest once it was committed. Bodies that come again (docs/uploads.md) are for the fake's upload.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from dtrfast import errors
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import blobs
from tests.fakes.blobs import MemoryBlobs, MemoryUpload

State = tuple[blobs.LastBody, bytes]


class FileUploads:
    """The part of a `BlobStore` that is about uploads."""

    def __init__(self, root: Path, clock: Callable[[], int]) -> None:
        self.root, self.clock = root, clock

    def upload(self, label: str, upload_id: str, suffix: str = "") -> Path:
        """Raises `ValueError` for what is no id."""
        folder = self.root / Digest.of_bytes(label.encode()).hex
        return folder / f"{uuid.UUID(upload_id)}{suffix}"

    def begin(
        self, label: str, *, algorithm: str = "", bound: blobs.OpenBound | None = None
    ) -> FileUpload:
        upload_id = str(uuid.uuid4())
        path = self.upload(label, upload_id, ".state")
        path.parent.mkdir(0o700, exist_ok=True)
        if bound is not None and len(list(path.parent.glob("*.state"))) >= bound.name_max:
            raise errors.UploadsTooMany("too many uploads are open: end some")
        write(path, msgspec.msgpack.encode((blobs.LastBody(), b"")))
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

    def remember(self, upload: blobs.Upload, digest: Digest) -> None:
        memory = msgspec.json.encode((self.clock(), str(digest)))
        write(self.upload(upload.label, upload.id, ".ended"), memory)

    def finished(self, label: str, upload_id: str) -> Digest | None:
        with contextlib.suppress(ValueError, FileNotFoundError):
            saved = self.upload(label, upload_id, ".ended").read_bytes()
            at, digest = msgspec.json.decode(saved, type=tuple[int, str])
            return Digest.parse(digest) if self.clock() - at < 600 else None
        return None


class FileUpload(MemoryUpload):
    """In memory while it is held."""

    def __init__(self, files: FileUploads, label: str, upload_id: str, lock: BinaryIO) -> None:
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
        write(self._files.upload(self.label, self.id, ".state"), state)

    def release(self) -> None:
        if self.held:
            with contextlib.suppress(FileNotFoundError):
                told = self._files.upload(self.label, self.id, ".told").read_text()
                self.told_offset = int(told)
            super().release()
            with self._lock:
                self.save()

    def cancel(self) -> None:
        if self.held:
            super().cancel()
            with self._lock:
                for suffix in (".state", ".told", ""):
                    disk.remove(self._files.upload(self.label, self.id, suffix))


def write(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    with disk.reported(), new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        new.replace(path)
    disk.sync_directory(path.parent)
