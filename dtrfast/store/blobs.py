"""The blob seam: the interface by which the registry uses a blob store.

It has content by digest, and the uploads that become content. It has no repositories, authors,
packs, paths, locks or transactions. Only the store knows the layout of the bytes, and only the
registry knows which repositories hold them. All methods block and are safe to call from many
threads. The contract suite is `tests/store/blob_contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import msgspec

from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.digests import Digest

# The least room that `Upload.append_from` offers. With less the calls cost more than the bytes.
FILL_SIZE_MIN = 262144


class BlobStat(msgspec.Struct, frozen=True, gc=False):
    """A blob. `size` is its bytes as pushed, not the space that it takes on disk."""

    digest: Digest
    size: int


class Peek(msgspec.Struct, frozen=True, gc=False):
    """A blob as the index alone knows it.

    `body` is its bytes if they lie in the index, else None.
    """

    stat: BlobStat
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes at `offset` of an open file. Read them with `pread` or `sendfile`, never
    `mmap`.

    The descriptor belongs to the `BlobReader`. It is valid until the reader gives its next segment
    or is closed.
    """

    descriptor: int
    offset: int
    length: int


Segment = Extent | bytes


class BlobReader(Protocol):
    """The bytes of a range, in order, as segments. Iterate once, then close.

    The iteration may stop early. It may block, and it may raise `Corrupt` or `StorageFailed` after
    some segments. An empty segment means that the next one takes its time: the thread may do other
    work before it asks for it.
    """

    stat: BlobStat

    def __iter__(self) -> Iterator[Segment]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Sizes in bytes of some blobs. `is_whole`: the measurement covers all of them.

    `size`: as pushed. `stored`: on disk. `unique`: bytes on disk that would be freed with them.
    """

    size: int
    stored: int
    unique: int
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class OpenBound:
    """The most uploads that `owner` may have open: with one label, and with all labels together."""

    owner: str
    name_max: int
    all_max: int


class LastBody(msgspec.Struct, frozen=True, gc=False):
    """The last body that an upload took (docs/uploads.md). Positions are bytes of the upload.

    It began at `begin` and came as far as `offset`. `end`: the end that the client announced, or
    None. `is_open`: the body broke off, or its answer could not be written. `is_told`: the client
    was told of `offset` since.
    """

    begin: int = 0
    offset: int = 0
    end: int | None = None
    is_open: bool = False
    is_told: bool = False


class Upload(Protocol):
    """An upload that this caller holds exclusively until `release`, `cancel` or the store's
    `commit`.

    One thread at a time. Bytes that `append` took are kept across requests, workers and restarts of
    the server. A request that brings bytes calls `begin_body` first and `end_body` last.
    """

    id: str  # a UUID in its 36-character form, unguessable
    label: str  # the label given to `BlobStore.begin`

    @property
    def offset(self) -> int:
        """Bytes received so far."""
        ...

    @property
    def last_body(self) -> LastBody:
        """The last body that another request brought."""
        ...

    def begin_body(self, start: int, length: int | None, *, is_guess: bool = False) -> Upload:
        """Begin a body of `length` bytes, or of unknown length, at `start`.

        `start` is `offset`, or the start of the last body, whose bytes are then dropped. With
        `is_guess` the body may belong at the other of the two: `check` tries both. Returns the
        upload to use from now on in place of this one. Raises `RangeInvalid` if the upload takes no
        more bytes.
        """
        ...

    def end_body(self) -> None:
        """End a body that was received completely. Call this before the answer. Fails as `save`."""
        ...

    def reopen_body(self) -> None:
        """Open the body again, because its answer could not be written."""
        ...

    def tell(self) -> None:
        """Note that an answer names `offset`: the client may go on there without naming it."""
        ...

    def is_recalled(self) -> bool:
        """True if `BlobStore.recall` was called since this was resumed."""
        ...

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. Keeps no reference to `data`. Raises `StorageFull` or `StorageFailed`; then
        release the upload.
        """
        ...

    def append_from(self, fill: Callable[[memoryview], int]) -> int:
        """Call `fill` with memory of the store until it returns 0; return the number of bytes that
        it put there.

        `fill` gets a writable view of at least `FILL_SIZE_MIN` bytes. It returns the number of
        bytes that it put at the front, and keeps no reference to the view. Fails as `append` does.
        An exception of `fill` passes through: the bytes before it count, and the upload stays
        usable.
        """
        ...

    def truncate(self, offset: int) -> None:
        """Drop the bytes that this request appended. `offset` must be the one at which the request
        began.
        """
        ...

    def check(self, digest: Digest) -> None:
        """Raise `DigestInvalid` unless the bytes so far have this digest. For SHA-512 it may read
        all bytes again.
        """
        ...

    def save(self) -> None:
        """Write the uncut tail and the state to disk and give buffers back. Call it when the socket
        has no more bytes for now. Fails as `append` does, also for bytes that were appended before.
        """
        ...

    def release(self) -> None:
        """Save, and give the upload up even if saving fails. Any worker may resume it then.

        Idempotent. Does nothing after `BlobStore.commit` or `cancel`.
        """
        ...

    def cancel(self) -> None:
        """End the upload and free its bytes."""
        ...


