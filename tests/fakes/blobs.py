"""Blobs in memory, behind the same seam as those on disk.

A blob longer than `EXTENT_SIZE_MIN` is handed out as extents of a file that only memory holds, in
several pieces, so that readers meet both kinds of segments.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec

from dtrfast.errors import (
    BlobUnknown,
    DigestInvalid,
    DtrfastError,
    RangeInvalid,
    UploadBusy,
    UploadsTooMany,
    UploadUnknown,
)
from dtrfast.oci.digests import ALGORITHMS, Digest
from dtrfast.store.blobs import (
    FILL_SIZE_MIN,
    BlobReader,
    BlobStat,
    Extent,
    IsHeld,
    LastBody,
    OpenBound,
    Peek,
    Placed,
    Segment,
    Upload,
    Usage,
)

EXTENT_SIZE_MIN = 8193
_EXTENT_SIZE_MAX = 100_000
_FINISHED_SECONDS = 600


class MemoryBlobs:
    """A `BlobStore`."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.contents: dict[Digest, bytes] = {}
        self.uploads: dict[str, MemoryUpload] = {}
        self.failure: DtrfastError | None = None  # what the next append or commit raises
        self.open_readers = 0
        self.recalls = 0
        self._finished: dict[tuple[str, str], tuple[int, Digest]] = {}
        self._claims: set[bytes] = set()
        self._changed = threading.Condition()
        self._lock = threading.Lock()

    def stat(self, digest: Digest) -> BlobStat:
        return BlobStat(digest, len(self._content(digest)))

    def peek(self, digest: Digest) -> Peek:
        content = self._content(digest)
        stat = BlobStat(digest, len(content))
        return Peek(stat, content if len(content) < EXTENT_SIZE_MIN else None)

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        content = self._content(digest)
        end = len(content) if length is None else offset + length
        assert 0 <= offset <= end <= len(content), "a range lies inside its blob"
        return MemoryReader(self, BlobStat(digest, len(content)), content[offset:end])

    def begin(
        self, label: str, *, algorithm: str = "sha256", bound: OpenBound | None = None
    ) -> Upload:
        assert algorithm in ALGORITHMS
        count = sum(upload.label == label for upload in list(self.uploads.values()))
        if bound is not None and count >= bound.name_max:
            raise UploadsTooMany(f"{count} uploads are open")
        upload = MemoryUpload(self, label)
        self.uploads[upload.id] = upload
        return upload

    def resume(self, label: str, upload_id: str, wait_seconds: float = 1.0) -> Upload:
        with self._lock:
            upload = self._upload(label, upload_id)
            if upload.held:
                raise UploadBusy("another request is writing to this upload: try again")
            upload.hold()
        return upload

    def upload_offset(self, label: str, upload_id: str) -> int:
        upload = self._upload(label, upload_id)
        upload.told_offset = upload.offset
        if not upload.held:
            upload.tell()
        return upload.offset

    def last_body(self, label: str, upload_id: str) -> LastBody:
        return self._upload(label, upload_id).last_body

    def recall(self, label: str, upload_id: str) -> None:
        self._upload(label, upload_id).is_wanted = True
        self.recalls += 1

    def commit(self, upload: Upload, digest: Digest) -> Placed:
        assert isinstance(upload, MemoryUpload)
        assert upload.held
        self.fail()
        try:
            upload.check(digest)
        except DigestInvalid:
            upload.cancel()
            raise
        content = bytes(upload.content)
        return MemoryPlaced(self, upload, digest, content)

    def claim(self, content: bytes) -> bytes:
        """Wait until nobody else has a claim on this content; returns the claim."""
        key = Digest.of_bytes(content).raw
        with self._changed:
            self._changed.wait_for(lambda: key not in self._claims)
            self._claims.add(key)
        return key

    def give_up(self, key: bytes) -> None:
        with self._changed:
            self._claims.discard(key)
            self._changed.notify_all()

    def remember(self, upload: MemoryUpload, digest: Digest) -> None:
        self._finished[upload.label, upload.id] = (self.clock(), digest)

    def finished(self, label: str, upload_id: str) -> Digest | None:
        finished_at, digest = self._finished.get((label, upload_id), (0, None))
        return digest if self.clock() - finished_at < _FINISHED_SECONDS else None

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        settled = []
        for digest in digests:
            content = self.contents.get(digest)
            names = [] if content is None else _names(content)
            with self._changed:
                if content is not None and Digest.of_bytes(content).raw in self._claims:
                    continue
                (held,) = is_held([names])
                for name in () if held else names:
                    self.contents.pop(name, None)
            settled.append(digest)
        return settled

    def measure(
        self,
        blobs: Iterable[Digest],
        is_held: IsHeld,
        *,
        is_alone: bool = False,
        steps_max: int | None = None,
    ) -> Usage:
        """Each blob takes its size, whatever other names its content has, and four steps."""
        found = [digest for digest in dict.fromkeys(blobs) if digest in self.contents]
        is_whole = steps_max is None or 4 * len(found) <= steps_max
        found = found if steps_max is None else found[: steps_max // 4]
        held = is_held([[digest] for digest in found])
        sizes = [len(self.contents[digest]) for digest in found]
        going = sum(size for size, one in zip(sizes, held, strict=True) if not one)
        return Usage(sum(sizes), sum(sizes), going, is_whole)

    def fail(self) -> None:
        """Raise what a test asked for, once."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def _content(self, digest: Digest) -> bytes:
        if digest not in self.contents:
            raise BlobUnknown("there is no such blob")
        return self.contents[digest]

    def _upload(self, label: str, upload_id: str) -> MemoryUpload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.label != label:
            raise UploadUnknown("no such upload: begin a new one")
        return upload


class MemoryPlaced:
    """See `Placed`. The content is there once it is settled."""

    inline = None

    def __init__(
        self, store: MemoryBlobs, upload: MemoryUpload, digest: Digest, content: bytes
    ) -> None:
        self.stat = BlobStat(digest, len(content))
        self._store = store
        self._upload = upload
        self._content = content
        self._key: bytes | None = store.claim(content)

    @property
    def pending(self) -> None:
        return None

    def settle(self) -> None:
        assert self._key is not None, "settled without a claim"
        for name in _names(self._content):
            self._store.contents[name] = self._content

    def finish(self) -> None:
        self._store.remember(self._upload, self.stat.digest)
        self._upload.cancel()

    def close(self) -> None:
        if self._key is not None:
            self._store.give_up(self._key)
        self._key = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _names(content: bytes) -> list[Digest]:
    return [Digest.of_bytes(content, algorithm) for algorithm in ALGORITHMS]


@dataclass
class Guess:
    """What an upload was before a body that may begin at `start` or at `other`."""

    kept: bytes
    last: LastBody
    start: int
    other: int

    @property
    def begins_anew(self) -> bool:
        return self.start < self.other

    def other_reading(self, content: bytearray) -> bytes:
        return self.kept[: self.other] + content[self.start :]


class MemoryUpload:
    """An `Upload` that checks that one thread at a time uses it, and only while it is held."""

    def __init__(self, store: MemoryBlobs, label: str) -> None:
        self.id = str(uuid.uuid4())
        self.label = label
        self.content = bytearray()
        self.held = True
        self.saves = 0
        self.last_body = self._before = LastBody()
        self.is_wanted = False
        self.told_offset = -1
        self._guess: Guess | None = None
        self._repetition: bytearray | None = None  # of a body that came whole
        self._store = store
        self._begin = 0
        self._busy = threading.Lock()

    @property
    def offset(self) -> int:
        return len(self.content)

    def hold(self) -> None:
        self.held = True
        self.is_wanted = False
        self._begin = self.offset

    def begin_body(self, start: int, length: int | None, *, is_guess: bool = False) -> Upload:
        last = self.last_body
        assert start in (last.begin, self.offset)
        self._guess = None
        if start < self.offset and not last.is_open and not is_guess:
            if length not in (None, self.offset - start):
                raise self._other()
            self._repetition = bytearray()
            return self
        if is_guess and last.begin < self.offset:
            other = self.offset if start == last.begin else last.begin
            self._guess = Guess(bytes(self.content), last, start, other)
        del self.content[start:]
        self._begin, self._before = start, last if start == last.offset else LastBody(start, start)
        self.last_body = LastBody(start, start, None if length is None else start + length, True)
        return self

    def end_body(self) -> None:
        if self._repetition not in (None, self.content[self.last_body.begin :]):
            raise self._other()
        self.last_body = msgspec.structs.replace(self.last_body, is_open=False)

    def reopen_body(self) -> None:
        self.last_body = msgspec.structs.replace(self.last_body, is_open=True, is_told=False)

    def tell(self) -> None:
        self.last_body = msgspec.structs.replace(self.last_body, is_told=True)

    def is_recalled(self) -> bool:
        return self.is_wanted

    def append(self, data: bytes | bytearray | memoryview) -> None:
        assert self._busy.acquire(blocking=False), "two threads append to one upload"
        try:
            assert self.held, "append without holding the upload"
            self._store.fail()
            if self._repetition is None:
                self.content += data
            else:
                self._repetition += data
        finally:
            self._busy.release()

    def append_from(self, fill: Callable[[memoryview], int]) -> int:
        taken = 0
        buffer = bytearray(FILL_SIZE_MIN)
        while True:
            with memoryview(buffer) as view:
                count = fill(view)
            if count == 0:
                return taken
            self.append(buffer[:count])
            taken += count
            buffer.append(0)  # raises BufferError if a reference was kept
            buffer.pop()

    def truncate(self, offset: int) -> None:
        assert self.held
        if self._repetition is not None:
            return
        assert offset == self._begin, "an upload goes back to where its request began"
        del self.content[offset:]
        self.last_body = self._before

    def check(self, digest: Digest) -> None:
        if self._repetition is not None:
            self.end_body()
        actual = Digest.of_bytes(self.content, digest.algorithm)
        if actual != digest and self._guess is not None:
            self.content[:] = self._guess.other_reading(self.content)
            if Digest.of_bytes(self.content, digest.algorithm) == digest:
                return
        if actual != digest:
            raise DigestInvalid(f"the content has the digest {actual}", detail=str(digest))

    def save(self) -> None:
        assert self.held
        self.saves += 1

    def release(self) -> None:
        if self.held and self._guess is not None and self._guess.begins_anew:
            self.content[:] = self._guess.kept
            self.last_body = self._guess.last
        elif self.held:
            is_told = self.last_body.is_told or self.told_offset == self.offset
            self.last_body = msgspec.structs.replace(
                self.last_body, offset=self.offset, is_told=is_told
            )
        self.held = False
        self._repetition = None

    def _other(self) -> RangeInvalid:
        self.tell()
        return RangeInvalid("another body came whole", offset=self.offset)

    def cancel(self) -> None:
        self.held = False
        self._store.uploads.pop(self.id, None)


class MemoryReader:
    """A `BlobReader` over a copy of the bytes."""

    def __init__(self, store: MemoryBlobs, stat: BlobStat, content: bytes) -> None:
        self.stat = stat
        self._store = store
        self._content = content
        self._descriptor = -1
        self._closed = False
        store.open_readers += 1

    def __iter__(self) -> Iterator[Segment]:
        if len(self._content) < EXTENT_SIZE_MIN:
            if self._content:
                yield self._content
            return
        self._descriptor = os.memfd_create("blob", os.MFD_CLOEXEC)
        with open(self._descriptor, "wb", closefd=False) as file:
            file.write(self._content)
        for offset in range(0, len(self._content), _EXTENT_SIZE_MAX):
            length = min(_EXTENT_SIZE_MAX, len(self._content) - offset)
            yield Extent(self._descriptor, offset, length)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._store.open_readers -= 1
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
