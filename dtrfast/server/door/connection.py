"""The seam to Hypercorn.

`hypercorn.asyncio.run.worker_serve` accepts a connection, does the TLS handshake, and awaits
`TCPServer(app, loop, config, context, state, reader, writer)`, the name of which it looks up in its
own module. A `Doorman` stands there instead. HTTP/2, which only TLS can offer, is left to
Hypercorn's class; for everything else the transport is given a `Door` as its protocol.

Used of Hypercorn, and checked by `tests/door/test_seam.py`: that name and those arguments,
`HTTPStream` with its events, `TaskGroup`, and `WorkerContext.terminated`. Of the standard library:
that a server's StreamReader keeps what came before the door stood there in `_buffer`, `_eof`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Generator
from typing import Any, cast

import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as HypercornConfig
from hypercorn.typing import AppWrapper, LifespanState

from dtrfast.config import ServerConfig
from dtrfast.server.door.context import Context
from dtrfast.server.door.door import Door
from dtrfast.server.door.hot import Hot
from dtrfast.server.door.idle import IdleDoors
from dtrfast.server.door.wire import Dates
from dtrfast.server.served import Served

log = logging.getLogger("dtrfast.door")


class Doorman:
    """Receives the connections of a worker. Stands where Hypercorn looks for `TCPServer`."""

    def __init__(self, served: Served, limits: ServerConfig) -> None:
        self._served = served
        self._limits = limits
        self._context: Context | None = None
        self._closing: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Take over Hypercorn's connections in this process."""
        hypercorn.asyncio.run.TCPServer = self  # type: ignore[attr-defined, assignment]

    def __call__(  # noqa: PLR0913 - the arguments of Hypercorn's TCPServer
        self,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: HypercornConfig,
        worker: WorkerContext,
        state: LifespanState,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Awaitable[None]:
        if _speaks_http2(writer):
            return _Http2(app, loop, config, worker, state, reader, writer)
        if self._context is None:
            self._context = self._open(app, loop, config, worker)
        return _Connection(self._context, reader, writer)

    def _open(
        self,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: HypercornConfig,
        worker: WorkerContext,
    ) -> Context:
        idle = IdleDoors(loop, self._limits.keep_alive_seconds)
        self._closing = loop.create_task(_close_when_terminated(worker, idle))
        dates, hot = Dates(), None
        served = self._served
        if self._limits.lanes and served.context is not None:
            hot = Hot(served.context.registry, dates, served.access)
        return Context(app, config, worker, loop, self._limits, served, idle, dates, hot)


async def _close_when_terminated(worker: WorkerContext, idle: IdleDoors) -> None:
    await worker.terminated.wait()
    idle.close()


class _Connection:
    """Awaited by Hypercorn until the connection is gone; cancelled when the server stops."""

    __slots__ = ("_door",)

    def __init__(
        self, context: Context, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        transport = cast(asyncio.Transport, writer.transport)
        self._door = Door(context, transport, transport.get_protocol())
        transport.set_protocol(self._door)
        _hand_over(reader, self._door)

    def __await__(self) -> Generator[Any]:
        try:
            yield from self._door.gone
        except asyncio.CancelledError:
            # Hypercorn gathers all connections when it stops, and none of them may fail.
            log.info("cut a connection that was in use")
            yield from self._door.cut().__await__()


class _Http2(TCPServer):
    """Hypercorn's own connection, which must not end the others when it fails."""

    async def run(self) -> None:
        try:
            await super().run()
        except asyncio.CancelledError:
            log.info("cut a connection that was in use")
        except Exception:
            log.exception("a connection failed")


def _speaks_http2(writer: asyncio.StreamWriter) -> bool:
    tls = writer.get_extra_info("ssl_object")
    return tls is not None and tls.selected_alpn_protocol() == "h2"


def _hand_over(reader: asyncio.StreamReader, door: Door) -> None:
    """Give the door what came before it stood there."""
    held = cast(Any, reader)
    if held._buffer:
        data = bytes(held._buffer)
        held._buffer.clear()
        with contextlib.suppress(RuntimeError):  # it was not paused
            door.transport.resume_reading()
        door.data_received(data)
    if held._eof:
        door.eof_received()
