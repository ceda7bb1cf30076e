"""Bytes that a client sent and that the server has not consumed yet."""

from __future__ import annotations

import asyncio
import select

from dtrfast.server.door.request_body import RequestBody

# Bytes buffered before a consumer asks for them. The event loop reads at most this much at once.
_SIZE_MAX = 256 * 1024


class ReceiveBuffer:
    """The receiving direction of a connection. Use it on the event loop's thread only.

    The door parses heads at the front of `data`. An exchange takes its body from there.
    """

    __slots__ = ("_is_reading", "_loop", "_transport", "_waiter", "data", "has_ended")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._is_reading = True
        self._waiter: asyncio.Future[None] | None = None
        self.data = bytearray()
        self.has_ended = False  # the client sends nothing more

    def append(self, data: bytes) -> None:
        """Add bytes from the transport, wake `wait`, and stop reading when the buffer is full."""
        self.data += data
        self._wake()
        if len(self.data) >= _SIZE_MAX:
            self.pause_reading()

    def end(self) -> None:
        """Record that the client sends nothing more."""
        self.has_ended = True
        self._wake()

    def has_left(self) -> bool:
        """Return True if the client closed its direction. It will probably not read a response."""
        if self.has_ended:
            return True
        connection = self._transport.get_extra_info("socket")
        if connection is None or connection.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def pause_reading(self) -> None:
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_reading and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def take_body(self, body: RequestBody) -> bytes:
        """Remove the bytes of `body` from the front; return their content without framing.

        Raises ValueError if the framing is malformed.
        """
        content, size = body.take(bytes(self.data))
        del self.data[:size]
        return content

    def take_all(self) -> bytes:
        """Remove all bytes and return them."""
        data = bytes(self.data)
        self.data.clear()
        return data

    async def wait(self, seconds: float) -> bool:
        """Wait for more bytes; return False when none will come. Raises TimeoutError."""
        if self.has_ended:
            return False
        self.resume_reading()
        self._waiter = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        finally:
            self._waiter = None
        return bool(self.data)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
