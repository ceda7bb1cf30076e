"""The front door: splits one connection's bytes into requests, with one strict parser.

The hot lane answers a request at once if it can. Any other request becomes an `Exchange` with the
application. Meanwhile its body and pipelined requests gather in a bounded buffer. Everything
happens on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from enum import IntEnum

from dtrfast import _core
from dtrfast.server.door.announced import hint_at_proxy_header
from dtrfast.server.door.closer import Closer
from dtrfast.server.door.door_context import DoorContext
from dtrfast.server.door.exchange import Exchange
from dtrfast.server.door.head_parser import HeadParser
from dtrfast.server.door.heads import SMALL_SIZE
from dtrfast.server.door.hot import must_close
from dtrfast.server.door.interfaces import ExchangeOutcome
from dtrfast.server.door.receive_buffer import ReceiveBuffer
from dtrfast.server.door.refusals import refusal
from dtrfast.server.door.send_flow import SendFlow
from dtrfast.server.proxies import Arrival, Peer

log = logging.getLogger("dtrfast.door")

# Responses to pipelined requests in one step. Then other connections get their turn.
_REQUESTS_AT_ONCE_MAX = 32


class State(IntEnum):
    """The state of a connection."""

    HEAD = 0  # it waits for a request, or for the rest of a head
    EXCHANGE = 1  # the application answers a request
    LINGER = 2  # it is closing: received bytes are dropped
    CLOSED = 3


class Door(asyncio.Protocol):
    """One connection. The future `gone` is done once it is closed and its exchange is over."""

    __slots__ = (
        "_behind",
        "_closer",
        "_context",
        "_exchange",
        "_has_begun",
        "_parser",
        "_state",
        "flow",
        "gone",
        "hsts",
        "is_secure",
        "peer",
        "received",
        "server",
        "transport",
    )

    def __init__(
        self,
        context: DoorContext,
        transport: asyncio.Transport,
        behind: asyncio.BaseProtocol,
        peer: Peer,
        hsts: bytes = b"",
    ) -> None:
        """`hsts`: the value of Strict-Transport-Security; empty for responses without it.

        `behind`: the transport's protocol until now. It learns when the connection is lost.
        """
        self._context = context
        self._behind = behind
        self._parser = HeadParser(context.limits.head_size_max)
        self._state = State.HEAD
        self._exchange: Exchange | None = None
        self._has_begun = False  # a part of a head came: the rest has a deadline
        self.transport = transport
        self.received = ReceiveBuffer(context.loop, transport)
        idle_seconds_max = context.limits.idle_body_seconds
        self.flow = SendFlow(context.loop, transport, idle_seconds_max)
        self._closer = Closer(context.loop, transport, idle_seconds_max)
        self.peer = peer
        self.hsts = hsts
        name = transport.get_extra_info("sockname")  # of a Unix socket it is no tuple
        self.server = (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
        self.is_secure = peer.is_secure or transport.get_extra_info("ssl_object") is not None
        self.gone: asyncio.Future[None] = context.loop.create_future()
        context.idle.add(self)

    # ---- called by the event loop ---------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        if self._state is State.HEAD:
            ahead = self.received.data
            if ahead:
                ahead += data
                self._read_heads(ahead)
            else:
                self._read_heads(data)
        elif self._state is State.EXCHANGE:
            self.received.append(data)
            self._hold_ahead()

    def eof_received(self) -> bool:
        """Record that the client sends nothing more. A complete request still gets its response."""
        self.received.end()
        if self._state is not State.EXCHANGE:
            self._close()
        return True

    def begin_record(self) -> None:
        """Start the deadline of a head, because a part of a TLS record came between requests."""
        if self._state is State.HEAD and not self._has_begun and self.flow.is_open:
            self._has_begun = True
            self._context.idle.remove(self)
            self._context.unfinished.add(self)

    def pause_writing(self) -> None:
        self.flow.close()
        if self._state is State.HEAD:
            self.received.pause_reading()

    def resume_writing(self) -> None:
        self.flow.open()
        if self._state is State.HEAD:
            self.received.resume_reading()
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        self._state = State.CLOSED
        self._stop_waiting()
        self._closer.cancel()
        self.received.end()
        self.flow.open()
        if self._exchange is not None:
            self._exchange.lose()
        self._behind.connection_lost(error)
        self._check_gone()

    # ---- called by exchanges and lanes ----------------------------------------------------------
    @property
    def is_lost(self) -> bool:
        """True once the connection is closed."""
        return self._state is State.CLOSED

    def put_back(self, data: bytes) -> None:
        """Return received bytes that are not part of the request's body."""
        self.received.data[:0] = data
        self._hold_ahead()

    def end_exchange(self, outcome: ExchangeOutcome) -> None:
        """Go on with the next request, or close the connection."""
        self._exchange = None
        if self.is_lost:
            self._check_gone()
            return
        if outcome is ExchangeOutcome.CUT:
            self.abort()
        elif outcome is ExchangeOutcome.REFUSE:
            self.refuse(400)
        elif outcome is ExchangeOutcome.UNREAD:
            self._linger()
        elif outcome is ExchangeOutcome.CLOSE or self._context.idle.is_closed:
            self._close()
        else:
            self._state = State.HEAD
            self._context.idle.add(self)
            self._go_on()

    # ---- refusals -------------------------------------------------------------------------------
    def refuse(self, status: int) -> None:
        """Answer bytes that are no acceptable request with 400, 408 or 431, and close."""
        address = self.peer.address
        log.info("refused a request from %s: status %d", address[0] if address else "-", status)
        self.transport.write(refusal(status, self._context.dates.line()))
        self._linger()

    def close_idle(self) -> None:
        """Close, because the client was idle for too long, or because the server stops."""
        if not self._has_begun or self._context.idle.is_closed:
            self._close()
        elif len(self.received.data) <= SMALL_SIZE:
            self.refuse(408)
        else:
            self.drop_head()

    def drop_head(self) -> None:
        """Close at once and free the memory of an unfinished head.

        There is no response, because the socket would have to stay open for it.
        """
        address = self.peer.address
        log.info(
            "closed a connection from %s: incomplete request head", address[0] if address else "-"
        )
        self._state = State.LINGER
        self.received.data.clear()
        self._stop_waiting()
        self.abort()

    def abort(self) -> None:
        """Close at once. Unsent bytes are lost."""
        self.transport.abort()

    # ---- requests -------------------------------------------------------------------------------
    def _read_heads(self, data: bytes | bytearray) -> None:
        """Take requests from the front of `data`. Buffer the rest.

        `data` is the buffer itself, or new bytes for an empty buffer.
        """
        position = 0
        for _ in range(_REQUESTS_AT_ONCE_MAX):
            if position == len(data) or self._state is not State.HEAD or not self.flow.is_open:
                break
            head = self._parse(memoryview(data)[position:] if position else data)
            if head is None:
                break
            position += head.size
            self._take(head)
        else:
            self._context.loop.call_soon(self._go_on)
        if data is self.received.data:
            del self.received.data[:position]
        elif self._state < State.LINGER:
            self.received.data += memoryview(data)[position:]
        if self.received.data or self._has_begun:
            self._watch_head(is_new=position > 0)
        if self._exchange is not None:
            self._exchange.start()
        elif self.received.has_ended and self._state is State.HEAD:
            self._close()

    def _watch_head(self, *, is_new: bool) -> None:
        """Watch the time and memory of an unfinished head. `is_new`: another head than before."""
        self._hold_ahead()
        # While the client takes no responses its head is not read, so it cannot be late.
        begins = bool(self.received.data) and self._state is State.HEAD and self.flow.is_open
        if begins and (is_new or not self._has_begun):
            self._context.idle.remove(self)
            self._context.unfinished.add(self)
        elif self._has_begun and not begins:
            self._context.unfinished.remove(self)
        self._has_begun = begins

    def _hold_ahead(self) -> None:
        """Count the buffered bytes of heads and of pipelined requests, but not those of a body."""
        exchange = self._exchange
        is_body = exchange is not None and not exchange.has_whole_body
        self._context.head_memory.hold(self, 0 if is_body else len(self.received.data))

    def _stop_waiting(self) -> None:
        self._has_begun = False
        self._context.idle.remove(self)
        self._context.unfinished.remove(self)
        self._context.head_memory.release(self)

    def _go_on(self) -> None:
        """Read the bytes that were buffered during an exchange, a full buffer or other work."""
        if self._state is State.HEAD:
            self.received.resume_reading()
            self._parser.reset()
            self._read_heads(self.received.data)

    def _parse(self, data: bytes | bytearray | memoryview) -> _core.Head | None:
        """Return the head at the front of `data`; None if it is incomplete, or refused here."""
        try:
            return self._parser.parse(data)
        except ValueError:
            hint_at_proxy_header(self._context, self.peer, data)
            self.refuse(400)
        except OverflowError:
            self.refuse(431)
        return None

    def _take(self, head: _core.Head) -> None:
        """Answer from the hot lane, or open an exchange."""
        peer, hot = self.peer, self._context.hot
        client, hsts, arrival = peer.address, self.hsts, None
        if head.forwarded:
            arrival = self._context.proxies.arrive(peer, self.is_secure, head.headers)
            client = arrival.client
            hsts = hsts if arrival.is_direct else b""  # the proxy may send its own
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
        arrival = arrival or Arrival(client, self.is_secure, head.headers)
        self._exchange = Exchange(self._context, self, head, arrival)

    # ---- ends -----------------------------------------------------------------------------------
    async def cut(self) -> None:
        """Abort the connection, cancel its exchange, and wait until both are over."""
        self.gone = self._context.loop.create_future()  # the former one was canceled
        self.abort()
        if self._exchange is not None:
            self._exchange.cancel()
        self._check_gone()
        await self.gone

    def _check_gone(self) -> None:
        if self.is_lost and self._exchange is None and not self.gone.done():
            self.gone.set_result(None)

    def _close(self) -> None:
        if self._state is State.CLOSED:
            return
        self._state = State.LINGER
        self._stop_waiting()
        self._closer.close()

    def _linger(self) -> None:
        """Close the server's direction, and drop bytes until the client closes its own."""
        if self.received.has_ended or not self.transport.can_write_eof():
            self._close()
            return
        self._state = State.LINGER
        self._stop_waiting()
        self.received.data.clear()
        self.received.resume_reading()
        self._closer.linger()
