"""What all connections of a worker share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypercorn.config import Config as HypercornConfig
from hypercorn.typing import AppWrapper, WorkerContext

from dtrfast.config import ServerConfig
from dtrfast.server.door.heads import HeadMemory
from dtrfast.server.door.hot import Hot
from dtrfast.server.door.idle import IdleDoors
from dtrfast.server.door.wire import Dates
from dtrfast.server.proxies import Proxies
from dtrfast.server.served import Served


@dataclass(frozen=True, slots=True)
class Context:
    """`app`, `config` and `worker` are Hypercorn's; `limits` are ours. `idle` are connections
    between two requests, `unfinished` those in the middle of a head.
    """

    app: AppWrapper
    config: HypercornConfig
    worker: WorkerContext
    loop: asyncio.AbstractEventLoop
    limits: ServerConfig
    served: Served
    idle: IdleDoors
    unfinished: IdleDoors
    head_memory: HeadMemory
    dates: Dates
    hot: Hot | None
    proxies: Proxies
