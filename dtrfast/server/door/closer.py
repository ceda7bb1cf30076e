"""The end of a connection: close it, and cut off a client that does not let it close."""

from __future__ import annotations

import asyncio

# Go clients notice the server's close within a round trip. Some clients never do.
_LINGER_SECONDS = 5.0


class Closer:
    """Closes one connection within a bounded time. Call `close` or `linger`, then `cancel`."""

    __slots__ = ("_idle_seconds_max", "_loop", "_timer", "_transport")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        idle_seconds_max: float,
    ) -> None:
        """`idle_seconds_max`: the longest time in which the last bytes have to be sent."""
        self._loop = loop
        self._transport = transport
        self._idle_seconds_max = idle_seconds_max
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Close once everything is sent. Cut off a client that does not take it."""
        self._abort_after(self._idle_seconds_max)
        self._transport.close()

    def linger(self) -> None:
        """Close the server's direction only; the client has a few seconds to close its own.

        A close with unread bytes makes the kernel send a reset, which can destroy the response
        before the client has read it. The caller must go on reading, and drop the bytes.
        """
        self._transport.write_eof()
        self._abort_after(_LINGER_SECONDS)

    def cancel(self) -> None:
        """Stop the timer, because the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _abort_after(self, seconds: float) -> None:
        self.cancel()
        self._timer = self._loop.call_later(seconds, self._transport.abort)
