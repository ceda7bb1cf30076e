"""The response of an exchange: its head, and the framing of its content."""

from __future__ import annotations

from enum import IntEnum
from http import HTTPStatus

from dtrfast import _core
from dtrfast.server.door import wire
from dtrfast.server.door.interfaces import ClientConnection

# A client of a range may close at any byte, and most do so after a few MiB. For a client that took
# this many bytes the kernel may hold 4 MiB unsent, which saves a tenth of the CPU time.
_LIMITED_SIZE = 32 << 20


class ResponseState(IntEnum):
    """Progress of a response, and the mark by which the client finds its end."""

    AWAITED = 0  # the application has not begun it
    SIZED = 1  # its size is known: Content-Length, or no content
    CHUNKED = 2  # the last chunk ends it
    UNTIL_CLOSE = 3  # the end of the connection ends it (HTTP/1.0 without a length)
    COMPLETE = 4


class ResponseWriter:
    """Writes one response to the connection. The head waits for the first bytes of content."""

    __slots__ = (
        "_connection",
        "_dates",
        "_head",
        "_hsts",
        "_left",
        "_pending",
        "_sent",
        "is_last",
        "state",
    )

    def __init__(
        self, connection: ClientConnection, head: _core.Head, dates: wire.Dates, hsts: bytes
    ) -> None:
        """`head` is the request's. `hsts`: the value of Strict-Transport-Security, if not empty."""
        self._connection = connection
        self._head = head
        self._dates = dates
        self._hsts = hsts
        self._left = 0  # bytes of content to come, if the response is SIZED
        self._sent = 0  # bytes of content that were written, framing included
        self._pending = b""  # the head, until it is sent
        self.state = ResponseState.AWAITED
        self.is_last = False  # the connection closes after this response

    def begin(self, status: int, headers: list[tuple[bytes, bytes]], *, is_last: bool) -> None:
        """Make the head of `headers`, which this may change, and of the framing.

        `is_last`: the connection has to close after the response. The application may ask for
        that, too, with a header.
        """
        if self._hsts:
            headers.append((b"strict-transport-security", self._hsts))
        fields = dict(headers)
        length = fields.get(b"content-length")
        if not wire.has_body(self._head.method, status):
            state = ResponseState.SIZED
        elif length is not None:
            state, self._left = ResponseState.SIZED, int(length)
        elif self._head.version == "1.1":
            state = ResponseState.CHUNKED
            headers.append((b"transfer-encoding", b"chunked"))
        else:
            state, is_last = ResponseState.UNTIL_CLOSE, True
        self.is_last = is_last or fields.get(b"connection", b"").lower() == b"close"
        if self.is_last and b"connection" not in fields:
            headers.append((b"connection", b"close"))
        self.state = state
        is_range = status == HTTPStatus.PARTIAL_CONTENT
        self._connection.flow.limit_unsent(limited=is_range)
        self._pending = wire.response_head(status, headers, self._dates.line())

    async def write(self, data: bytes) -> None:
        """Write content, which is not empty; wait until the client has taken most of it."""
        if self.state is ResponseState.CHUNKED:
            data = wire.chunk(data)
        elif self.state is ResponseState.SIZED:
            self._left -= len(data)
        self._count(len(data))
        connection = self._connection
        if not connection.is_lost:
            connection.transport.writelines([self.take_head(), data])
            await connection.flow.drain()

    def end(self) -> None:
        """Write the rest. A response with less or more content than its length stays incomplete."""
        last = wire.LAST_CHUNK if self.state is ResponseState.CHUNKED else b""
        if not self._connection.is_lost and (self._pending or last):
            self._connection.transport.write(self.take_head() + last)
        if self.state is not ResponseState.SIZED or self._left == 0:
            self.state = ResponseState.COMPLETE

    def take_head(self) -> bytes:
        """Return the head if it is unsent, else nothing. The caller must send it."""
        head, self._pending = self._pending, b""
        return head

    def count_sent(self, size: int) -> None:
        """Count `size` bytes of content that the lane sent past `write`."""
        assert self.state is ResponseState.SIZED, "a lane sends only content of known size"
        self._left -= size
        self._count(size)

    def _count(self, size: int) -> None:
        self._sent += size
        if self._sent >= _LIMITED_SIZE:
            self._connection.flow.limit_unsent(limited=False)
