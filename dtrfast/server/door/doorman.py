"""The seam to Hypercorn.

`hypercorn.asyncio.run.worker_serve` accepts a connection and awaits `TCPServer(app, loop, config,
context, state, reader, writer)`. It looks up that name in its own module, where a `Doorman` stands
instead. The doorman does the TLS handshake (`secure_transport.py`) and makes a `Door` the protocol
of the transport. HTTP/2, which needs TLS, is left to the class of Hypercorn (`http2.py`).

The door relies on these parts of Hypercorn, which `tests/door/test_seam.py` checks: that name and
those arguments, `HTTPStream` with its events, `TaskGroup`, and `WorkerContext.terminated`. It also
relies on a detail of the standard library: a StreamReader keeps the bytes that arrived before the
door in `_buffer` and `_eof`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, cast

import hypercorn.asyncio.run
import hypercorn.config
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, LifespanState

from dtrfast.api.errors import error_answer
from dtrfast.config import ServerConfig
from dtrfast.errors import ServerBusy
from dtrfast.server.door.announced import open_announced
from dtrfast.server.door.door import Door
from dtrfast.server.door.door_context import DoorContext
from dtrfast.server.door.heads import HEAD_SECONDS, HeadMemory
from dtrfast.server.door.hot import HotLane
from dtrfast.server.door.http2 import Http2, install_http2
from dtrfast.server.door.idle import IdleConnections
from dtrfast.server.door.secure_transport import SecureTransport
from dtrfast.server.door.sockets import limit_unsent
from dtrfast.server.door.wire import Dates, response_head
from dtrfast.server.proxies import Edge, Peer, Proxies
from dtrfast.server.served_app import ServedApp

log = logging.getLogger("dtrfast.door")

# Bytes and time in which a request may arrive that is refused because of too many connections.
_REQUEST_SIZE = 16_384
_REQUEST_SECONDS = 1.0


class Doorman:
    """Receives the connections of a worker, in place of Hypercorn's `TCPServer`."""

    def __init__(
        self,
        served: ServedApp,
        limits: ServerConfig,
        tls: Callable[[], ssl.SSLContext | None],
        hsts: Callable[[], bytes] = bytes,
    ) -> None:
        """`tls` returns the context for the next connection; None if all are plain.

        `hsts` returns the value of Strict-Transport-Security for it; empty for no such header.
        """
        self._served = served
        self._limits = limits
        self._tls = tls
        self._hsts = hsts
        self._proxies = Proxies(limits.trusted_proxies)
        self._context: DoorContext | None = None
        self._closing: asyncio.Task[None] | None = None
        self._connections = 0
        self._head_memory = HeadMemory()

    def install(self) -> None:
        """Take the place of `TCPServer` in this process."""
        hypercorn.asyncio.run.TCPServer = self  # type: ignore[attr-defined, assignment]
        install_http2(self._head_memory, self._limits.head_size_max)

    def __call__(  # noqa: PLR0913 - the arguments of Hypercorn's TCPServer
        self,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: hypercorn.config.Config,
        worker: WorkerContext,
        state: LifespanState,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Awaitable[None]:
        name = writer.get_extra_info("peername")
        if name is None:
            # The client reset the connection before the worker accepted it, as health checks do.
            return _drop(writer)
        if self._context is None:
            self._context = self._open(app, loop, config, worker)
        tls = self._tls()
        if self._connections >= self._limits.connections_max:
            return _turn_away(self._context, reader, writer, is_plain=tls is None)
        serve: Callable[[Peer], Awaitable[None]]
        if tls is None:
            serve = partial(_Connection, self._context, reader, writer)
        else:
            hsts = self._hsts()
            http2 = partial(self._open_http2, app, loop, config, worker, state, hsts)
            serve = partial(_open_secure, self._context, tls, hsts, reader, writer, http2)
        peer = self._proxies.peer(name)
        if self._limits.proxy_protocol == "off":
            return self._counted(serve(peer))
        return self._counted(open_announced(self._context, reader, writer, serve, peer))

    def _open_http2(  # noqa: PLR0913 - most are the arguments of Hypercorn's TCPServer
        self,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: hypercorn.config.Config,
        worker: WorkerContext,
        state: LifespanState,
        hsts: bytes,
        peer: Peer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Http2:
        arriving = cast(AppWrapper, Edge(app, self._proxies, peer, hsts))
        return Http2(arriving, loop, config, worker, state, reader, writer)

    async def _counted(self, connection: Awaitable[None]) -> None:
        self._connections += 1
        try:
            await connection
        finally:
            self._connections -= 1

    def _open(
        self,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: hypercorn.config.Config,
        worker: WorkerContext,
    ) -> DoorContext:
        idle = IdleConnections(loop, self._limits.keep_alive_seconds)
        unfinished = IdleConnections(loop, HEAD_SECONDS)
        self._closing = loop.create_task(_close_when_terminated(worker, idle, unfinished))
        dates, hot = Dates(), None
        served = self._served
        if self._limits.lanes and served.context is not None:
            has_pages = bool(self._limits.cors_origins)
            hot = HotLane(served.context.guard, dates, served.access, has_pages=has_pages)
        return DoorContext(
            app=app,
            config=config,
            worker=worker,
            loop=loop,
            limits=self._limits,
            served=served,
            idle=idle,
            unfinished=unfinished,
            head_memory=self._head_memory,
            dates=dates,
            hot=hot,
            proxies=self._proxies,
        )


async def _drop(writer: asyncio.StreamWriter) -> None:
    """Close a connection that the client has closed."""
    writer.transport.abort()


async def _turn_away(
    context: DoorContext,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    is_plain: bool,
) -> None:
    """Close a connection above the limit. Without TLS it gets a 503 that explains it."""
    if is_plain:
        # Read the request first: if it arrived after the close, the client would lose the response.
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(reader.read(_REQUEST_SIZE), _REQUEST_SECONDS)
        answer = error_answer(ServerBusy("too many connections: try again in a moment"))
        headers = [(k.encode(), v.encode()) for k, v in answer.headers.items()]
        headers.append((b"connection", b"close"))
        writer.write(response_head(answer.status, headers, context.dates.line()) + answer.body)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _close_when_terminated(worker: WorkerContext, *waiting: IdleConnections) -> None:
    await worker.terminated.wait()
    for doors in waiting:
        doors.close()


class _Connection:
    """A plain or decrypted connection. Hypercorn awaits its end, and cancels it at a stop."""

    __slots__ = ("_door",)

    def __init__(
        self,
        context: DoorContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: Peer,
        hsts: bytes = b"",
    ) -> None:
        transport = cast(asyncio.Transport, writer.transport)
        self._door = Door(context, transport, transport.get_protocol(), peer, hsts)
        transport.set_protocol(self._door)
        _hand_over(reader, self._door, transport)

    def __await__(self) -> Generator[Any]:
        try:
            yield from self._door.gone
        except asyncio.CancelledError:
            # Hypercorn gathers all connections when it stops, so none of them may fail.
            log.info("cut a connection in use, because the server stops")
            yield from self._door.cut().__await__()


async def _open_secure(  # noqa: PLR0913 - a connection, and the ways to serve it
    context: DoorContext,
    tls: ssl.SSLContext,
    hsts: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    http2: Callable[[Peer, asyncio.StreamReader, asyncio.StreamWriter], TCPServer],
    peer: Peer,
) -> None:
    plain = cast(asyncio.Transport, writer.transport)
    protocol = cast(asyncio.StreamReaderProtocol, plain.get_protocol())
    secure = SecureTransport(context.loop, tls, plain)
    _hand_over(reader, secure, plain)
    context.idle.add(secure)
    shaken = await secure.shaken
    context.idle.remove(secure)
    if not shaken:
        return
    writer = asyncio.StreamWriter(secure, protocol, reader, context.loop)
    if secure.records.ssl.selected_alpn_protocol() == "h2":
        limit_unsent(plain.get_extra_info("socket"), limited=True)  # also for whole blobs
        await http2(peer, reader, writer)
    else:
        await _Connection(context, reader, writer, peer, hsts)


def _hand_over(
    reader: asyncio.StreamReader, door: asyncio.Protocol, transport: asyncio.Transport
) -> None:
    """Give the door the bytes that came before it was the transport's protocol."""
    held = cast(Any, reader)
    if held._buffer:
        data = bytes(held._buffer)
        held._buffer.clear()
        with contextlib.suppress(RuntimeError):  # it was not paused
            transport.resume_reading()
        door.data_received(data)
    if held._eof:
        door.eof_received()
