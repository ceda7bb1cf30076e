"""A blob store that counts the calls of another one, for metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from dtrfast.errors import Corrupt, DigestInvalid, StorageFailed, StorageFull
from dtrfast.metrics.blob_totals import BlobTotals
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import (
    BlobReader,
    BlobStore,
    Extent,
    IsHeld,
    Placement,
    Segment,
    Upload,
)
from dtrfast.store.wrapped import WrappedBlobs, WrappedPlacement

# Errors of the disk or of the bytes. All others are answers, such as `BlobUnknown`.
_FAILURES = (StorageFull, StorageFailed, Corrupt, DigestInvalid)


class BlobCounts:
    """Counters of calls. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._placed = self._placed_bytes = self._opened = self._read_bytes = self._released = 0
        self._failed: Counter[str] = Counter()

    def note_placed(self, size: int) -> None:
        """Count an upload that became content of `size` bytes."""
        with self._lock:
            self._placed += 1
            self._placed_bytes += size

    def note_read(self, size: int) -> None:
        """Count a content that was opened, and the bytes that were read of it."""
        with self._lock:
            self._opened += 1
            self._read_bytes += size

    def note_released(self, count: int) -> None:
        """Count contents that a release settled."""
        with self._lock:
            self._released += count

    def note_failure(self, error: Exception) -> None:
        """Count a failed call."""
        with self._lock:
            self._failed[type(error).__name__] += 1

    def totals(self) -> BlobTotals:
        """Return the counts at this moment."""
        with self._lock:
            return BlobTotals(
                self._placed,
                self._placed_bytes,
                self._opened,
                self._read_bytes,
                self._released,
                dict(self._failed),
            )


class CountingBlobs(WrappedBlobs):
    """A `BlobStore` that passes calls on to `inner` and counts them in `counts`.

    It does not count failures of uploads, which are not wrapped, and not `stat` and `peek`, to keep
    them fast. The metrics of HTTP answers include both.
    """

    def __init__(self, inner: BlobStore, counts: BlobCounts) -> None:
        super().__init__(inner)
        self._counts = counts
        self.stat = inner.stat  # type: ignore[method-assign]
        self.peek = inner.peek  # type: ignore[method-assign]

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        try:
            return CountingReader(self.inner.open_range(digest, offset, length), self._counts)
        except _FAILURES as error:
            self._counts.note_failure(error)
            raise

    def commit(self, upload: Upload, digest: Digest) -> Placement:
        try:
            return CountingPlacement(self.inner.commit(upload, digest), self._counts)
        except _FAILURES as error:
            self._counts.note_failure(error)
            raise

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        try:
            settled = self.inner.release(digests, is_held)
        except _FAILURES as error:
            self._counts.note_failure(error)
            raise
        self._counts.note_released(len(settled))
        return settled


class CountingPlacement(WrappedPlacement):
    """See `CountingBlobs`. Content counts as placed once its link is written."""

    def __init__(self, inner: Placement, counts: BlobCounts) -> None:
        super().__init__(inner)
        self._counts = counts

    def finish(self) -> None:
        self._counts.note_placed(self.stat.size)
        self.inner.finish()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, _FAILURES):  # `settle` failed, or the transaction that ran `pending`
            self._counts.note_failure(error)
        super().__exit__(kind, error, trace)


class CountingReader:
    """A `BlobReader` that counts the bytes of the segments it hands out."""

    __slots__ = ("_counts", "_inner", "_is_open", "_size", "stat")

    def __init__(self, inner: BlobReader, counts: BlobCounts) -> None:
        self.stat = inner.stat
        self._inner = inner
        self._counts = counts
        self._size = 0
        self._is_open = True

    def __iter__(self) -> Iterator[Segment]:
        try:
            for segment in self._inner:
                self._size += segment.length if isinstance(segment, Extent) else len(segment)
                yield segment
        except _FAILURES as error:
            self._counts.note_failure(error)
            raise

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._counts.note_read(self._size)
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
