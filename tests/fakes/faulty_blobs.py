"""A blob store over another one that fails where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import BlobReader, BlobStat, BlobStore, IsHeld, Peek, Placed, Upload
from dtrfast.store.wrapped import WrappedBlobs, WrappedPlaced

# The last four are of what `commit` returns; `pending` is the change that it has for the index.
Method = Literal[
    "stat", "peek", "open_range", "commit", "release", "settle", "pending", "finish", "close"
]


@dataclass
class Fault:
    """See `FaultyBlobs.fail`."""

    method: Method
    error: Exception
    calls_left: int
    is_after: bool


class FaultyBlobs(WrappedBlobs):
    """A `BlobStore`. `release` counts a call for each digest, so that it can fail half way."""

    def __init__(self, inner: BlobStore) -> None:
        super().__init__(inner)
        self._faults: list[Fault] = []

    def fail(
        self, method: Method, error: Exception, *, call: int = 1, is_after: bool = False
    ) -> None:
        """Raise `error` once, at the `call`-th call of a method from now on: in place of its work,
        or after it.
        """
        self._faults.append(Fault(method, error, call, is_after))

    def note_call(self, method: Method) -> Fault | None:
        """The fault of this call of a method, if it has one."""
        due = None
        for fault in [fault for fault in self._faults if fault.method == method]:
            fault.calls_left -= 1
            if fault.calls_left == 0:
                self._faults.remove(fault)
                due = fault
        return due

    def around(self, method: Method) -> AbstractContextManager[None]:
        """A call of a method."""
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

    def commit(self, upload: Upload, digest: Digest) -> Placed:
        placed: Placed | None = None
        try:
            with self.around("commit"):
                placed = self.inner.commit(upload, digest)
        except BaseException:
            if placed is not None:
                placed.close()
            raise
        return FaultyPlaced(placed, self)

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        settled = []
        for digest in digests:
            with self.around("release"):
                settled += self.inner.release([digest], is_held)
        return settled


class FaultyPlaced(WrappedPlaced):
    """See `FaultyBlobs`."""

    def __init__(self, inner: Placed, blobs: FaultyBlobs) -> None:
        super().__init__(inner)
        self._blobs = blobs

    @property
    def pending(self) -> Callable[[WriteTransaction], object] | None:
        change = self.inner.pending
        if change is None:
            return None
        # Now, not when it runs: an engine may run it more than once.
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
