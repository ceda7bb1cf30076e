"""The objects that all connections of a worker share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import hypercorn.config
from hypercorn.typing import AppWrapper, WorkerContext

from dtrfast.config import ServerConfig
from dtrfast.server.door.heads import HeadMemory
from dtrfast.server.door.hot import HotLane
from dtrfast.server.door.idle import IdleConnections
from dtrfast.server.door.wire import Dates
from dtrfast.server.proxies import Proxies
from dtrfast.server.served_app import ServedApp


@dataclass(frozen=True, slots=True)
class DoorContext:
    """The objects that all connections of a worker share.

    `app`, `config` and `worker` are of Hypercorn. `idle`: the connections between two requests.
    `unfinished`: the connections with a part of a head. `hot` is None without lanes.
    """

    app: AppWrapper
    config: hypercorn.config.Config
    worker: WorkerContext
    loop: asyncio.AbstractEventLoop
    limits: ServerConfig
    served: ServedApp
    idle: IdleConnections
    unfinished: IdleConnections
    head_memory: HeadMemory
    dates: Dates
    hot: HotLane | None
    proxies: Proxies
