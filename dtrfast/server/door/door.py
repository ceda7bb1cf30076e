"""The front door: one connection's bytes, cut into requests by one strict parser.

A request that the hot lane can answer is answered on the spot. Any other becomes an `Exchange` with
the application; meanwhile its body, and what a client pipelines behind it, gathers here up to a
bound. Everything happens on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import select
from enum import IntEnum

from dtrfast import _core
from dtrfast.server.door.body import Body
from dtrfast.server.door.context import Context
from dtrfast.server.door.exchange import Exchange, Outcome
from dtrfast.server.door.heads import SMALL_SIZE
from dtrfast.server.door.hot import must_close
from dtrfast.server.door.proxy_header import SIZE_MIN, is_start
from dtrfast.server.door.sockets import limit_unsent
from dtrfast.server.door.wire import response_head
from dtrfast.server.proxies import Arrival, Peer

log = logging.getLogger("dtrfast.door")

# Go clients notice our close within a round trip; this is for those that never do.
_LINGER_SECONDS = 5.0
# What is read ahead of whoever takes it. The event loop reads at most this much at once.
_AHEAD_SIZE_MAX = 256 * 1024
# Answers to pipelined requests in one go; then others get their turn.
_REQUESTS_AT_ONCE_MAX = 32
_HEAD_END = b"\r\n\r\n"

_NO_REQUEST = (
    b'{"errors":[{"code":"UNSUPPORTED","message":"this is not a request that can be answered: '
    b'plain HTTP/1.1 is expected, with a head of bounded size and one length"}]}'
)
_LATE_HEAD = (
    b'{"errors":[{"code":"UNSUPPORTED","message":"the head of the request did not come in time: '
    b'send it again on a new connection"}]}'
)


class State(IntEnum):
    """What a connection is doing."""

    HEAD = 0  # waiting for a request, or for the rest of its head
    EXCHANGE = 1
    LINGER = 2  # nothing is answered any more; what comes is dropped
    CLOSED = 3


class Door(asyncio.Protocol):
    """One connection. `gone` is done once it is closed and nothing is done for it any more."""

    __slots__ = (
        "_ahead",
        "_behind",
        "_context",
        "_drained",
        "_ended",
        "_exchange",
        "_has_begun",
        "_limited",
        "_parsed_size",
        "_reading",
        "_state",
        "_timer",
        "_waiter",
        "_writable",
        "gone",
        "hsts",
        "peer",
        "server",
        "tls",
        "transport",
    )

    def __init__(
        self,
        context: Context,
        transport: asyncio.Transport,
        behind: asyncio.BaseProtocol,
        peer: Peer,
        hsts: bytes = b"",
    ) -> None:
        """`hsts`: the value of Strict-Transport-Security, if answers are to have it."""
        self._context = context
        self._behind = behind
        self._ahead = bytearray()  # bytes that nobody has taken yet
        self._parsed_size = 0  # size of the incomplete head at its last look
        self._state = State.HEAD
        self._exchange: Exchange | None = None
        self._has_begun = False  # there is a part of a head, which has to be whole in time
        self._ended = False  # the client sends nothing more
        self._limited = False  # the socket takes little ahead of the client
        self._reading = True
        self._writable = True
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.transport = transport
        self.peer = peer
        self.hsts = hsts
        self.server = _address(transport.get_extra_info("sockname"))
        self.tls = peer.is_secure or transport.get_extra_info("ssl_object") is not None
        self.gone: asyncio.Future[None] = context.loop.create_future()
        context.idle.add(self)

    # ---- called by the event loop ---------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        if self._state is State.HEAD:
            if self._ahead:
                self._ahead += data
                self._read_heads(self._ahead)
            else:
                self._read_heads(data)
        elif self._state is State.EXCHANGE:
            self._ahead += data
            self._wake()
            self._hold_ahead()
            if len(self._ahead) >= _AHEAD_SIZE_MAX:
                self.pause_reading()

    def eof_received(self) -> bool:
        """The client sends nothing more; a whole request of it is still answered."""
        self._ended = True
        self._wake()
        if self._state is not State.EXCHANGE:
            self._close()
        return True

    def begin_record(self) -> None:
        """A part of a TLS record came: the time of a head begins, if this is between requests."""
        if self._state is State.HEAD and not self._has_begun and self._writable:
            self._has_begun = True
            self._context.idle.remove(self)
            self._context.unfinished.add(self)

    def pause_writing(self) -> None:
        self._writable = False
        if self._state is State.HEAD:
            self.pause_reading()

    def resume_writing(self) -> None:
        self._writable = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._state is State.HEAD:
            self.resume_reading()
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        self._state = State.CLOSED
        self._ended = True
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
        self._wake()
        self.resume_writing()
        if self._exchange is not None:
            self._exchange.lose()
        self._behind.connection_lost(error)
        self._check_gone()

    # ---- called by exchanges --------------------------------------------------------------------
    @property
    def is_lost(self) -> bool:
        return self._state is State.CLOSED

    def has_left(self) -> bool:
        """True if the client has closed its side: an answer will most likely not be read."""
        if self._ended:
            return True
        connection = self.transport.get_extra_info("socket")
        if connection is None or connection.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def pause_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def take_body(self, body: Body) -> bytes:
        """Content of `body` among the bytes that are here. Raises ValueError."""
        content, size = body.take(bytes(self._ahead))
        del self._ahead[:size]
        return content

    def take_ahead(self) -> bytes:
        """All bytes that are here."""
        data = bytes(self._ahead)
        self._ahead.clear()
        return data

    def put_back(self, data: bytes) -> None:
        """Bytes that were taken and are not the taker's."""
        self._ahead[:0] = data
        self._hold_ahead()

    async def wait_ahead(self, seconds: float) -> bool:
        """Wait for more bytes; False when none will come. Raises TimeoutError."""
        if self._ended:
            return False
        self.resume_reading()
        self._waiter = self._context.loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        finally:
            self._waiter = None
        return bool(self._ahead)

    def limit_unsent(self, *, limited: bool) -> None:
        """Let the socket take little ahead of the client, or as much as it will."""
        if limited is not self._limited:
            self._limited = limited
            limit_unsent(self.transport.get_extra_info("socket"), limited=limited)

    async def flush(self) -> None:
        """Wait until everything that was written has been sent."""
        if self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(high=0)
            await self.drain()
            self.transport.set_write_buffer_limits()

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written; cut one that takes nothing."""
        seconds = self._context.limits.idle_body_seconds
        while not self._writable and not self.is_lost:
            unsent = self.transport.get_write_buffer_size()
            self._drained = self._context.loop.create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._drained
            except TimeoutError:
                if self.transport.get_write_buffer_size() >= unsent:
                    self.cut_idle()

    def refuse(self, status: int, body: bytes = _NO_REQUEST) -> None:
        """Answer what is no request, and close."""
        address = self.peer.address
        log.info("%s sent what is no request: %d", address[0] if address else "-", status)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"docker-distribution-api-version", b"registry/2.0"),
        ]
        head = response_head(status, headers, self._context.dates.line())
        self.transport.write(head + body)
        self._linger()

    def end_exchange(self, outcome: Outcome) -> None:
        """The exchange is over: go on with the next request, or close."""
        self._exchange = None
        if self.is_lost:
            self._check_gone()
            return
        if outcome is Outcome.CUT:
            self.abort()
        elif outcome is Outcome.REFUSE:
            self.refuse(400)
        elif outcome is Outcome.UNREAD:
            self._linger()
        elif outcome is Outcome.CLOSE or self._context.idle.closed:
            self._close()
        else:
            self._state = State.HEAD
            self._context.idle.add(self)
            self._go_on()

    def close_idle(self) -> None:
        """The client had its time; or the server stops."""
        if not self._has_begun or self._context.idle.closed:
            self._close()
        elif len(self._ahead) <= SMALL_SIZE:
            self.refuse(408, _LATE_HEAD)
        else:
            self.drop_head()

    def drop_head(self) -> None:
        """Close at once, and let go what is held of a head: for an answer the socket would stay."""
        address = self.peer.address
        log.info("%s sent a head that is not whole", address[0] if address else "-")
        self._state = State.LINGER
        self._ahead.clear()
        self._stop_waiting()
        self.abort()

    def cut_idle(self) -> None:
        """The client takes nothing any more."""
        seconds = self._context.limits.idle_body_seconds
        log.info("cutting a transfer that stood still for %.0f s", seconds)
        self.abort()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self.transport.abort()

    # ---- requests -------------------------------------------------------------------------------
    def _read_heads(self, data: bytes | bytearray) -> None:
        """Take requests from the front of `data`, which replaces what is ahead."""
        position = 0
        for _ in range(_REQUESTS_AT_ONCE_MAX):
            if position == len(data) or self._state is not State.HEAD or not self._writable:
                break
            head = self._parse(memoryview(data)[position:] if position else data)
            if head is None:
                break
            position += head.size
            self._parsed_size = 0
            self._take(head)
        else:
            self._context.loop.call_soon(self._go_on)
        if data is self._ahead:
            del self._ahead[:position]
        elif self._state < State.LINGER:
            self._ahead += memoryview(data)[position:]
        if self._ahead or self._has_begun:
            self._watch_head(is_new=position > 0)
        if self._exchange is not None:
            self._exchange.start()
        elif self._ended and self._state is State.HEAD:
            self._close()

    def _watch_head(self, *, is_new: bool) -> None:
        """Give what is ahead its time and its memory; `is_new`: it is another head than before."""
        self._hold_ahead()
        # A client that takes no answers is none whose head is late.
        begins = bool(self._ahead) and self._state is State.HEAD and self._writable
        if begins and (is_new or not self._has_begun):
            self._context.idle.remove(self)
            self._context.unfinished.add(self)
        elif self._has_begun and not begins:
            self._context.unfinished.remove(self)
        self._has_begun = begins

    def _hold_ahead(self) -> None:
        """Count what no request has: parts of a head, and what is pipelined behind a request."""
        exchange = self._exchange
        is_body = exchange is not None and not exchange.has_whole_body
        self._context.head_memory.hold(self, 0 if is_body else len(self._ahead))

    def _stop_waiting(self) -> None:
        self._has_begun = False
        self._context.idle.remove(self)
        self._context.unfinished.remove(self)
        self._context.head_memory.release(self)

    def _go_on(self) -> None:
        """Look at what came while there was something else to do."""
        if self._state is State.HEAD:
            self.resume_reading()
            self._parsed_size = 0
            self._read_heads(self._ahead)

    def _parse(self, data: bytes | bytearray | memoryview) -> _core.Head | None:
        """The request head at the front of `data`, if it is whole. Refuses what cannot be one."""
        if self._parsed_size and not self._is_worth_a_look(data):
            return None
        try:
            head = _core.parse_head(data, size_max=self._context.limits.head_size_max)
        except ValueError:
            self._hint_at_setting(data)
            self.refuse(400)
            return None
        except OverflowError:
            self.refuse(431)
            return None
        if head is None:
            self._parsed_size = len(data)
        return head

    def _hint_at_setting(self, data: bytes | bytearray | memoryview) -> None:
        """Tell of a proxy that sends PROXY headers to a listener that takes none."""
        if is_start(bytes(data[:SIZE_MIN])):
            address = self.peer.address[0] if self.peer.address else "an unknown address"
            self._context.proxies.hint(
                "%s sent a PROXY header, which is refused: if it is a proxy of yours, set"
                " server.proxy_protocol to required",
                address,
                about=address,
            )

    def _is_worth_a_look(self, data: bytes | bytearray | memoryview) -> bool:
        """Heads that come byte by byte are not parsed at each byte: that would be quadratic."""
        start = max(0, self._parsed_size - len(_HEAD_END))
        return len(data) >= 2 * self._parsed_size or _HEAD_END in bytes(memoryview(data)[start:])

    def _take(self, head: _core.Head) -> None:
        """Answer on the spot, or open an exchange."""
        peer, hot = self.peer, self._context.hot
        client, hsts, arrival = peer.address, self.hsts, None
        if head.forwarded:
            arrival = self._context.proxies.arrive(peer, self.tls, head.headers)
            client = arrival.client
            hsts = hsts if arrival.is_direct else b""  # the proxy's own to say
        answer = None if hot is None else hot.answer(head, client, hsts)
        if answer is not None:
            self.transport.write(answer)
            if must_close(head):
                self._close()
            else:
                self._context.idle.add(self)
            return
        self._context.idle.remove(self)
        self._state = State.EXCHANGE
        arrival = arrival or Arrival(client, self.tls, head.headers)
        self._exchange = Exchange(self._context, self, head, arrival)

    # ---- ends -----------------------------------------------------------------------------------
    async def cut(self) -> None:
        """End the connection and what is done for it, and wait until both are over."""
        self.gone = self._context.loop.create_future()  # the one before was cancelled
        self.abort()
        if self._exchange is not None:
            self._exchange.cancel()
        self._check_gone()
        await self.gone

    def _check_gone(self) -> None:
        if self.is_lost and self._exchange is None and not self.gone.done():
            self.gone.set_result(None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _close(self) -> None:
        """Close once everything is sent; a client that takes nothing is cut."""
        if self._state is State.CLOSED:
            return
        self._state = State.LINGER
        self._stop_waiting()
        self._cut_in(self._context.limits.idle_body_seconds)
        self.transport.close()

    def _linger(self) -> None:
        """Close our direction only, and drop what comes until the client closes too.

        A close with bytes unread makes the kernel send a reset, and that can destroy the answer
        before the client has read it.
        """
        if self._ended or not self.transport.can_write_eof():
            self._close()
            return
        self._state = State.LINGER
        self._stop_waiting()
        self._ahead.clear()
        self.resume_reading()
        self.transport.write_eof()
        self._cut_in(_LINGER_SECONDS)

    def _cut_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._context.loop.call_later(seconds, self.abort)


def _address(name: object) -> tuple[str, int] | None:
    """Host and port of a socket's name; a Unix socket has none."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
