"""Blobs in memory behind the seam of blob stores, and the base class of a store over files.

A range of at least `EXTENT_SIZE_MIN` bytes is returned as extents of a file. Here the file is in
memory and has several extents, so readers meet both kinds of segments.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
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
from dtrfast.machine import disk
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
    Placement,
    Segment,
    Upload,
    Usage,
)
from dtrfast.store.claims import ContentClaim

EXTENT_SIZE_MIN = 8193
FINISHED_SECONDS = 600


class WholeBlobs(ABC):
    """The base of blob stores that keep content whole, under each of its names.

    `claim` returns a new claim that holds nothing.
    """

    extent_size_max = sys.maxsize  # of one segment of a reader

    def __init__(
        self, clock: Callable[[], int], claim: Callable[[], ContentClaim | MemoryClaim]
    ) -> None:
        self.clock = clock
        self.claim = claim
        self.failure: DtrfastError | None = None  # raised by the next append or commit
        self.open_readers = 0

    @abstractmethod
    def open(self, name: Digest) -> int:
        """Open a file with exactly the content; returns its descriptor. Raises `BlobUnknown`."""

    def content(self, name: Digest) -> bytes:
        with open(self.open(name), "rb") as file:
            return file.read()

    @abstractmethod
    def put(self, name: Digest, content: bytes) -> None: ...

    @abstractmethod
    def drop(self, name: Digest) -> None: ...

    @abstractmethod
    def forget(self, upload: MemoryUpload) -> None:
        """Drop an upload that was canceled or committed."""

    @abstractmethod
    def remember(self, upload: MemoryUpload, digest: Digest) -> None:
        """Keep the digest that an upload was committed as, for `finished`."""

    def stat(self, digest: Digest) -> BlobStat:
        with self.open_range(digest) as reader:
            return reader.stat

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        found = {}
        for digest in dict.fromkeys(digests):
            with suppress(BlobUnknown):
                found[digest] = self.stat(digest).size
        return found

    def peek(self, digest: Digest) -> Peek:
        stat = self.stat(digest)
        return Peek(stat, self.content(digest) if stat.size < EXTENT_SIZE_MIN else None)

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        return WholeReader(self, digest, offset, length)

    def commit(self, upload: Upload, digest: Digest) -> Placement:
        assert isinstance(upload, MemoryUpload)
        assert upload.held
        self.fail()
        try:
            upload.check(digest)
        except DigestInvalid:
            upload.cancel()
            raise
        return WholePlacement(self, upload, digest)

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        return [digest for digest in digests if self._is_settled(digest, is_held)]

    def _is_settled(self, digest: Digest, is_held: IsHeld) -> bool:
        with suppress(BlobUnknown), self.claim() as claim:
            names = _names(self.content(digest))
            if not claim.add(names[0]):
                return False
            (held,) = is_held([names])
            for name in () if held else names:
                self.drop(name)
        return True

    def measure(
        self,
        blobs: Iterable[Digest],
        is_held: IsHeld,
        *,
        is_alone: bool = False,
        steps_max: int | None = None,
    ) -> Usage:
        """Return the usage: each blob counts with its size, whatever names it has, and 4 steps."""
        found = list(self.sizes(blobs).items())
        is_whole = steps_max is None or 4 * len(found) <= steps_max
        found = found if steps_max is None else found[: steps_max // 4]
        held = is_held([[digest] for digest, _ in found])
        size = sum(size for _, size in found)
        going = sum(size for (_, size), is_kept in zip(found, held, strict=True) if not is_kept)
        return Usage(size, size, going, is_whole)

    def fail(self) -> None:
        """Raise the failure that a test set, once."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


class MemoryBlobs(WholeBlobs):
    """A `BlobStore`."""

    extent_size_max = 100_000

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock, lambda: MemoryClaim(self._claimed, self._changed))
        self.contents: dict[Digest, bytes] = {}
        self.uploads: dict[str, MemoryUpload] = {}
        self.recalls = 0
        self._finished: dict[tuple[str, str], tuple[int, Digest]] = {}
        self._claimed: set[Digest] = set()
        self._changed = threading.Condition()
        self._lock = threading.Lock()

    def content(self, name: Digest) -> bytes:
        if name not in self.contents:
            raise BlobUnknown("there is no such blob")
        return self.contents[name]

    def stat(self, digest: Digest) -> BlobStat:
        return BlobStat(digest, len(self.content(digest)))

    def open(self, name: Digest) -> int:
        content = self.content(name)
        descriptor = os.memfd_create("blob", os.MFD_CLOEXEC)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        return descriptor

    def put(self, name: Digest, content: bytes) -> None:
        self.contents[name] = content

    def drop(self, name: Digest) -> None:
        self.contents.pop(name, None)

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

    def remember(self, upload: MemoryUpload, digest: Digest) -> None:
        self._finished[upload.label, upload.id] = (self.clock(), digest)

    def finished(self, label: str, upload_id: str) -> Digest | None:
        finished_at, digest = self._finished.get((label, upload_id), (0, None))
        return digest if self.clock() - finished_at < FINISHED_SECONDS else None

    def forget(self, upload: MemoryUpload) -> None:
        self.uploads.pop(upload.id, None)

    def _upload(self, label: str, upload_id: str) -> MemoryUpload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.label != label:
            raise UploadUnknown("no such upload: begin a new one")
        return upload


