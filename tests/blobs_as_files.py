"""A second blob store, which proves the seam: it keeps bytes as files that are named by digests.

`contents/DIGEST` is a content under one of its names. `uploads/LABEL/ID` (hashes of both) is a
saved upload, and `ended/LABEL/ID` the digest that it was committed as. `said` is a log of recalls
and of the offsets that clients were told. Claims and holders' locks end with their processes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from dtrfast.errors import BlobUnknown, UploadBusy, UploadsTooMany, UploadUnknown
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import LastBody, OpenBound
from dtrfast.store.claims import ContentClaim
from tests.fakes.blobs import FINISHED_SECONDS, MemoryUpload, WholeBlobs


class FileBlobs(WholeBlobs):
    """A `BlobStore` for several processes. It shares only claims with the local store."""

    def __init__(self, root: Path, clock: Callable[[], int]) -> None:
        super().__init__(clock, lambda: ContentClaim(root / "claims"))
        self.root, self.contents, self.said = root, root / "contents", root / "said"
        root.mkdir(0o700, parents=True, exist_ok=True)
        self.said.touch()

    def open(self, name: Digest) -> int:
        with suppress(FileNotFoundError):
            return disk.open_existing(self.contents / str(name))
        raise BlobUnknown("there is no such blob")

    def put(self, name: Digest, content: bytes) -> None:
        if not (self.contents / str(name)).exists():
            write(self.contents / str(name), content)

    def drop(self, name: Digest) -> None:
        disk.remove(self.contents / str(name))

    def path(self, kind: str, label: str, upload_id: str) -> Path:
        hashes = [Digest.of_bytes(one.encode()).hex for one in (label, upload_id)]
        return self.root.joinpath(kind, *hashes)

    def begin(
        self, label: str, *, algorithm: str = "sha256", bound: OpenBound | None = None
    ) -> FileUpload:
        upload_id = str(uuid.uuid4())
        path = self.path("uploads", label, upload_id)
        if bound is not None and len(list(path.parent.glob("*"))) >= bound.name_max:
            raise UploadsTooMany("too many uploads are open: end some")
        write(path, msgspec.msgpack.encode((LastBody(), b"", 0)))
        return self.resume(label, upload_id)

    def resume(self, label: str, upload_id: str, wait_seconds: float = 1.0) -> FileUpload:
        with ExitStack() as stack:
            lock = stack.enter_context(ContentClaim(self.root / "holders"))
            while not lock.add(Digest.of_bytes(f"{label} {upload_id}".encode())):
                if wait_seconds <= 0:
                    raise UploadBusy("another request holds this upload: try again")
                time.sleep(0.01)
                wait_seconds -= 0.01
            upload = FileUpload(self, label, upload_id, lock)
            stack.pop_all()
        return upload

    def state(self, label: str, upload_id: str) -> tuple[LastBody, bytes]:
        try:
            saved = self.path("uploads", label, upload_id).read_bytes()
        except FileNotFoundError as error:
            raise UploadUnknown("no such upload: begin a new one") from error
        last, content, since = msgspec.msgpack.decode(saved, type=tuple[LastBody, bytes, int])
        is_told = last.is_told or self.is_said(f"{upload_id} told {last.offset}", since)
        return msgspec.structs.replace(last, is_told=is_told), content

    def upload_offset(self, label: str, upload_id: str) -> int:
        offset = self.last_body(label, upload_id).offset
        self._say(f"{upload_id} told {offset}")
        return offset

    def last_body(self, label: str, upload_id: str) -> LastBody:
        return self.state(label, upload_id)[0]

    def recall(self, label: str, upload_id: str) -> None:
        self.state(label, upload_id)
        self._say(f"{upload_id} recalled")

    @property
    def recalls(self) -> int:
        return disk.size_of(self.said)

    def is_said(self, line: str, since: int) -> bool:
        return f"{line}\n".encode() in self.said.read_bytes()[since:]

    def _say(self, line: str) -> None:
        with self.said.open("a") as log:
            log.write(f"{line}\n")

    def forget(self, upload: MemoryUpload) -> None:
        disk.remove(self.path("uploads", upload.label, upload.id))

    def remember(self, upload: MemoryUpload, digest: Digest) -> None:
        write(self.path("ended", upload.label, upload.id), f"{self.clock()} {digest}".encode())

    def finished(self, label: str, upload_id: str) -> Digest | None:
        with suppress(FileNotFoundError):
            at, digest = self.path("ended", label, upload_id).read_text().split()
            return Digest.parse(digest) if self.clock() - int(at) < FINISHED_SECONDS else None
        return None


class FileUpload(MemoryUpload):
    """An upload that stays in memory while a request holds it."""

    def __init__(self, files: FileBlobs, label: str, upload_id: str, lock: ContentClaim) -> None:
        super().__init__(files, label)
        self.id, self._files, self._lock = upload_id, files, lock
        self._since = files.recalls
        self.last_body, self.content[:] = files.state(label, upload_id)
        self.hold()

    def is_recalled(self) -> bool:
        return self._files.is_said(f"{self.id} recalled", self._since)

    def keep(self) -> None:
        super().keep()
        path = self._files.path("uploads", self.label, self.id)
        write(path, msgspec.msgpack.encode((self.last_body, self.content, self._since)))

    def let_go(self) -> None:
        super().let_go()
        self._lock.close()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    new = path.parent.parent / path.name
    with disk.reported(), new.open("wb") as file:
        file.write(content)
        file.flush()
        disk.sync(file.fileno())
        new.replace(path)
    disk.sync_directory(path.parent)
