"""The housekeeper: does the store's tasks, each at its interval, one at a time.

A task that fails is logged and comes again at its next turn; the others go on.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from dtrfast.jobs import lock
from dtrfast.store.tasks import Task

log = logging.getLogger("dtrfast.housekeeper")

# Work that goes on for longer than this is worth a line: everything else waits for it.
_LONG_SECONDS = 5.0

_LOCK_RETRY_SECONDS = 1.0
# An eager task with work left rests twice as long as it worked, so that those who wait for the disk
# or a core get most of both.
_PAUSE_SECONDS_MIN = 0.05
_PAUSE_FACTOR = 2.0

# Sleeps so many seconds, or less when it is time to stop: then it returns True.
Wait = Callable[[float], bool]


def keep(tasks: Iterable[Task], data: Path, wait: Wait) -> None:
    """Wait until no other housekeeper works on `data`, then do `tasks` until `wait` says stop."""
    while (descriptor := lock.try_housekeeper(data)) is None:
        if wait(_LOCK_RETRY_SECONDS):
            return
    try:
        run(tasks, wait)
    finally:
        os.close(descriptor)


def run(tasks: Iterable[Task], wait: Wait) -> None:
    """Do `tasks`, each at once and then at its interval, until `wait` says stop."""
    order = itertools.count()  # breaks ties, as tasks have no order of their own
    due = [(time.monotonic(), next(order), task) for task in tasks]
    heapq.heapify(due)
    while due:
        at, _, task = due[0]
        if wait(max(0.0, at - time.monotonic())):
            return
        pause = _run(task)
        heapq.heapreplace(due, (time.monotonic() + pause, next(order), task))
    while not wait(3600.0):
        pass


def _run(task: Task) -> float:
    """Do a step; returns after how many seconds the next one is due."""
    began = time.monotonic()
    did = None
    try:
        did = task.run()
    except Exception:
        log.exception("the task %r failed; it will be tried again", task.name)
    took = time.monotonic() - began
    if took > _LONG_SECONDS:
        log.info("the task %r took %.1f s", task.name, took)
    if task.eager and did:
        return min(task.interval_seconds, max(_PAUSE_SECONDS_MIN, _PAUSE_FACTOR * took))
    return task.interval_seconds