# Returns for each content whether a repository holds it. A content is given by all its digests, and
# is held if one of them is.
IsHeld = Callable[[Sequence[Sequence[Digest]]], list[bool]]


class Placement(Protocol):
    """Content in the store, and a claim on it: nothing frees it until `close`. A claim ends with
    its process.

    The caller writes the link of the content, then calls `finish`, and `close` in any case. Several
    callers may have a placement of the same content at a time, once it is there.
    """

    stat: BlobStat

    @property
    def inline(self) -> bytes | None:
        """The content's bytes if only the store's index has them and its first link may not be
        written yet, else None.
        """
        ...

    @property
    def pending(self) -> Callable[[WriteTransaction], object] | None:
        """A change of the local index that makes the content durable and findable, or None.

        An index that commits local and shared changes together may run it in the transaction of the
        link. For other indexes there is `settle`.
        """
        ...

    def settle(self) -> None:
        """Make the content durable without its link. Idempotent. Raises `StorageFull`,
        `StorageFailed`.
        """
        ...

    def finish(self) -> None:
        """End the upload, since the link is written.

        Removes those of its bytes that are not needed.
        """
        ...

    def close(self) -> None:
        """Give the claim up.

        Without `finish` before it the upload stays, so that the client can close it again. After
        `settle` it may have ended by then; the client sends the bytes once more.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BlobStore(Protocol):
    """Content by digest, and the uploads that become content."""

    def stat(self, digest: Digest) -> BlobStat:
        """Return a blob's size.

        Raises `BlobUnknown`, also for content that is known to be damaged.
        """
        ...

    def peek(self, digest: Digest) -> Peek:
        """Return a blob as the index alone knows it. Never writes, and never waits for a write.
        Raises `BlobUnknown`.
        """
        ...

    def sizes(self, digests: Iterable[Digest]) -> Mapping[Digest, int]:
        """Return the sizes of the contents that exist, damaged or not, to account for links."""
        ...

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        """Open the bytes from `offset` to `offset + length`, or to the end if None. The range must
        lie inside the blob. Raises `BlobUnknown`.
        """
        ...

    def begin(
        self, label: str, *, algorithm: str = "sha256", bound: OpenBound | None = None
    ) -> Upload:
        """Begin an empty upload. The store keeps `label` and does not interpret it. `algorithm`
        is that of the digest which the client announced.

        Raises `UploadsTooMany` if as many uploads are open as `bound` allows. Before that it drops
        uploads of the same owner that got no bytes for an hour.
        """
        ...

    def resume(self, label: str, upload_id: str, wait_seconds: float = 1.0) -> Upload:
        """Return the upload, held exclusively. Raises `UploadUnknown` (also for another label), and
        `UploadBusy` if another request still holds it after `wait_seconds`.
        """
        ...

    def upload_offset(self, label: str, upload_id: str) -> int:
        """Return the offset of an upload, to be told to its client. Raises `UploadUnknown`."""
        ...

    def last_body(self, label: str, upload_id: str) -> LastBody:
        """Return the last body as last saved, even if a request holds the upload.

        Raises `UploadUnknown`.
        """
        ...

    def recall(self, label: str, upload_id: str) -> None:
        """Ask the request that holds the upload, in any process, to release it.

        Raises `UploadUnknown`.
        """
        ...

    @property
    def recalls(self) -> int:
        """A number that changes with every `recall` in any process.

        Reading it costs no system call.
        """
        ...

    def commit(self, upload: Upload, digest: Digest) -> Placement:
        """Place the upload's bytes as content of this digest, and claim it.

        Raises `DigestInvalid` (then the upload has ended), `StorageFull`, `StorageFailed`.
        """
        ...

    def finished(self, label: str, upload_id: str) -> Digest | None:
        """Return the digest of an upload that was committed in the last minutes, else None. Its
        closing PUT may be sent twice.
        """
        ...

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        """Free the contents among `digests` that no repository holds. Return the digests that are
        settled: freed, held, or unknown. Contents that are claimed are left for another time.

        The store calls `is_held` while no other caller can claim the contents. The answer must
        reflect the commits until then. The question may cover more than `digests`, and `is_held`
        must not call the store.
        """
        ...

    def measure(
        self,
        blobs: Iterable[Digest],
        is_held: IsHeld,
        *,
        is_alone: bool = False,
        steps_max: int | None = None,
    ) -> Usage:
        """Measure the space of blobs, and the space that those free which `is_held` does not keep.

        With `is_alone` the answer is as if no other blob was stored, so that it tells nothing of
        other holders' content. The measurement ends after `steps_max` steps of about 3 µs.
        """
        ...
