"""The blob seam: what the registry may ask of whatever holds the bytes.

Content by digest, and uploads on their way to be that. No repositories, authors, packs, paths,
locks or transactions appear here; only the store knows how bytes lie, and only the registry who
holds them. All methods block and are safe to call from many threads. The contract suite is
`tests/store/blob_contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import msgspec

from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.digests import Digest

# The least room that `Upload.append_from` offers: below it the calls cost more than the bytes.
FILL_SIZE_MIN = 262144


class BlobStat(msgspec.Struct, frozen=True, gc=False):
    """A blob. `size` is its bytes as pushed, not what it takes on disk."""

    digest: Digest
    size: int


class Peek(msgspec.Struct, frozen=True, gc=False):
    """What the index alone knows of a blob. `body` is its bytes if they lie there, else None."""

    stat: BlobStat
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes at `offset` of an open file. Read them with `pread` or `sendfile`, never
    `mmap`.

    The descriptor belongs to the `BlobReader` and is valid until its next segment is asked for or
    it is closed.
    """

    descriptor: int
    offset: int
    length: int


Segment = Extent | bytes


class BlobReader(Protocol):
    """The bytes of a range, in order, as segments. Iterate once, then close; a short iteration is
    fine.

    Iterating may block and may raise `Corrupt` or `StorageFailed` after some segments were handed
    out.
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
    """Sizes in bytes: of the blobs as pushed, of what lies on disk for them, and of what would be
    freed. `is_whole`: all of them were looked at.
    """

    size: int
    stored: int
    unique: int
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class OpenBound:
    """Most uploads that `owner` may have open under one name, and under all names."""

    owner: str
    name_max: int
    all_max: int


class LastBody(msgspec.Struct, frozen=True, gc=False):
    """The last body that an upload took, as it is remembered (docs/uploads.md).

    `begin` and `offset` are where it began and how far it came, `end` where it would have ended, if
    that was announced. `is_open`: it broke off, or its answer could not be written. `is_told`: the
    client has heard of `offset` since.
    """

    begin: int = 0
    offset: int = 0
    end: int | None = None
    is_open: bool = False
    is_told: bool = False


class Upload(Protocol):
    """An upload that this caller holds exclusively until `release`, `cancel` or the store's
    `commit`.

    One thread at a time. What `append` took is kept across requests, workers and restarts of the
    server. A request that brings bytes calls `begin_body` first and `end_body` last.
    """

    id: str  # a UUID in its 36-character form, unguessable
    label: str  # the one that the upload was begun under

    @property
    def offset(self) -> int:
        """Bytes received so far."""
        ...

    @property
    def last_body(self) -> LastBody:
        """The last body that another request brought."""
        ...

    def begin_body(self, start: int, length: int | None, *, is_guess: bool = False) -> Upload:
        """A body of `length` bytes, or of unknown length, begins at `start`: at `offset`, or
        where the last body began, whose bytes are then dropped.

        With `is_guess` it may be the other of the two: `check` tries both. Returns what to go on
        with in place of this upload. Raises `RangeInvalid` if the upload takes no bytes any more.
        """
        ...

    def end_body(self) -> None:
        """The body has come whole, and its client is about to be told. Fails as `save` does."""
        ...

    def reopen_body(self) -> None:
        """After all its client could not be told."""
        ...

    def tell(self) -> None:
        """The client is told of `offset`: it may go on from there without saying so."""
        ...

    def is_recalled(self) -> bool:
        """True if `BlobStore.recall` was called since this was resumed."""
        ...

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. `data` is not kept. Raises `StorageFull` or `StorageFailed`; then
        release it.
        """
        ...

    def append_from(self, fill: Callable[[memoryview], int]) -> int:
        """Let `fill` put the next bytes into memory of the store's, again and again until it
        returns 0; returns how many bytes were taken.

        `fill` gets a writable view of at least `FILL_SIZE_MIN` bytes, returns how many it put at
        its front, and keeps no reference to it. Fails as `append` does. What `fill` raises passes
        through: the bytes taken before it count, and the upload stays usable.
        """
        ...

    def truncate(self, offset: int) -> None:
        """Go back to `offset`, which must be where this request began: drops what this request
        appended.
        """
        ...

    def check(self, digest: Digest) -> None:
        """Raise `DigestInvalid` unless the bytes so far have this digest. May read them again
        (sha512).
        """
        ...

    def save(self) -> None:
        """Write the uncut tail and the state to disk and give up buffers: call it when the socket
        runs dry. Fails as `append` does, which may not have written what it took.
        """
        ...

    def release(self) -> None:
        """Save and let go, also when saving fails: any worker may resume. Idempotent; nothing after
        commit or cancel.
        """
        ...

    def cancel(self) -> None:
        """Forget the upload and free its bytes."""
        ...


