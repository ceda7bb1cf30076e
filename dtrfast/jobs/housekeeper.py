"""The housekeeper: it runs tasks, each at its interval, one at a time.

It logs a failed task and runs it again after its interval. The other tasks are not affected.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from dtrfast.jobs.board import Board
from dtrfast.machine import locks
from dtrfast.store.tasks import Task

log = logging.getLogger("dtrfast.housekeeper")

# A longer turn of a task is logged, because all other tasks wait for it.
_LONG_SECONDS = 5.0

_LOCK_RETRY_SECONDS = 1.0
# An eager task with work left rests twice as long as it worked. So requests get most of the disk
# and of the cores.
_PAUSE_SECONDS_MIN = 0.05
_PAUSE_FACTOR = 2.0
# The interval of looks for requests, and the pause after a failed look: a full disk stays full for
# a while.
_JOBS = "jobs"
_JOBS_SECONDS = 0.5
_JOBS_FAILED_SECONDS = 5.0

# Sleeps for a number of seconds. Returns True, perhaps earlier, when the process has to stop.
Wait = Callable[[float], bool]


def keep(
    tasks: Sequence[Task],
    data: Path,
    wait: Wait,
    board: Board | None = None,
    beside: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Wait until no other housekeeper works on `data`, then run `tasks` until `wait` returns True.

    `beside` is entered meanwhile, for other work that only one process may do.
    """
    while (descriptor := locks.try_housekeeper(data)) is None:
        if wait(_LOCK_RETRY_SECONDS):
            return
    try:
        with beside():
            run(tasks, wait, board)
    finally:
        os.close(descriptor)


def run(tasks: Sequence[Task], wait: Wait, board: Board | None = None) -> None:
    """Run `tasks`, each at once and then at its interval, until `wait` returns True. In between run
    the jobs of `board` that users request.
    """
    order = itertools.count()  # breaks ties, as tasks have no order of their own
    due = [(time.monotonic(), next(order), task) for task in tasks]
    if board is not None:
        board.begin(tasks)
        due.append((time.monotonic(), next(order), Task(_JOBS, _JOBS_SECONDS, board.step)))
    heapq.heapify(due)
    while due:
        at, _, task = due[0]
        if wait(max(0.0, at - time.monotonic())):
            break
        pause = _run(task, board)
        heapq.heapreplace(due, (time.monotonic() + pause, next(order), task))
        if board is not None and (requested := board.take_requested()):
            due = [(0.0 if task.name in requested else at, n, task) for at, n, task in due]
            heapq.heapify(due)
    while not due and not wait(3600.0):
        pass
    if board is not None:
        board.close()


def _run(task: Task, board: Board | None) -> float:
    """Run a task once. Returns the seconds until its next turn."""
    began = time.monotonic()
    did, failure = None, None
    try:
        did = task.run()
    except Exception as error:
        failure = error
        log.exception("the task %r failed; it will be tried again", task.name)
    took = time.monotonic() - began
    if took > _LONG_SECONDS:
        log.info("the task %r took %.1f s", task.name, took)
    if board is not None:
        board.record(task, took, did, failure)
    if task.name == _JOBS:
        if failure is not None:
            return _JOBS_FAILED_SECONDS
        return _PAUSE_SECONDS_MIN if did else task.interval_seconds
    if task.eager and did:
        return min(task.interval_seconds, max(_PAUSE_SECONDS_MIN, _PAUSE_FACTOR * took))
    return task.interval_seconds
