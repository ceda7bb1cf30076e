"""Waits for the space that a command gave up, beside a running server or instead of one."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack

from dtrfast.cli.progress import Meter
from dtrfast.config import Config
from dtrfast.jobs.tasks import housekeeping
from dtrfast.machine import locks
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store

_POLL_SECONDS = 0.5


def reclaim(
    store: Store, registry: Registry, config: Config, wait_seconds: float, meter: Meter
) -> dict[str, int]:
    """Wait until nothing is due to be freed. Runs the tasks here unless a server runs them.

    Returns the numbers of things that still wait, counted while no other process begins to free.
    """
    with ExitStack() as stack:
        descriptor = locks.try_housekeeper(config.store.data)
        tasks = []
        if descriptor is not None:  # no server runs on this data directory
            stack.callback(os.close, descriptor)
            tasks = housekeeping(store, config, stack)
        deadline = time.monotonic() + wait_seconds
        most = 0
        while (left := sum(_pending(store, registry).values())) and time.monotonic() < deadline:
            most = max(most, left)
            meter("free unused space", most - left, most)
            for task in tasks:
                task.run()
            if not tasks:
                time.sleep(_POLL_SECONDS)
        return {name: count for name, count in _pending(store, registry).items() if count}


def waiting(pending: Mapping[str, int]) -> list[str]:
    """Return a line for each kind of thing that `reclaim` left."""
    return [
        f"{count} {name} wait, since uploads or a backup may still need them"
        for name, count in pending.items()
    ]


def _pending(store: Store, registry: Registry) -> dict[str, int]:
    """Return, for each kind of thing that is due to be freed, the number that waits."""
    return {**registry.pending(), **store.pending()}
