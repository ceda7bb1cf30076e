"""A blob store over another one that fails where a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import BlobReader, BlobStat, BlobStore, IsHeld, Peek, Placement, Upload
from dtrfast.store.wrapped import WrappedBlobs, WrappedPlacement

# The last four are methods of the result of `commit`. `pending` is its change of the index.
Method = Literal[
    "stat", "peek", "open_range", "commit", "release", "settle", "pending", "finish", "close"
]


@dataclass
class Fault:
    """A fault that `FaultyBlobs.fail` sets."""

    method: Method
    error: Exception
    calls_left: int
    is_after: bool


class FaultyBlobs(WrappedBlobs):
    """A `BlobStore` with faults. `release` counts a call per digest, so it can fail half way."""

    def __init__(self, inner: BlobStore) -> None:
        super().__init__(inner)
        self._faults: list[Fault] = []

    def fail(
        self, method: Method, error: Exception, *, call: int = 1, is_after: bool = False
    ) -> None:
        """Raise `error` once, in the `call`-th call of a method from now on.

        It replaces the method's work, or comes after it.
        """
        self._faults.append(Fault(method, error, call, is_after))

    def note_call(self, method: Method) -> Fault | None:
        """Count a call of a method; returns its fault, or None."""
        due = None
        for fault in [fault for fault in self._faults if fault.method == method]:
            fault.calls_left -= 1
            if fault.calls_left == 0:
                self._faults.remove(fault)
                due = fault
        return due

    def around(self, method: Method) -> AbstractContextManager[None]:
        """Return a context for a call of a method, which raises its fault."""
        return _failing(self.note_call(method))

    def stat(self, digest: Digest) -> BlobStat:
        with self.around("stat"):
            return self.inner.stat(digest)

    def peek(self, digest: Digest) -> Peek:
        with self.around("peek"):
            return self.inner.peek(digest)

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        with self.around("open_range"):
            return self.inner.open_range(digest, offset, length)

    def commit(self, upload: Upload, digest: Digest) -> Placement:
        placed: Placement | None = None
        try:
            with self.around("commit"):
                placed = self.inner.commit(upload, digest)
        except BaseException:
            if placed is not None:
                placed.close()
            raise
        return FaultyPlacement(placed, self)

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        settled = []
        for digest in digests:
            with self.around("release"):
                settled += self.inner.release([digest], is_held)
        return settled


class FaultyPlacement(WrappedPlacement):
    """The result of a commit to `FaultyBlobs`."""

    def __init__(self, inner: Placement, blobs: FaultyBlobs) -> None:
        super().__init__(inner)
        self._blobs = blobs

    @property
    def pending(self) -> Callable[[WriteTransaction], object] | None:
        change = self.inner.pending
        if change is None:
            return None
        # Count the call now and not in the change, which an engine may run more than once.
        return partial(_run, self._blobs.note_call("pending"), change)

    def settle(self) -> None:
        with self._blobs.around("settle"):
            self.inner.settle()

    def finish(self) -> None:
        with self._blobs.around("finish"):
            self.inner.finish()

    def close(self) -> None:
        with self._blobs.around("close"):
            self.inner.close()


@contextmanager
def _failing(fault: Fault | None) -> Iterator[None]:
    if fault is not None and not fault.is_after:
        raise fault.error
    yield
    if fault is not None:
        raise fault.error


def _run(
    fault: Fault | None,
    change: Callable[[WriteTransaction], object],
    transaction: WriteTransaction,
) -> None:
    with _failing(fault):
        change(transaction)
