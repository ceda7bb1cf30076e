"""Flow control of a connection's responses."""

from __future__ import annotations

import asyncio
import logging

from dtrfast.server.door.sockets import limit_unsent

log = logging.getLogger("dtrfast.door")


class SendFlow:
    """Keeps the server from writing far ahead of the client. Use it on the event loop's thread."""

    __slots__ = ("_drained", "_idle_seconds_max", "_is_limited", "_loop", "_transport", "is_open")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        idle_seconds_max: float,
    ) -> None:
        """`idle_seconds_max`: the longest time in which a client may take nothing."""
        self._loop = loop
        self._transport = transport
        self._idle_seconds_max = idle_seconds_max
        self._is_limited = False
        self._drained: asyncio.Future[None] | None = None
        self.is_open = True  # the transport's buffer is below its limit

    def close(self) -> None:
        """Stop writers: the transport's buffer is full."""
        self.is_open = False

    def open(self) -> None:
        """Let writers go on: the transport's buffer was sent, or the connection is lost."""
        self.is_open = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def limit_unsent(self, *, limited: bool) -> None:
        """Bound the bytes that the kernel holds unsent, or remove that bound."""
        if limited is not self._is_limited:
            self._is_limited = limited
            limit_unsent(self._transport.get_extra_info("socket"), limited=limited)

    async def flush(self) -> None:
        """Wait until the kernel has all bytes that were written to the transport."""
        if self._transport.get_write_buffer_size():
            self._transport.set_write_buffer_limits(high=0)
            await self.drain()
            self._transport.set_write_buffer_limits()

    async def drain(self) -> None:
        """Wait until the transport's buffer is below its limit.

        A client that takes no byte for the longest idle time is cut off.
        """
        while not self.is_open:
            unsent = self._transport.get_write_buffer_size()
            self._drained = self._loop.create_future()
            try:
                async with asyncio.timeout(self._idle_seconds_max):
                    await self._drained
            except TimeoutError:
                if self._transport.get_write_buffer_size() >= unsent:
                    self.cut_idle()

    def cut_idle(self) -> None:
        """Close the connection at once, because the client takes nothing."""
        log.info("cut a transfer: the client took nothing for %.0f s", self._idle_seconds_max)
        self._transport.abort()
