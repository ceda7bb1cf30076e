"""A worker: one process that answers requests on its listening socket. The supervisor runs it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import cast

import hypercorn.config
import uvloop
from hypercorn.asyncio.run import worker_serve
from hypercorn.typing import ASGIFramework
from hypercorn.utils import wrap_app

from dtrfast.config import Config, ServerConfig
from dtrfast.errors import ConfigInvalid, DtrfastError, StartRefused
from dtrfast.jobs import lifeline
from dtrfast.jobs.log import configure
from dtrfast.logs.keeper import LogKeeper
from dtrfast.machine.paths import Layout
from dtrfast.server import listener, memory, tls
from dtrfast.server.door.doorman import Doorman
from dtrfast.server.door.exchange import OnDemandApp
from dtrfast.server.served_app import ServedApp
from dtrfast.server.tidying import keep_tidy

log = logging.getLogger("dtrfast.worker")

# Opens the application and its store, and closes them after the last request.
AppFactory = Callable[[Config, str, LogKeeper], AbstractContextManager[ServedApp]]

_REQUESTS_PER_CONNECTION_MAX = 1 << 31  # closing a busy connection has no benefit


def main() -> int:
    """Serve until a signal to stop comes. Return the exit status."""
    start, config = lifeline.receive()
    keeper = LogKeeper(Layout(config.store.data).server_log, start.name)
    configure(config.log, start.name, keeper)
    try:
        with (
            load_factory(start.app)(config, start.name, keeper) as served,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(_serve(served, config, start.sockets))
    except StartRefused as error:
        log.error("%s", error)
        return lifeline.EXIT_REFUSED
    except DtrfastError as error:  # the next start may succeed
        log.error("%s", error)
        return 1
    else:
        return 0
    finally:
        keeper.close()


def load_factory(name: str) -> AppFactory:
    """Return the function that `name`, as `module:function`, names."""
    module, _, attribute = name.partition(":")
    return cast(AppFactory, getattr(importlib.import_module(module), attribute))


def hypercorn_config(config: ServerConfig) -> hypercorn.config.Config:
    """Return Hypercorn's settings. Its defaults close connections early and cut transfers."""
    settings = hypercorn.config.Config()
    settings.backlog = listener.BACKLOG
    settings.errorlog = logging.getLogger("hypercorn.error")
    settings.graceful_timeout = config.graceful_stop_seconds
    settings.include_server_header = False
    settings.keep_alive_max_requests = _REQUESTS_PER_CONNECTION_MAX
    settings.keep_alive_timeout = config.keep_alive_seconds
    return settings


async def _serve(served: ServedApp, config: Config, descriptors: tuple[int, ...]) -> None:
    try:
        contexts = tls.Contexts(config.server)
    except ConfigInvalid as error:
        # The files were valid when the server started, so the next start may succeed.
        raise DtrfastError(str(error)) from error
    Doorman(served, config.server, contexts.current, contexts.hsts).install()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    memory.keep_trimmed(loop)
    if served.tidy is not None:
        keep_tidy(loop, served.tidy)
    loop.add_signal_handler(signal.SIGTERM, _end, stop, served)
    loop.add_reader(lifeline.DESCRIPTOR, _watch_lifeline, loop, stop, served)
    lifeline.allow_signals()
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    await worker_serve(
        wrap_app(cast(ASGIFramework, OnDemandApp(served.app)), 0, "asgi"),
        hypercorn_config(config.server),
        sockets=hypercorn.config.Sockets(
            secure_sockets=[], insecure_sockets=sockets, quic_sockets=[]
        ),
        shutdown_trigger=stop.wait,
    )


def _end(stop: asyncio.Event, served: ServedApp) -> None:
    if served.ending is not None:
        served.ending.set()
    stop.set()


def _watch_lifeline(
    loop: asyncio.AbstractEventLoop, stop: asyncio.Event, served: ServedApp
) -> None:
    if not os.read(lifeline.DESCRIPTOR, 1):
        loop.remove_reader(lifeline.DESCRIPTOR)
        log.warning("the supervisor is gone: stopping")
        _end(stop, served)


if __name__ == "__main__":
    sys.exit(main())
