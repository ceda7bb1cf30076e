"""The assembly of a worker, and `dtrfast.app:app` for any ASGI server.

`serving` opens the store and builds all parts that answer requests, for workers of `dtrfast serve`.
`app` does the same and also runs the housekeeping when its ASGI server starts it. The settings of
`app` come from the environment and from the file that DTRFAST_CONFIG names.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from dtrfast.api.app import create_app
from dtrfast.api.types import ApiContext
from dtrfast.assembly import open_store
from dtrfast.config import Config, load
from dtrfast.console.routes import console_routes
from dtrfast.errors import DtrfastError
from dtrfast.identity.events import EventWriter
from dtrfast.identity.guard import OpenGuard
from dtrfast.identity.identity import Identity
from dtrfast.identity.issuer_keys import IssuerWatch
from dtrfast.identity.tries import Tries
from dtrfast.jobs import housekeeper, recording
from dtrfast.jobs.board import Board
from dtrfast.jobs.definitions import registry_jobs
from dtrfast.jobs.log import configure
from dtrfast.jobs.tasks import housekeeping
from dtrfast.logs.keeper import LogKeeper
from dtrfast.machine import locks
from dtrfast.machine.paths import Layout
from dtrfast.metrics.meter import Meter
from dtrfast.metrics.processes import Reporter
from dtrfast.registry.registry import Registry
from dtrfast.server import first_start
from dtrfast.server.access_log import AccessLog, AccessWriter
from dtrfast.server.asgi import App, Receive, Scope, Send
from dtrfast.server.leftover import Leftover
from dtrfast.server.proxies import Edge, Proxies
from dtrfast.server.request_recorder import RequestRecorder
from dtrfast.server.served_app import ServedApp
from dtrfast.server.threads import Threads
from dtrfast.server.tidying import keep_tidy
from dtrfast.store.store import Store

# New requests that may wait for a thread, for each thread. A call takes a few milliseconds, so the
# last one waits well under a second. Further requests are refused at once.
_WAITING_PER_THREAD = 16
# The name of the first process of another ASGI server; the others append a number.
_STANDALONE = "dtrfast"


@contextmanager
def serving(config: Config, name: str, keeper: LogKeeper) -> Iterator[ServedApp]:
    """Open the store and yield the parts of a worker. Close them at the end of the block.

    `name` is the worker's name, `keeper` keeps its log. The block must end only when no request is
    running.
    """
    store = open_store(config)
    with ExitStack() as stack:
        stack.callback(store.close)
        yield _assemble(config, store, stack, name, keeper)


@contextmanager
def _standalone(config: Config, name: str, keeper: LogKeeper) -> Iterator[ServedApp]:
    """As `serving`, with a thread for housekeeping. Only one worker at a time does housekeeping."""
    with ExitStack() as stack:
        store = open_store(config)
        stack.callback(store.close)
        password = first_start.make_admin(store, config)
        if password is not None:
            first_start.show_password(password)
        tasks = housekeeping(store, config, stack)
        board = Board(store.engine, registry_jobs(store, config, lambda: int(time.time())))
        ending = threading.Event()
        keeper_thread = threading.Thread(
            target=housekeeper.keep,
            args=(tasks, config.store.data, ending.wait, board),
            kwargs={"beside": partial(recording.recorded, store, config)},
            name="dtrfast-housekeeper",
            daemon=True,
        )
        keeper_thread.start()
        stack.callback(keeper_thread.join)
        stack.callback(ending.set)
        yield _assemble(config, store, stack, name, keeper)


def _assemble(
    config: Config, store: Store, stack: ExitStack, name: str, keeper: LogKeeper
) -> ServedApp:
    threads = Threads(
        limit=config.server.threads_per_worker,
        waiting_max=config.server.threads_per_worker * _WAITING_PER_THREAD,
    )
    stack.callback(threads.close)
    registry = Registry(store.engine, store.blobs, config)
    identity = _open_identity(store, registry, config, stack)
    is_managed = config.auth.mode == "managed"
    if is_managed:
        watch = IssuerWatch(identity.issuer_keys, identity.issuers)
        stack.callback(watch.close)
        watch.start()
    guard = identity.guard if is_managed else OpenGuard(registry)
    ending = threading.Event()
    known = identity if is_managed else None
    context = ApiContext(registry, threads, config, guard, store.report, known, ending)
    app: App = Leftover(create_app(context, console_routes(context, identity)))
    meter = Meter()
    directory = Layout(config.store.data).metrics
    reporter = Reporter(directory, name, meter, store.commits, store.blob_counts.totals)
    stack.callback(reporter.close)
    line_format = config.log.format if config.log.access else None
    gets_all_entries = line_format is not None
    recorder = RequestRecorder(name, meter, keeper, store.engine, gets_all_entries=gets_all_entries)
    stack.callback(recorder.close)
    access = AccessWriter(line_format, sinks=[recorder.take], settle=recorder.settle)
    stack.callback(access.close)
    return ServedApp(AccessLog(app, access), context, access, store.tidy, ending)


def _open_identity(store: Store, registry: Registry, config: Config, stack: ExitStack) -> Identity:
    """Open accounts and the audit log. Without accounts the console still shows audit events."""
    data = config.store.data
    events = EventWriter(Layout(data).audit, config.log.audit_size_max)
    stack.callback(events.close)
    tries = Tries.open(Layout(data).tries, time.time)
    return Identity.open(store.engine, registry, config, lambda: int(time.time()), tries, events)


class Application:
    """The ASGI application. It does nothing before the lifespan protocol starts it."""

    def __init__(self) -> None:
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._app is None:
            raise RuntimeError("dtrfast.app needs an ASGI server that runs the lifespan protocol")
        await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        os.umask(0o077)  # as in `dtrfast serve`; it stays in force for the whole process
        with ExitStack() as stack:
            try:
                config = load(None, os.environ)
                stack.callback(os.close, locks.take_server(config.store.data, shared=True))
                number, descriptor = locks.take_number(config.store.data)
                stack.callback(os.close, descriptor)
                name = f"{_STANDALONE}-{number}" if number else _STANDALONE
                keeper = LogKeeper(Layout(config.store.data).server_log, name)
                stack.callback(keeper.close)
                configure(config.log, name, keeper)
                served = stack.enter_context(_standalone(config, name, keeper))
                self._app = Edge(served.app, Proxies(config.server.trusted_proxies))
                if served.tidy is not None:
                    keep_tidy(asyncio.get_running_loop(), served.tidy)
            except DtrfastError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._app = None
            if served.ending is not None:
                served.ending.set()
        await send({"type": "lifespan.shutdown.complete"})


app = Application()
