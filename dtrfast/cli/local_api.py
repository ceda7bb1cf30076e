"""The management API on a data directory: the application runs in this process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from dtrfast.api.app import create_app
from dtrfast.api.types import ApiContext
from dtrfast.api.visits import VISIT
from dtrfast.assembly import open_store
from dtrfast.cli.api_client import Api
from dtrfast.cli.command_events import REMOTE
from dtrfast.config import Config
from dtrfast.errors import StartRefused
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.events import EventWriter
from dtrfast.identity.identity import Identity
from dtrfast.identity.tries import Tries
from dtrfast.machine.paths import Layout
from dtrfast.registry.registry import Registry
from dtrfast.server.asgi import App, Receive, Scope, Send
from dtrfast.store.store import Store

T = TypeVar("T")


class _CallingThread:
    """Runs functions on the calling thread, which may wait for them."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)


@contextmanager
def open_local(config: Config) -> Iterator[Api]:
    """Open the API on a data directory. Raises `StartRefused` if the user may not open it."""
    data = config.store.data
    if not os.access(Layout(data).format, os.R_OK | os.W_OK):
        raise StartRefused(
            f"{data} is not a data directory that you may open: name one with --data, or a registry"
            " with --url or --profile"
        )
    store = open_store(config, may_upgrade=False)
    events = EventWriter(Layout(data).audit, config.log.audit_size_max)
    try:
        app = _application(config, store, events)

        async def exchange(request: httpx.Request) -> httpx.Response:
            transport = httpx.ASGITransport(app, client=(REMOTE, 0))
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.send(request)

        yield Api(lambda request: asyncio.run(exchange(request)), "http://localhost")
    finally:
        events.close()
        store.close()


def _application(config: Config, store: Store, events: EventWriter) -> App:
    """Return the application, which answers as to the system's own account."""
    registry = Registry(store.engine, store.blobs, config)
    tries = Tries.open(Layout(config.store.data).tries, time.time)
    identity = Identity.open(
        store.engine, registry, config, lambda: int(time.time()), tries, events
    )
    app = create_app(
        ApiContext(registry, _CallingThread(), config, identity.guard, store.report, identity)
    )
    visit = identity.guard.visit(SYSTEM)

    async def as_system(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {VISIT: visit}}, receive, send)

    return as_system
