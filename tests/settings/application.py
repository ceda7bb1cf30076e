"""A worker's application in this process, over a store in a folder."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import httpx

from dtrfast.app import serving
from dtrfast.config import Config
from dtrfast.logs.keeper import LogKeeper
from dtrfast.machine.paths import Layout
from dtrfast.server.served_app import ServedApp
from tests.settings.proof import Bench


class WorkerApplication:
    """A worker's application, and a client without a network."""

    def __init__(self, served: ServedApp, runner: asyncio.Runner) -> None:
        self.served = served
        self.runner = runner
        transport = httpx.ASGITransport(cast(Any, served.app))
        self._http = httpx.AsyncClient(transport=transport, base_url="http://registry")

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.runner.run(self._http.get(path, headers=headers))


def open_application(bench: Bench, config: Config) -> WorkerApplication:
    """Open the application with these settings, and with a new data directory unless one is set."""
    if not config.store.data.is_absolute():
        config = replace(config, store=replace(config.store, data=bench.folder / "data"))
    keeper = LogKeeper(Layout(config.store.data).server_log, "worker-0")
    bench.stack.callback(keeper.close)
    served = bench.stack.enter_context(serving(config, "worker-0", keeper))
    runner = bench.stack.enter_context(asyncio.Runner())
    return WorkerApplication(served, runner)