# Tells which contents a repository holds. Each content is given by all its names; it is held if one
# of them is. The answer has one entry for each content.
IsHeld = Callable[[Sequence[Sequence[Digest]]], list[bool]]


class Placed(Protocol):
    """Content that is placed, and a claim on it: until `close` nothing frees it. A claim ends with
    its process.

    Its caller writes the link of the content, then calls `finish`, and `close` in any case.
    Several callers may have the same content placed at a time, once it is there.
    """

    stat: BlobStat

    @property
    def inline(self) -> bytes | None:
        """The content, if nothing but the index of the store keeps it, and no other caller may have
        written down a holder yet.
        """
        ...

    @property
    def pending(self) -> Callable[[WriteTransaction], object] | None:
        """A change of the local index that makes the content durable and findable, or None. An
        index that commits local and shared changes together may take it into the commit of the
        link; `settle` is for all others.
        """
        ...

    def settle(self) -> None:
        """Make the content durable without its link. Idempotent. Raises `StorageFull`,
        `StorageFailed`.
        """
        ...

    def finish(self) -> None:
        """The link is written: the upload has ended, and its bytes go if they are not needed."""
        ...

    def close(self) -> None:
        """Give the claim up. Without `finish` before it the upload stays, to be closed again; after
        `settle` it may have ended by then, and its client sends the bytes once more.
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
        """Raises `BlobUnknown`, also for content that is known to be damaged."""
        ...

    def peek(self, digest: Digest) -> Peek:
        """What the index alone can tell at once. Never writes and never waits for a disk write.
        Raises `BlobUnknown`.
        """
        ...

    def sizes(self, digests: Iterable[Digest]) -> Mapping[Digest, int]:
        """The sizes of those contents that are there, damaged or not: for accounts of links."""
        ...

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        """Bytes `offset` to `offset + length` (to the end when None). The range must lie inside the
        blob.
        """
        ...

    def begin(
        self, label: str, *, algorithm: str = "sha256", bound: OpenBound | None = None
    ) -> Upload:
        """A new, empty upload. The store keeps `label`, gives it back and does not read it.
        `algorithm` is that of the digest which the client announced.

        Raises `UploadsTooMany` where as many are open as `bound` allows, after those of the same
        owner that got no bytes for an hour were dropped.
        """
        ...

    def resume(self, label: str, upload_id: str, wait_seconds: float = 1.0) -> Upload:
        """The upload, held exclusively. Raises `UploadUnknown` (also for another label), and
        `UploadBusy` while another request still holds it after `wait_seconds`.
        """
        ...

    def upload_offset(self, label: str, upload_id: str) -> int:
        """Bytes received by an upload, for its client to know. Raises `UploadUnknown`."""
        ...

    def last_body(self, label: str, upload_id: str) -> LastBody:
        """As last saved, even if a request holds the upload. Raises `UploadUnknown`."""
        ...

    def recall(self, label: str, upload_id: str) -> None:
        """Ask the holder of the upload, in any process, to let go. Raises `UploadUnknown`."""
        ...

    @property
    def recalls(self) -> int:
        """A number that changes with every `recall` in any process. Costs nothing to look at."""
        ...

    def commit(self, upload: Upload, digest: Digest) -> Placed:
        """Place the upload's bytes as content of this digest, and claim it.

        Raises `DigestInvalid` (the upload is gone then), `StorageFull`, `StorageFailed`.
        """
        ...

    def finished(self, label: str, upload_id: str) -> Digest | None:
        """The digest that an upload was committed as some minutes ago: its closing PUT may be sent
        twice.
        """
        ...

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        """Free those of some contents that no repository holds; returns the settled ones: freed,
        held, or not there. Those that are claimed are left for another time.

        `is_held` is asked while nothing can claim them, and must answer for what is committed at
        that moment. It may be asked about more than `digests`, and must not call the store.
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
        """The room that blobs take, and that those would free which `is_held` does not keep.
        With `is_alone` as if no other blob was stored, so that the answer tells nothing of what
        others hold. It ends after `steps_max` steps of some 3 µs.
        """
        ...
