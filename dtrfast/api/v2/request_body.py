"""Request bodies: those of manifests as a whole, those of blobs through two buffers.

If the server has a lane, the lane moves a blob's bytes. Otherwise up to 512 KiB are collected here.
A thread writes them while the next bytes arrive. With the store's buffers a transfer takes at most
2 MiB of memory. When no more bytes arrive for a moment, the collected bytes are written, so an
idle client takes no buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from dtrfast.api.errors import ClientGone, ClientIdle
from dtrfast.api.types import lane_of
from dtrfast.api.v2.call import Call
from dtrfast.errors import SizeInvalid, TooLarge, UploadBusy
from dtrfast.store.blobs import Upload

T = TypeVar("T")

BUFFER_SIZE = 512 * 1024
# An event with one byte takes forty bytes of memory, so the number of events is limited as well.
_PIECES_MAX = 256
DRY_SECONDS = 0.2
_TICK_SECONDS = 1.0  # between two checks of a transfer that has nothing to write


async def read_whole(call: Call, size_max: int) -> bytes:
    """Return the body. Raises `TooLarge` as soon as it is known to have more than `size_max` bytes,
    and `SizeInvalid` if it does not have the announced length.
    """
    announced = call.content_length
    if announced is not None and announced > size_max:
        raise _too_large(size_max)
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        piece, more = await _receive_in_time(call)
        pieces.append(piece)
        size += len(piece)
        if size > size_max:
            raise _too_large(size_max)
    if announced is not None and size != announced:
        raise SizeInvalid(f"the body has {size} bytes, but Content-Length announced {announced}")
    return b"".join(pieces)


async def discard(call: Call) -> None:
    """Read the rest of a body that is not needed, so that the client can read the answer. A client
    that waits for `100 Continue` need not send its body.
    """
    if call.headers.get("expect", "").lower() != "100-continue":
        more = True
        while more:
            _, more = await _receive_in_time(call)


class Transfer:
    """The transfer of a request's body into an upload. The end of the block releases the upload.

    Call `receive` once, then `finish` with the last operation on the upload. If the client leaves
    or another request takes over, the bytes received so far stay, so the client can resume.
    """

    def __init__(self, call: Call, upload: Upload) -> None:
        self.upload = upload
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._start = upload.offset
        self._received = 0
        self._pieces: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Task[None] | None = None
        self._saved = True
        self._waiting_since: float | None = None
        self._finished = False
        self._deadline: asyncio.Timeout | None = None  # set while a recall can stop the transfer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._finished:
            await self._stop_writing()
            await self._call.run(self.upload.release)

    @property
    def received(self) -> int:
        """The number of received bytes of the body."""
        return self._received

    async def receive(self, expected: int | None) -> None:
        """Receive the body. `expected` is its size in bytes; None: any size.

        Raises `SizeInvalid` for another size; the upload then gets none of the bytes. Raises
        `UploadBusy` if another request takes over, and `ClientGone`; the upload is then released
        already. Raises `ClientIdle`.
        """
        try:
            await self._receive_all(expected)
        except SizeInvalid:
            await self._stop_writing()
            self._pieces = []
            await self._call.run(self.upload.truncate, self._start)
            raise
        except (ClientGone, UploadBusy):
            await self._settle()
            await self.finish(self.upload.release)
            raise

    async def look_for_recall(self) -> None:
        """Implement `Recallable`: stop receiving if the upload was recalled."""
        is_recalled = await self._call.run(self.upload.is_recalled)
        deadline = self._deadline
        if is_recalled and deadline is not None:
            self._deadline = None  # at most one cancellation
            deadline.reschedule(self._loop.time())

    async def finish(self, function: Callable[..., T], *args: object) -> T:
        """Append the rest of the collected bytes and call `function`, which releases the upload.
        Both happen in one call on a thread. Returns the result of `function`.
        """
        await self._settle()
        pieces, self._pieces = self._pieces, []

        def append_and_call() -> T:
            _append(self.upload, pieces)
            return function(*args)

        result = await self._call.run(append_and_call)
        self._finished = True
        return result

    async def _receive_all(self, expected: int | None) -> None:
        try:
            async with asyncio.timeout(None) as deadline:
                await self._receive_unless_recalled(expected, deadline)
        except TimeoutError:
            raise UploadBusy("another request has taken over this upload") from None
        if deadline.expired():
            await _swallow_cancellation()  # the recall came too late: the body is complete
        if expected is not None and self._received != expected:
            raise _wrong_size(expected)

    async def _receive_unless_recalled(
        self, expected: int | None, deadline: asyncio.Timeout
    ) -> None:
        """Receive the body until a recall passes the deadline. A complete body is not stopped."""
        context = self._call.context
        self._deadline = deadline
        context.recalls.add(self, self._call.registry.uploads.recalls)
        try:
            lane = lane_of(self._call.scope)
            if lane is None:
                await self._receive_events(expected)
            else:
                self._received = await lane.receive(self.upload, expected)
        finally:
            context.recalls.remove(self)
            self._deadline = None

    async def _receive_events(self, expected: int | None) -> None:
        try:
            async with asyncio.timeout(None) as deadline:
                timer = _Timer(self._loop, lambda: self._tick(deadline))
                try:
                    while await self._receive_piece(expected):
                        pass
                finally:
                    timer.stop()
        except TimeoutError as error:
            raise ClientIdle from error

    async def _receive_piece(self, expected: int | None) -> bool:
        """Take one event. Returns False after the last one."""
        self._waiting_since = self._loop.time()
        message = await self._call.receive()
        self._waiting_since = None
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        self._received += len(piece)
        if expected is not None and self._received > expected:
            raise _wrong_size(expected)
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
        more = bool(message.get("more_body", False))
        if more and (self._size >= BUFFER_SIZE or len(self._pieces) >= _PIECES_MAX):
            await self._settle()
            self._write(_append)
        return more

    def _write(self, function: Callable[[Upload, list[bytes]], None]) -> None:
        """Give the collected pieces to a thread. The write before must have ended."""
        pieces, self._pieces, self._size = self._pieces, [], 0
        self._saved = function is _append_and_save
        self._writing = self._loop.create_task(self._call.run(function, self.upload, pieces))

    def _tick(self, deadline: asyncio.Timeout) -> float:
        """Check if bytes still arrive. Returns the seconds until the next check."""
        if self._waiting_since is None:
            return DRY_SECONDS
        dry_seconds = self._loop.time() - self._waiting_since
        if dry_seconds >= self._call.context.config.server.idle_body_seconds:
            deadline.reschedule(self._loop.time())
        elif self._is_unsaved() and dry_seconds >= DRY_SECONDS:
            writing = self._writing
            if writing is None or (writing.done() and writing.exception() is None):
                self._write(_append_and_save)
        return DRY_SECONDS if self._is_unsaved() else _TICK_SECONDS

    def _is_unsaved(self) -> bool:
        return bool(self._pieces) or not self._saved

    async def _settle(self) -> None:
        """Wait for the last write. Raises the exception of that write."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
            writing, self._writing = self._writing, None
            writing.result()

    async def _stop_writing(self) -> None:
        """Wait for the end of the last write, even if the wait is canceled: an upload must not be
        released while a thread writes to it. Ignores the exception of that write.
        """
        is_canceled = False
        while self._writing is not None and not self._writing.done():
            try:
                await asyncio.wait({self._writing})
            except asyncio.CancelledError:
                is_canceled = True
        if self._writing is not None:
            self._writing.exception()
            self._writing = None
        if is_canceled:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()


class _Timer:
    """Calls `tick` repeatedly until stopped. Each call returns the seconds until the next one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick: Callable[[], float]) -> None:
        self._loop = loop
        self._tick = tick
        self._handle = loop.call_later(DRY_SECONDS, self._run)

    def _run(self) -> None:
        self._handle = self._loop.call_later(self._tick(), self._run)

    def stop(self) -> None:
        self._handle.cancel()


async def _receive_in_time(call: Call) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(call.context.config.server.idle_body_seconds):
            message = await call.receive()
    except TimeoutError as error:
        raise ClientIdle from error
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), bool(message.get("more_body", False))


async def _swallow_cancellation() -> None:
    """Catch the cancellation that an expired time-out requested and withdrew. Any other one is
    raised.
    """
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise


def _append(upload: Upload, pieces: list[bytes]) -> None:
    for piece in pieces:
        upload.append(piece)


def _append_and_save(upload: Upload, pieces: list[bytes]) -> None:
    _append(upload, pieces)
    upload.save()


def _too_large(size_max: int) -> TooLarge:
    return TooLarge(f"a manifest has at most {size_max} bytes")


def _wrong_size(expected: int) -> SizeInvalid:
    return SizeInvalid(f"the body does not have the {expected} bytes that were announced")
