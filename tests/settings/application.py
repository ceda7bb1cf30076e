"""The application of a worker in this process, over a store in a folder."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import httpx

from dtrfast.app import serving
from dtrfast.config import Config
from dtrfast.logs.keeper import LogKeeper
from dtrfast.machine.paths import Layout
from dtrfast.server.served import Served
from tests.settings.proof import Bench


class Opened:
    """What a worker serves, asked without a network."""

    def __init__(self, served: Served, runner: asyncio.Runner) -> None:
        self.served = served
        self.runner = runner
        transport = httpx.ASGITransport(cast(Any, served.app))
        self._http = httpx.AsyncClient(transport=transport, base_url="http://registry")

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.runner.run(self._http.get(path, headers=headers))


def opened(bench: Bench, config: Config) -> Opened:
    """The application with these settings. Without a directory of its own it gets one."""
    if not config.store.data.is_absolute():
        config = replace(config, store=replace(config.store, data=bench.folder / "data"))
    keeper = LogKeeper(Layout(config.store.data).server_log, "worker-0")
    bench.stack.callback(keeper.close)
    served = bench.stack.enter_context(serving(config, "worker-0", keeper))
    runner = bench.stack.enter_context(asyncio.Runner())
    return Opened(served, runner)
