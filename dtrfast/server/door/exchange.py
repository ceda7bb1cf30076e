"""One request that goes to the application, through Hypercorn's `HTTPStream`.

`HTTPStream` runs the application and speaks ASGI with it; it knows nothing of sockets and framing.
Body events are made when the application asks for one, so nothing is read for nobody, an unread
body never blocks, and `100 Continue` is sent when somebody wants the body and not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from enum import IntEnum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.protocol.events import Body as BodyEvent
from hypercorn.protocol.events import EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState

from dtrfast import _core
from dtrfast.api.types import LANE, LEFT
from dtrfast.server.asgi import App, Message, Receive, Scope, Send
from dtrfast.server.door import wire
from dtrfast.server.door.body import Body
from dtrfast.server.door.context import Context
from dtrfast.server.door.hot import must_close
from dtrfast.server.door.lane import SocketLane
from dtrfast.server.proxies import Arrival

if TYPE_CHECKING:
    from dtrfast.server.door.door import Door

log = logging.getLogger("dtrfast.door")

_STREAM_ID = 1
_EXCHANGE = "dtrfast.exchange"
# The application has its own limit for bodies that stand still and answers in time; this is for
# one that has none.
_IDLE_FACTOR = 1.25
# A client of a range may hang up at any byte, and most do after a few MiB. One that took as much as
# this gets a full socket, whose 4 MiB are little beside it: it saves a tenth of the processor time.
_CAREFUL_SIZE = 32 << 20


class Outcome(IntEnum):
    """What becomes of the connection."""

    KEEP = 0
    CLOSE = 1
    UNREAD = 2  # a body was left unread: nothing that follows can be a request
    CUT = 3  # the answer is not whole
    REFUSE = 4  # the body was none


class Exchange:
    """A request and its answer. `start` once; `lose` when the connection is gone."""

    __slots__ = (
        "_answered",
        "_arrival",
        "_asked",
        "_body",
        "_broken",
        "_chunked",
        "_close",
        "_context",
        "_door",
        "_head",
        "_left",
        "_losing",
        "_passed",
        "_pending",
        "_started",
        "_stream",
        "_task",
        "_told",
    )

    def __init__(self, context: Context, door: Door, head: _core.Head, arrival: Arrival) -> None:
        self._context = context
        self._door = door
        self._head = head
        self._arrival = arrival
        self._body = Body(head)
        self._told = False  # the application knows that the body has ended
        self._asked = False  # the application has asked for the body
        self._started = False  # the answer's head is made
        self._answered = False  # the answer is whole
        self._broken = False  # the body's framing makes no sense
        self._close = must_close(head)
        self._chunked = False
        self._left: int | None = None  # bytes of the answer's body to come, if it said how many
        self._passed = 0  # bytes of the answer's body that went out
        self._pending = b""  # the answer's head, until there is something to send with it
        self._stream: HTTPStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._losing: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = self._context.loop.create_task(self._run())

    def lose(self) -> None:
        """The connection is gone: tell the application."""
        if self._stream is not None:
            self._losing = self._context.loop.create_task(self.disconnect())

    def cancel(self) -> None:
        """The server stops: the application is cancelled."""
        if self._task is not None:
            self._task.cancel()

    @property
    def has_whole_body(self) -> bool:
        """True if nothing of the request is to come: further bytes are another's."""
        return self._body.finished

    # ---- the request ----------------------------------------------------------------------------
    async def _run(self) -> None:
        try:
            async with TaskGroup(self._context.loop) as group:
                self._stream = self._open_stream(group)
                await self._stream.handle(self._request())
                if self._body.finished:
                    await self._tell_end()
        except Exception:
            # One connection must not end the others: Hypercorn gathers them all when it stops.
            log.exception("a connection failed")
        finally:
            self._door.end_exchange(self._outcome())

    def _open_stream(self, group: TaskGroup) -> HTTPStream:
        context, door = self._context, self._door
        return HTTPStream(
            context.app,
            context.config,
            context.worker,
            group,
            self._arrival.is_secure,
            self._arrival.client,
            door.server,
            self._take_event,
            _STREAM_ID,
        )

    def _request(self) -> Request:
        head = self._head
        state: dict[str, object] = {_EXCHANGE: self, LEFT: self._door.has_left}
        lane = self._lane()
        if lane is not None:
            state[LANE] = lane
        return Request(
            stream_id=_STREAM_ID,
            headers=self._arrival.headers,
            http_version=head.version,
            method=head.method,
            raw_path=head.target,
            state=cast(ConnectionState, state),
        )

    def _lane(self) -> SocketLane | None:
        context = self._context.served.context
        if context is None or not self._context.limits.lanes:
            return None
        return SocketLane(self._door, self, self._body, context)

    async def receive(self, receive: Receive) -> Message:
        """The application asks for an event: make one if the body has more."""
        if not self._told:
            await self._feed()
        return await receive()

    def refuse(self) -> None:
        """The body's framing makes no sense: there is no way to go on."""
        self._broken = True

    def want_body(self) -> None:
        """Somebody is about to read the body: let a client that waits for that go on."""
        if not self._asked and self._head.expect_continue and not self._started:
            self._door.transport.write(wire.CONTINUE)
        self._asked = True

    async def _feed(self) -> None:
        assert self._stream is not None
        self.want_body()
        try:
            content = await self._next_content()
        except ValueError:
            self.refuse()
            content = None
        except TimeoutError:
            content = None
        if content is None:
            await self.disconnect()
            return
        if content:
            await self._stream.handle(BodyEvent(_STREAM_ID, content))
        if self._body.finished:
            await self._tell_end()

    async def _tell_end(self) -> None:
        assert self._stream is not None
        self._told = True
        await self._stream.handle(EndBody(_STREAM_ID))

    async def _next_content(self) -> bytes | None:
        """The next bytes of the body; empty at its end, None when the client is gone."""
        seconds = self._context.limits.idle_body_seconds * _IDLE_FACTOR
        while True:
            content = self._door.take_body(self._body)
            if content or self._body.finished:
                return content
            if not await self._door.wait_ahead(seconds):
                return None

    async def disconnect(self) -> None:
        """The application's answer, if there is still none, would go to nobody."""
        assert self._stream is not None
        await self._stream.handle(StreamClosed(_STREAM_ID))

    # ---- the answer -----------------------------------------------------------------------------
    def take_pending(self) -> bytes:
        """The head, if it was not sent yet: whoever takes it sends it."""
        head, self._pending = self._pending, b""
        return head

    def count_sent(self, size: int) -> None:
        """So many bytes more of the answer's body went out by themselves."""
        assert self._left is not None, "only an answer of known length goes out by itself"
        self._left -= size
        self._pass(size)

    def _pass(self, size: int) -> None:
        self._passed += size
        if self._passed >= _CAREFUL_SIZE:
            self._door.limit_unsent(limited=False)

    async def _take_event(self, event: Event) -> None:
        if isinstance(event, Response):
            self._begin_answer(event)
        elif isinstance(event, BodyEvent):
            await self._send(event.data)
        elif isinstance(event, EndBody):
            self._end_answer()

    def _begin_answer(self, event: Response) -> None:
        headers = list(event.headers)
        if self._arrival.is_direct and self._door.hsts:
            headers.append((b"strict-transport-security", self._door.hsts))
        fields = dict(headers)
        length = fields.get(b"content-length")
        if not wire.has_body(self._head.method, event.status_code):
            self._left = 0
        elif length is not None:
            self._left = int(length)
        elif self._head.version == "1.1":
            self._chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        else:
            self._close = True
        if self._must_close(fields):
            self._close = True
            if b"connection" not in fields:
                headers.append((b"connection", b"close"))
        self._started = True
        self._door.limit_unsent(limited=event.status_code == HTTPStatus.PARTIAL_CONTENT)
        self._pending = wire.response_head(event.status_code, headers, self._context.dates.line())

    def _must_close(self, fields: dict[bytes, bytes]) -> bool:
        """Whether the client wants it, the application says so, or a body is left unread."""
        if not self._body.finished:
            with contextlib.suppress(ValueError):
                self._door.take_body(self._body)
        asked = fields.get(b"connection", b"").lower() == b"close"
        return self._close or asked or not self._body.finished

    async def _send(self, data: bytes) -> None:
        if self._chunked:
            data = wire.chunk(data)
        elif self._left is not None:
            self._left -= len(data)
        self._pass(len(data))
        if not self._door.is_lost:
            self._door.transport.writelines([self.take_pending(), data])
            await self._door.drain()

    def _end_answer(self) -> None:
        last = wire.LAST_CHUNK if self._chunked else b""
        if not self._door.is_lost and (self._pending or last):
            self._door.transport.write(self.take_pending() + last)
        self._answered = self._chunked or self._left in (0, None)

    def _outcome(self) -> Outcome:
        if self._broken and not self._started:
            return Outcome.REFUSE
        if not self._answered:
            return Outcome.CUT
        if not self._body.finished:
            return Outcome.UNREAD
        return Outcome.CLOSE if self._close else Outcome.KEEP


class OnDemand:
    """The application, with a `receive` that makes its exchange read what is asked for."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange | None = scope.get("state", {}).pop(_EXCHANGE, None)
        if exchange is None:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, partial(exchange.receive, receive), send)
