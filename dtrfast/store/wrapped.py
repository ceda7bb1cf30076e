"""The base of decorators of the blob seam: a blob store that passes every call on to another one.

A decorator overrides the methods that it changes. Uploads are not wrapped: the store that began an
upload also commits it, and requires its own class. The `Placement` of a commit goes to the caller
alone, so a decorator may wrap it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import (
    BlobReader,
    BlobStat,
    BlobStore,
    IsHeld,
    LastBody,
    OpenBound,
    Peek,
    Placement,
    Upload,
    Usage,
)


class WrappedBlobs:
    """A `BlobStore` over another one."""

    def __init__(self, inner: BlobStore) -> None:
        self.inner = inner

    def stat(self, digest: Digest) -> BlobStat:
        return self.inner.stat(digest)

    def peek(self, digest: Digest) -> Peek:
        return self.inner.peek(digest)

    def sizes(self, digests: Iterable[Digest]) -> Mapping[Digest, int]:
        return self.inner.sizes(digests)

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        return self.inner.open_range(digest, offset, length)

    def begin(
        self, label: str, *, algorithm: str = "sha256", bound: OpenBound | None = None
    ) -> Upload:
        return self.inner.begin(label, algorithm=algorithm, bound=bound)

    def resume(self, label: str, upload_id: str, wait_seconds: float = 1.0) -> Upload:
        return self.inner.resume(label, upload_id, wait_seconds)

    def upload_offset(self, label: str, upload_id: str) -> int:
        return self.inner.upload_offset(label, upload_id)

    def last_body(self, label: str, upload_id: str) -> LastBody:
        return self.inner.last_body(label, upload_id)

    def recall(self, label: str, upload_id: str) -> None:
        self.inner.recall(label, upload_id)

    @property
    def recalls(self) -> int:
        return self.inner.recalls

    def commit(self, upload: Upload, digest: Digest) -> Placement:
        return self.inner.commit(upload, digest)

    def finished(self, label: str, upload_id: str) -> Digest | None:
        return self.inner.finished(label, upload_id)

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        return self.inner.release(digests, is_held)

    def measure(
        self,
        blobs: Iterable[Digest],
        is_held: IsHeld,
        *,
        is_alone: bool = False,
        steps_max: int | None = None,
    ) -> Usage:
        return self.inner.measure(blobs, is_held, is_alone=is_alone, steps_max=steps_max)


class WrappedPlacement:
    """A `Placement` that passes every call on to another one."""

    def __init__(self, inner: Placement) -> None:
        self.inner = inner
        self.stat = inner.stat

    @property
    def inline(self) -> bytes | None:
        return self.inner.inline

    @property
    def pending(self) -> Callable[[WriteTransaction], object] | None:
        return self.inner.pending

    def settle(self) -> None:
        self.inner.settle()

    def finish(self) -> None:
        self.inner.finish()

    def close(self) -> None:
        self.inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