class MemoryClaim(ExitStack[None]):
    """See `dtrfast.store.claims.ContentClaim`."""

    def __init__(self, claimed: set[Digest], changed: threading.Condition) -> None:
        super().__init__()
        self._claimed = claimed
        self._changed = changed

    def add(self, sha256: Digest) -> bool:
        with self._changed:
            if sha256 in self._claimed:
                return False
            self._claimed.add(sha256)
        self.callback(self._give_up, sha256)
        return True

    def wait(self, sha256: Digest) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.add(sha256))

    def _give_up(self, sha256: Digest) -> None:
        with self._changed:
            self._claimed.discard(sha256)
            self._changed.notify_all()


class WholePlacement:
    """See `Placement`. The content is in the store once it is settled."""

    inline = None

    def __init__(self, store: WholeBlobs, upload: MemoryUpload, digest: Digest) -> None:
        self._store = store
        self._upload = upload
        self._content = bytes(upload.content)
        self._names = _names(self._content)
        self.stat = BlobStat(digest, len(self._content))
        self._claim: ContentClaim | MemoryClaim | None = store.claim()
        self._claim.wait(self._names[0])

    @property
    def pending(self) -> None:
        return None

    def settle(self) -> None:
        assert self._claim is not None, "settled without a claim"
        for name in self._names:
            self._store.put(name, self._content)

    def finish(self) -> None:
        self._store.remember(self._upload, self.stat.digest)
        self._upload.cancel()

    def close(self) -> None:
        if self._claim is not None:
            self._claim.close()
        self._claim = None

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
    """The state of an upload before a body that may begin at `start` or at `other`."""

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
    """An `Upload` that checks its use: by one thread at a time, and only while it is held."""

    def __init__(self, store: WholeBlobs, label: str) -> None:
        self.id = str(uuid.uuid4())
        self.label = label
        self.content = bytearray()
        self.held = True
        self.saves = 0
        self.last_body = self._before = LastBody()
        self.is_wanted = False
        self.told_offset = -1
        self._guess: Guess | None = None
        self._repetition: bytearray | None = None  # a repeated body that the upload already has
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
        self.keep()

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
        self.keep()

    def keep(self) -> None:
        """Save the state. A store over files overrides this."""
        self.last_body = msgspec.structs.replace(self.last_body, offset=self.offset)

    def release(self) -> None:
        if not self.held:
            return
        if self._guess is not None and self._guess.begins_anew:
            self.content[:] = self._guess.kept
            self.last_body = self._guess.last
        elif self.told_offset == self.offset:
            self.tell()
        try:
            self.keep()
        finally:
            self.let_go()

    def cancel(self) -> None:
        if self.held:
            self._store.forget(self)
            self.let_go()

    def let_go(self) -> None:
        self.held = False
        self._repetition = None

    def _other(self) -> RangeInvalid:
        self.tell()
        return RangeInvalid("another body came whole", offset=self.offset)


class WholeReader:
    """A `BlobReader` over a file with the content."""

    def __init__(self, store: WholeBlobs, digest: Digest, offset: int, length: int | None) -> None:
        self._descriptor = store.open(digest)
        size = os.fstat(self._descriptor).st_size
        self.stat = BlobStat(digest, size)
        self._store = store
        self._offset = offset
        self._end = size if length is None else offset + length
        assert 0 <= offset <= self._end <= size, "a range lies inside its blob"
        store.open_readers += 1

    def __iter__(self) -> Iterator[Segment]:
        length, step = self._end - self._offset, self._store.extent_size_max
        if length >= EXTENT_SIZE_MIN:
            for offset in range(self._offset, self._end, step):
                yield Extent(self._descriptor, offset, min(step, self._end - offset))
        elif length:
            yield disk.read_at(self._descriptor, length, self._offset)

    def close(self) -> None:
        if self._descriptor < 0:
            return
        self._store.open_readers -= 1
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
