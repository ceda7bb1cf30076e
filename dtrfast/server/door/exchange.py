"""One request that goes to the application, through Hypercorn's `HTTPStream`.

`HTTPStream` runs the application and speaks ASGI with it. It knows nothing of sockets and framing.
An exchange reads the body only when the application asks for an event. So an unread body never
blocks, and `100 Continue` is sent only when the application wants the body.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from enum import IntEnum
from functools import partial
from typing import cast

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState

from dtrfast import _core
from dtrfast.api.types import LANE, LEFT
from dtrfast.server.asgi import App, Message, Receive, Scope, Send
from dtrfast.server.door import wire
from dtrfast.server.door.door_context import DoorContext
from dtrfast.server.door.hot import must_close
from dtrfast.server.door.interfaces import ClientConnection, ExchangeOutcome
from dtrfast.server.door.lane import SocketLane
from dtrfast.server.door.request_body import RequestBody
from dtrfast.server.door.response_writer import ResponseState, ResponseWriter
from dtrfast.server.proxies import Arrival

log = logging.getLogger("dtrfast.door")

_STREAM_ID = 1
_EXCHANGE = "dtrfast.exchange"
# The application has its own limit for an idle body, and answers before this one. This limit is for
# an application without one.
_IDLE_FACTOR = 1.25


class BodyState(IntEnum):
    """Progress of the application with the request's body."""

    UNREAD = 0  # the application has not asked for it
    WANTED = 1  # the application has asked for it
    ENDED = 2  # the application has the event of its end
    MALFORMED = 3  # its framing is malformed: nothing more can be read


class Exchange:
    """One request and its response. Call `start` once, and `lose` when the connection is gone."""

    __slots__ = (
        "_arrival",
        "_body",
        "_body_state",
        "_connection",
        "_context",
        "_head",
        "_losing",
        "_response",
        "_stream",
        "_task",
    )

    def __init__(
        self, context: DoorContext, connection: ClientConnection, head: _core.Head, arrival: Arrival
    ) -> None:
        self._context = context
        self._connection = connection
        self._head = head
        self._arrival = arrival
        self._body = RequestBody(head)
        self._body_state = BodyState.UNREAD
        hsts = connection.hsts if arrival.is_direct else b""  # else the proxy may send its own
        self._response = ResponseWriter(connection, head, context.dates, hsts)
        self._stream: HTTPStream | None = None
        self._task: asyncio.Task[None] | None = None
        self._losing: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = self._context.loop.create_task(self._run())

    def lose(self) -> None:
        """Tell the application that the connection is gone."""
        if self._stream is not None:
            self._losing = self._context.loop.create_task(self.disconnect())

    def cancel(self) -> None:
        """Cancel the application, because the server stops."""
        if self._task is not None:
            self._task.cancel()

    @property
    def has_whole_body(self) -> bool:
        """True if the whole body was received: later bytes belong to the next request."""
        return self._body.is_finished

    # ---- the request ----------------------------------------------------------------------------
    async def _run(self) -> None:
        try:
            async with TaskGroup(self._context.loop) as group:
                self._stream = HTTPStream(
                    self._context.app,
                    self._context.config,
                    self._context.worker,
                    group,
                    self._arrival.is_secure,
                    self._arrival.client,
                    self._connection.server,
                    self._take_event,
                    _STREAM_ID,
                )
                await self._stream.handle(self._request())
                if self._body.is_finished:
                    await self._end_body()
        except Exception:
            # Hypercorn gathers all connections when it stops, so none of them may fail.
            log.exception("a connection failed")
        finally:
            self._connection.end_exchange(self._outcome())

    def _request(self) -> Request:
        head = self._head
        state: dict[str, object] = {_EXCHANGE: self, LEFT: self._connection.received.has_left}
        parts = self._context.served.context
        if parts is not None and self._context.limits.lanes:
            state[LANE] = SocketLane(self._connection, self, self._response, self._body, parts)
        return Request(
            stream_id=_STREAM_ID,
            headers=self._arrival.headers,
            http_version=head.version,
            method=head.method,
            raw_path=head.target,
            state=cast(ConnectionState, state),
        )

    async def receive(self, receive: Receive) -> Message:
        """Return the application's next event. Read more of the body if the body has more."""
        if self._body_state is not BodyState.ENDED:
            await self._feed()
        return await receive()

    def refuse_body(self) -> None:
        """Record that the body's framing is malformed, so that nothing more can be read."""
        self._body_state = BodyState.MALFORMED

    def want_body(self) -> None:
        """Send `100 Continue` if the client waits for it. Call this before reading the body."""
        if self._body_state is BodyState.UNREAD:
            self._body_state = BodyState.WANTED
            if self._head.expect_continue and self._response.state is ResponseState.AWAITED:
                self._connection.transport.write(wire.CONTINUE)

    async def _feed(self) -> None:
        """Give the stream the next event of the body: content, the end or a disconnect."""
        assert self._stream is not None
        self.want_body()
        try:
            content = await self._next_content()
        except ValueError:
            self.refuse_body()
            content = None
        except TimeoutError:
            content = None
        if content is None:
            await self.disconnect()
            return
        if content:
            await self._stream.handle(Body(_STREAM_ID, content))
        if self._body.is_finished:
            await self._end_body()

    async def _end_body(self) -> None:
        assert self._stream is not None
        self._body_state = BodyState.ENDED
        await self._stream.handle(EndBody(_STREAM_ID))

    async def _next_content(self) -> bytes | None:
        """Return the body's next bytes: empty at its end, None when the client is gone."""
        seconds = self._context.limits.idle_body_seconds * _IDLE_FACTOR
        received = self._connection.received
        while True:
            content = received.take_body(self._body)
            if content or self._body.is_finished:
                return content
            if not await received.wait(seconds):
                return None

    async def disconnect(self) -> None:
        """Tell the application that the client is gone."""
        assert self._stream is not None
        await self._stream.handle(StreamClosed(_STREAM_ID))

    # ---- the response ---------------------------------------------------------------------------
    async def _take_event(self, event: Event) -> None:
        if isinstance(event, Response):
            if not self._body.is_finished:
                # Drop the received part of the body. The response is the last if a part is missing.
                with contextlib.suppress(ValueError):
                    self._connection.received.take_body(self._body)
            is_last = must_close(self._head) or not self._body.is_finished
            self._response.begin(event.status_code, list(event.headers), is_last=is_last)
        elif isinstance(event, Body):
            await self._response.write(event.data)
        elif isinstance(event, EndBody):
            self._response.end()

    def _outcome(self) -> ExchangeOutcome:
        state = self._response.state
        if self._body_state is BodyState.MALFORMED and state is ResponseState.AWAITED:
            return ExchangeOutcome.REFUSE
        if state is not ResponseState.COMPLETE:
            return ExchangeOutcome.CUT
        if not self._body.is_finished:
            return ExchangeOutcome.UNREAD
        return ExchangeOutcome.CLOSE if self._response.is_last else ExchangeOutcome.KEEP


class OnDemandApp:
    """The application, with a `receive` that makes its exchange read the next part of the body."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange | None = scope.get("state", {}).pop(_EXCHANGE, None)
        if exchange is None:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, partial(exchange.receive, receive), send)
