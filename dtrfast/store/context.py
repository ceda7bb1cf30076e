"""The values that all parts of the embedded store use."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from dtrfast.index.engine import Engine
from dtrfast.machine.paths import Layout
from dtrfast.store.buffers import Buffers
from dtrfast.store.chunk_files import ChunkFiles
from dtrfast.store.ids import Ids
from dtrfast.store.limits import CurrentLimits
from dtrfast.store.recalls import Recalls
from dtrfast.store.second_thread import SecondThread
from dtrfast.store.space import Space
from dtrfast.store.tier.replay_pool import ReplayPool


@dataclass(frozen=True, slots=True)
class StoreContext:
    """One store in one process. `clock` gives seconds since the epoch."""

    engine: Engine
    layout: Layout
    store_id: uuid.UUID
    boot_id: str
    buffers: Buffers
    second_thread: SecondThread
    limits: CurrentLimits
    space: Space
    chunk_files: ChunkFiles
    chunk_ids: Ids
    numbers: Ids  # of contents and packs
    recalls: Recalls
    replay_pool: ReplayPool
    clock: Callable[[], int]
    upload_expiry_seconds: int
    grace_seconds: int
