"""Checks that Hypercorn still has the internals that the front door relies on.

`python -m tests.door.seam` prints a line for each difference, with the module that relies on it. It
runs in a process of its own, because it replaces the same parts as the front door.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import hypercorn.asyncio.run
import hypercorn.protocol
from h2.frame_buffer import FrameBuffer
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config, Sockets
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.utils import wrap_app

_SECONDS_MAX = 3.0
_GRACE_SECONDS = 0.2
_SETTINGS = (
    "backlog",
    "errorlog",
    "graceful_timeout",
    "include_server_header",
    "keep_alive_max_requests",
    "keep_alive_timeout",
)
_TCP_SERVER = "self app loop config context state reader writer"
_HTTP_STREAM = "self app config context task_group ssl client server send stream_id"
_REQUEST = "stream_id headers http_version method raw_path state"


class SeamDifference(Exception):
    """A difference of Hypercorn that was found."""


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SeamDifference(otherwise)


def parameters(function: Callable[..., object]) -> str:
    return " ".join(inspect.signature(function).parameters)


class ServerStandIn:
    """A stand-in for `TCPServer`. It ends when the server terminates, or only when canceled."""

    def __init__(self, *, stays: bool) -> None:
        self.arguments: tuple[Any, ...] = ()
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.end = ""
        self._stays = stays

    def __call__(self, *arguments: Any) -> ServerStandIn:
        self.arguments = arguments
        self.called.set_result(None)
        return self

    def __await__(self) -> Generator[Any]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        try:
            await self.arguments[3].terminated.wait()
            self.end = "terminated"
            if self._stays:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.end = "canceled"


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def serve(stand_in: ServerStandIn) -> Any:
    """Run a worker that gets one connection and is stopped; returns the application that it got."""
    hypercorn.asyncio.run.TCPServer = stand_in  # type: ignore[attr-defined, assignment]
    config, stop, app = Config(), asyncio.Event(), wrap_app(lifespan, 0, "asgi")
    config.graceful_timeout, config.errorlog = _GRACE_SECONDS, None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sockets = Sockets(secure_sockets=[], insecure_sockets=[listening], quic_sockets=[])
        serving = asyncio.create_task(
            hypercorn.asyncio.run.worker_serve(
                app, config, sockets=sockets, shutdown_trigger=stop.wait
            )
        )
        with socket.create_connection(listening.getsockname()) as client:
            client.sendall(b"early")
            await asyncio.wait({serving, stand_in.called}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await serving
    return app


async def connections_are_handed_over() -> None:
    """`dtrfast/server/door/doorman.py`, Doorman"""
    stand_in = ServerStandIn(stays=False)
    try:
        app = await asyncio.wait_for(serve(stand_in), _SECONDS_MAX)
    except TimeoutError:
        raise SeamDifference("worker_serve does not hand connections to `TCPServer`") from None
    expect(bool(stand_in.arguments), "worker_serve makes no `TCPServer` of its module's name")
    expect(len(stand_in.arguments) == 7, f"it gets {len(stand_in.arguments)} arguments, not 7")
    kinds: list[type] = [type(app), asyncio.BaseEventLoop, Config, WorkerContext, dict]
    kinds += [asyncio.StreamReader, asyncio.StreamWriter]
    for given, kind in zip(stand_in.arguments, kinds, strict=True):
        expect(isinstance(given, kind), f"it gets {type(given)} in the place of {kind}")
    expect(stand_in.end == "terminated", f"when the server stops, it is {stand_in.end or 'left'}")


async def connections_are_cut_at_last() -> None:
    """`dtrfast/server/door/doorman.py`, _Connection.__await__"""
    stand_in = ServerStandIn(stays=True)
    try:
        await asyncio.wait_for(serve(stand_in), _SECONDS_MAX)
    except TimeoutError:
        raise SeamDifference("`graceful_timeout` does not end connections that go on") from None
    expect(stand_in.end == "canceled", "connections are not canceled after `graceful_timeout`")


async def what_came_early_is_held_by_the_reader() -> None:
    """`dtrfast/server/door/doorman.py`, _hand_over. The standard library's, not Hypercorn's"""
    reader: Any = asyncio.StreamReader()
    reader.feed_data(b"early")
    held = getattr(reader, "_buffer", None)
    expect(isinstance(held, bytearray) and held == b"early", "StreamReader has no such `_buffer`")
    reader.feed_eof()
    expect(getattr(reader, "_eof", None) is True, "StreamReader has no such `_eof`")


async def signatures_are_known() -> None:
    """`dtrfast/server/door/doorman.py`, `exchange.py` and `http2.py`"""
    found = parameters(TCPServer.__init__)
    expect(found == _TCP_SERVER, f"TCPServer takes ({found})")
    found = parameters(HTTPStream.__init__)
    expect(found == _HTTP_STREAM, f"HTTPStream takes ({found})")
    found = parameters(Request)
    expect(found == _REQUEST, f"an event `Request` has ({found})")
    defaults = Config()
    for name in _SETTINGS:
        expect(hasattr(defaults, name), f"there is no setting `{name}` (dtrfast/server/worker.py)")


async def http2_is_looked_up_by_name() -> None:
    """`dtrfast/server/door/http2.py`"""
    expect(getattr(hypercorn.protocol, "H2Protocol", None) is H2Protocol, "no `H2Protocol` there")
    made: list[object] = []
    given: list[Any] = [object() for _ in range(9)]
    module: Any = hypercorn.protocol
    module.H2Protocol = lambda *a: made.append(a)
    module.ProtocolWrapper(*given, "h2")
    expect(made == [tuple(given)], "ProtocolWrapper makes another `H2Protocol`, or otherwise")
    expect(inspect.iscoroutinefunction(H2Protocol.initiate), "no coroutine H2Protocol.initiate")
    expect(inspect.iscoroutinefunction(H2Protocol._flush), "no coroutine H2Protocol._flush")
    for name in ("run", "_read_data"):
        function = getattr(TCPServer, name, None)
        expect(inspect.iscoroutinefunction(function), f"no coroutine TCPServer.{name}")


async def heads_are_gathered_in_known_places() -> None:
    """`dtrfast/server/door/http2.py`, unfinished_size. This is h2's, not Hypercorn's"""
    frames: Any = FrameBuffer(server=True)
    expect(frames._data == b"" and frames._headers_buffer == [], "FrameBuffer has other buffers")
    expect(inspect.iscoroutinefunction(H2Protocol.handle), "no coroutine H2Protocol.handle")


async def requests_become_asgi() -> None:
    """`dtrfast/server/door/exchange.py`, Exchange"""
    mark, seen = object(), []

    async def app(scope: Any, receive: Any, send: Any, *_: Any) -> None:
        seen.append(scope)
        seen.extend([await receive(), await receive()])
        await send({"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await send({"type": "http.response.body", "body": b"2", "more_body": False})

    sent = await exchange(app, {"mark": mark}, Body(1, b"body"), EndBody(1))
    scope, first, last = seen
    wanted = {"method": "PUT", "raw_path": b"/a%20b", "query_string": b"c=d", "path": "/a b"}
    expect(wanted.items() <= scope.items(), f"the scope is {scope}")
    expect(scope["state"].get("mark") is mark, "a request's state does not reach the scope")
    expect(scope["headers"] == [(b"host", b"x")], f"the scope's headers are {scope['headers']}")
    expect(first == {"type": "http.request", "body": b"body", "more_body": True}, f"{first}")
    expect(last == {"type": "http.request", "body": b"", "more_body": False}, f"{last}")
    answer = [Response(1, [(b"a", b"b")], 201), Body(1, b"1"), Body(1, b"2"), EndBody(1)]
    expect(sent[: len(answer)] == answer, f"an answer becomes {sent}")
    expect(set(map(type, sent[len(answer) :])) <= {StreamClosed}, f"behind an answer comes {sent}")


async def lost_clients_disconnect() -> None:
    """`dtrfast/server/door/exchange.py`, Exchange.disconnect"""
    seen = []

    async def app(scope: Any, receive: Any, send: Any, *_: Any) -> None:
        seen.append(await receive())

    sent = await exchange(app, {}, StreamClosed(1))
    expect(seen == [{"type": "http.disconnect"}], f"the application is told {seen}")
    expect(sent == [], f"{sent} is sent to a client that is gone")


async def failed_requests_are_answered() -> None:
    """`dtrfast/server/door/exchange.py`, Exchange._take_event"""

    async def app(*_: Any) -> None:
        raise RuntimeError

    sent = await exchange(app, {}, EndBody(1))
    statuses = [event.status_code for event in sent if isinstance(event, Response)]
    expect(statuses == [500], f"an application that fails is answered {statuses}")
    expect(EndBody(1) in sent, "the answer for an application that fails has no end")


async def exchange(app: Any, state: Any, *events: Event) -> list[Event]:
    """Return the events that a stream sends for a request to `app` that is followed by `events`."""
    sent: list[Event] = []
    config = Config()
    config.errorlog = None

    async def take(event: Event) -> None:
        sent.append(event)

    headers = [(b"host", b"x")]
    async with TaskGroup(asyncio.get_running_loop()) as group:
        client, server = ("127.0.0.1", 1), ("127.0.0.1", 2)
        worker = WorkerContext(None)
        stream = HTTPStream(app, config, worker, group, False, client, server, take, 1)
        await stream.handle(Request(1, headers, "1.1", "PUT", b"/a%20b?c=d", state))
        for event in events:
            await stream.handle(event)
    return sent


CHECKS: tuple[Callable[[], Awaitable[None]], ...] = (
    signatures_are_known,
    connections_are_handed_over,
    connections_are_cut_at_last,
    what_came_early_is_held_by_the_reader,
    requests_become_asgi,
    lost_clients_disconnect,
    failed_requests_are_answered,
    http2_is_looked_up_by_name,
    heads_are_gathered_in_known_places,
)


async def complaint(check: Callable[[], Awaitable[None]]) -> str | None:
    """Return the finding of `check`; any exception is one. None if there is none."""
    try:
        await asyncio.wait_for(check(), 2 * _SECONDS_MAX)
    except Exception as error:
        what = str(error) if isinstance(error, SeamDifference) else repr(error)
        return f"{check.__name__}: {what}. Relied on in {check.__doc__}"
    return None


def main() -> int:
    found = [text for check in CHECKS if (text := asyncio.run(complaint(check))) is not None]
    if found:
        version = importlib.metadata.version("hypercorn")
        title = f"Hypercorn {version} has moved the seam that the front door hangs on:"
        sys.stdout.write("\n".join([title, *found, ""]))
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
