"""Request bodies: whole for manifests, through two buffers for blobs.

Where the server has a lane, it moves a blob's bytes and nothing here touches them. Else they are
collected up to 512 KiB and handed to a thread while the next ones arrive; with what the store holds
of them while it cuts, that is at most 2 MiB a transfer. A socket that runs dry costs nothing: what
is there is written and its buffers are given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from dtrfast.api.errors import ClientGone, ClientIdle
from dtrfast.api.types import lane_of
from dtrfast.api.v2.call import Call
from dtrfast.errors import SizeInvalid, TooLarge, UploadBusy
from dtrfast.store.blobs import Upload

T = TypeVar("T")

BUFFER_SIZE = 512 * 1024
# An event of one byte takes forty: their number is bounded as well.
_PIECES_MAX = 256
DRY_SECONDS = 0.2
_TICK_SECONDS = 1.0  # how often a transfer with nothing to write is looked at


async def read_whole(call: Call, size_max: int) -> bytes:
    """The body. Raises `TooLarge` as soon as it is known to have more than `size_max` bytes."""
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
        raise SizeInvalid(f"{size} bytes came where Content-Length announced {announced}")
    return b"".join(pieces)


async def discard(call: Call) -> None:
    """Read what is left of a body that is not needed, so that its client reads the answer. One that
    asked first whether to send it is not made to.
    """
    if call.headers.get("expect", "").lower() != "100-continue":
        more = True
        while more:
            _, more = await _receive_in_time(call)


class Transfer:
    """A request's body on its way into an upload, which is released at the end whatever happens.

    `receive` once, then `finish` with what is to be done last. Bytes that came before the client
    went away, or before another request took over, are kept, so that it may resume.
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
        self._deadline: asyncio.Timeout | None = None  # while a recall may stop this

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
        """Bytes of the body that came."""
        return self._received

    async def receive(self, expected: int | None) -> None:
        """Take the body. Raises `SizeInvalid` if it has not `expected` bytes: nothing is taken."""
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
        """See `Recallable`."""
        is_recalled = await self._call.run(self.upload.is_recalled)
        deadline = self._deadline
        if is_recalled and deadline is not None:
            self._deadline = None  # it strikes once
            deadline.reschedule(self._loop.time())

    async def finish(self, function: Callable[..., T], *args: object) -> T:
        """Append what is left and call `function`, which lets go of the upload, on one thread."""
        await self._settle()
        pieces, self._pieces = self._pieces, []
        last = partial(_append_and_call, self.upload, pieces, partial(function, *args))
        result = await self._call.run(last)
        self._finished = True
        return result

    async def _receive_all(self, expected: int | None) -> None:
        try:
            async with asyncio.timeout(None) as deadline:
                await self._receive_unless_recalled(expected, deadline)
        except TimeoutError:
            raise UploadBusy("another request has taken over this upload") from None
        if deadline.expired():
            await _swallow_cancellation()  # it came too late: the body is whole
        if expected is not None and self._received != expected:
            raise _wrong_size(expected)

    async def _receive_unless_recalled(
        self, expected: int | None, deadline: asyncio.Timeout
    ) -> None:
        """A body that is whole is not stopped any more."""
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
        """Take one event; False after the last."""
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
        """Give the collected pieces to a thread; the one before has ended."""
        pieces, self._pieces, self._size = self._pieces, [], 0
        self._saved = function is _append_and_save
        self._writing = self._loop.create_task(self._call.run(function, self.upload, pieces))

    def _tick(self, deadline: asyncio.Timeout) -> float:
        """Look whether the socket is dry; returns in how many seconds to look again."""
        if self._waiting_since is None:
            return DRY_SECONDS
        dry_seconds = self._loop.time() - self._waiting_since
        if dry_seconds >= self._call.context.config.server.idle_body_seconds:
            deadline.reschedule(self._loop.time())
        elif self._is_unsaved() and dry_seconds >= DRY_SECONDS and self._is_settled():
            self._write(_append_and_save)
        return DRY_SECONDS if self._is_unsaved() else _TICK_SECONDS

    def _is_unsaved(self) -> bool:
        return bool(self._pieces) or not self._saved

    def _is_settled(self) -> bool:
        writing = self._writing
        return writing is None or (writing.done() and writing.exception() is None)

    async def _settle(self) -> None:
        """Wait for the last write; raises what it raised."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
            writing, self._writing = self._writing, None
            writing.result()

    async def _stop_writing(self) -> None:
        """Wait for the last write, whatever became of it and however often this is cancelled: an
        upload is not released under a thread that writes to it.
        """
        cancelled = False
        while self._writing is not None and not self._writing.done():
            try:
                await asyncio.wait({self._writing})
            except asyncio.CancelledError:
                cancelled = True
        if self._writing is not None:
            self._writing.exception()
            self._writing = None
        if cancelled:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()


class _Timer:
    """Calls `tick` again and again, after as many seconds as it said, until stopped."""

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
    """Let a cancellation strike that a time-out has asked for and taken back; no other one."""
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


def _append_and_call(upload: Upload, pieces: list[bytes], function: Callable[[], T]) -> T:
    _append(upload, pieces)
    return function()


def _too_large(size_max: int) -> TooLarge:
    return TooLarge(f"a manifest has at most {size_max} bytes")


def _wrong_size(expected: int) -> SizeInvalid:
    return SizeInvalid(f"the body does not have the {expected} bytes that were announced")
