"""The assembly, and `dtrfast.app:app` for any ASGI server.

`serving` opens the store and stacks everything that answers a request; workers of `dtrfast serve`
call it, and so does `app` when its server starts it. Settings for `app` come from the environment
and from the file that DTRFAST_CONFIG names.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from dtrfast.api.app import create_app
from dtrfast.api.types import Context
from dtrfast.config import Config, load
from dtrfast.errors import DtrfastError
from dtrfast.identity.events import EventWriter
from dtrfast.identity.guard import OpenGuard
from dtrfast.identity.identity import Identity, audit_path, tries_path
from dtrfast.identity.tries import Tries
from dtrfast.jobs import housekeeper, lock
from dtrfast.jobs.log import configure
from dtrfast.jobs.tasks import registry_tasks
from dtrfast.registry.registry import Registry
from dtrfast.server import first_start
from dtrfast.server.access_log import AccessLog, AccessWriter
from dtrfast.server.asgi import App, Receive, Scope, Send
from dtrfast.server.leftover import Leftover
from dtrfast.server.served import Served
from dtrfast.server.supervisor import readers_max
from dtrfast.server.threads import Threads
from dtrfast.server.tidying import keep_tidy
from dtrfast.store.store import Store

# New requests that may wait for a thread, for each thread: at a few milliseconds a call the last
# one waits well under a second, and after that it is kinder to say no.
_WAITING_PER_THREAD = 16


@contextmanager
def serving(config: Config) -> Iterator[Served]:
    """What a worker serves from an open store. Ends when no request runs any more."""
    store = Store.open(config.store.data, config.store, readers_max=readers_max(config))
    with ExitStack() as stack:
        stack.callback(store.close)
        yield _assemble(config, store, stack)


@contextmanager
def _standalone(config: Config) -> Iterator[Served]:
    """`serving` with the data directory locked, and housekeeping in a thread of its own.

    Workers of one server share the lock, and one of them at a time keeps house.
    """
    with ExitStack() as stack:
        stack.callback(os.close, lock.take_server(config.store.data, shared=True))
        store = Store.open(config.store.data, config.store, readers_max=readers_max(config))
        stack.callback(store.close)
        password = first_start.make_admin(store, config)
        if password is not None:
            first_start.show_password(password)
        tasks = [*store.tasks(), *registry_tasks(store, config, stack)]
        ending = threading.Event()
        keeper = threading.Thread(
            target=housekeeper.keep,
            args=(tasks, config.store.data, ending.wait),
            name="dtrfast-housekeeper",
            daemon=True,
        )
        keeper.start()
        stack.callback(keeper.join)
        stack.callback(ending.set)
        yield _assemble(config, store, stack)


def _assemble(config: Config, store: Store, stack: ExitStack) -> Served:
    threads = Threads(
        limit=config.server.threads_per_worker,
        waiting_max=config.server.threads_per_worker * _WAITING_PER_THREAD,
    )
    stack.callback(threads.close)
    registry = Registry(store.engine, store.blobs, config)
    identity = _open_identity(store, registry, config, stack)
    guard = OpenGuard(registry) if identity is None else identity.guard
    context = Context(registry, threads, config, guard, identity)
    app: App = Leftover(create_app(context))
    if not config.log.access:
        return Served(app, context, tidy=store.tidy)
    access = AccessWriter(config.log.format)
    stack.callback(access.close)
    return Served(AccessLog(app, access), context, access, store.tidy)


def _open_identity(
    store: Store, registry: Registry, config: Config, stack: ExitStack
) -> Identity | None:
    if config.auth.mode == "none":
        return None
    data = config.store.data
    events = EventWriter(audit_path(data), config.log.audit_size_max)
    stack.callback(events.close)
    tries = Tries.open(tries_path(data), time.time)
    return Identity.open(store.engine, registry, config, lambda: int(time.time()), tries, events)


class Application:
    """The object that an ASGI server is given. It does nothing before its lifespan starts."""

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
        with ExitStack() as stack:
            try:
                config = load(None, os.environ)
                configure(config.log, "dtrfast")
                served = stack.enter_context(_standalone(config))
                self._app = served.app
                if served.tidy is not None:
                    keep_tidy(asyncio.get_running_loop(), served.tidy)
            except DtrfastError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._app = None
        await send({"type": "lifespan.shutdown.complete"})


app = Application()
