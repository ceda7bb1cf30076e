"""Keeps the index told of what the housekeeper does, and takes wishes from it.

Tasks come round every few seconds and mostly find nothing; only what they did is written, and that
at most every few seconds. One thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.jobs.jobs import Job
from dtrfast.registry import jobs as records
from dtrfast.registry.jobs import Run, TaskState, Wish
from dtrfast.store.tasks import Task

log = logging.getLogger("dtrfast.housekeeper")

_TOLD_SECONDS = 5.0
_LOG_LINES_MAX = 100
_LINE_LENGTH_MAX = 500
# How long a job's steps go on before the tasks have their turn.
_TURN_SECONDS = 0.2


class Board:
    """The jobs of one housekeeper, and what is said of its tasks."""

    def __init__(
        self, engine: Engine, jobs: Sequence[Job], clock: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._jobs = {job.name: job for job in jobs}
        self._clock = clock
        self._states: dict[str, TaskState] = {}
        self._untold: set[str] = set()
        self._wanted: set[str] = set()
        self._told_at = 0.0
        self._run: Run | None = None
        self._steps: Iterator[str] | None = None

    def begin(self, tasks: Sequence[Task]) -> None:
        """Say which tasks there are. What was running before is running no more."""
        now = int(self._clock())

        def change(transaction: WriteTransaction) -> None:
            records.bury(transaction, now)
            old = {state.name: state for state in records.tasks(transaction)}
            for task in tasks:
                state = old.get(task.name) or TaskState(task.name, task.interval_seconds)
                state = msgspec.structs.replace(state, interval_seconds=task.interval_seconds)
                self._states[task.name] = state
                records.put_task(transaction, state)

        self._engine.write(change)

    def take_wanted(self) -> set[str]:
        """Names of the tasks that somebody wants done now."""
        wanted, self._wanted = self._wanted, set()
        return wanted

    def ran(self, task: Task, seconds: float, did: object, error: Exception | None) -> None:
        """A task had its turn."""
        state = self._states.get(task.name)
        if state is None or not (did or error):
            return
        now = int(self._clock())
        if error is not None:
            changed = msgspec.structs.replace(state, failed_at=now, error=str(error)[:500])
        else:
            count = did if isinstance(did, int) else 1
            changed = msgspec.structs.replace(
                state, worked_at=now, worked_seconds=seconds, did=int(count)
            )
        self._states[task.name] = changed
        self._untold.add(task.name)

    def step(self) -> bool:
        """Tell what is new, look for wishes, and go on with a job; whether one is running."""
        now = self._clock()
        if self._untold and now - self._told_at >= _TOLD_SECONDS:
            self._told_at = now
            names, self._untold = self._untold, set()
            self._engine.write(partial(_put_tasks, states=[self._states[n] for n in names]))
        with self._engine.read() as transaction:
            waiting = records.wishes(transaction)
        # What is to end does so before something else begins.
        for wanted in sorted(waiting, key=lambda wish: not wish.is_cancel):
            self._consider(wanted)
        if self._steps is not None:
            self._go_on()
        return self._steps is not None

    def close(self) -> None:
        """The housekeeper ends: so does its job."""
        if self._run is not None:
            self._end("canceled", "the server was stopped: run it again")
        if self._untold:
            states = [self._states[name] for name in self._untold]
            self._engine.write(partial(_put_tasks, states=states))

    # ---- jobs ---------------------------------------------------------------------------------
    def _consider(self, wanted: Wish) -> None:
        if wanted.is_cancel:
            self._engine.write(partial(records.take_wish, wanted=wanted))
            if self._run is not None and self._run.job == wanted.job:
                self._end("canceled", f"canceled by {wanted.by}")
        elif wanted.job in self._states:
            self._engine.write(partial(records.take_wish, wanted=wanted))
            self._wanted.add(wanted.job)
        elif wanted.job not in self._jobs:
            self._engine.write(partial(records.take_wish, wanted=wanted))
        elif self._run is None:
            self._begin(wanted)

    def _begin(self, wanted: Wish) -> None:
        now = int(self._clock())

        def change(transaction: WriteTransaction) -> Run:
            records.take_wish(transaction, wanted)
            return records.begin_run(transaction, wanted, now)

        self._run = self._engine.write(change)
        self._steps = self._jobs[wanted.job].steps()
        log.info("the job %s begins, for %s", wanted.job, wanted.by)

    def _go_on(self) -> None:
        """Some steps. The last line is the result."""
        assert self._run is not None
        assert self._steps is not None
        ends_at = time.monotonic() + _TURN_SECONDS
        lines: list[str] = []
        try:
            for line in self._steps:
                if line:
                    lines.append(line[:_LINE_LENGTH_MAX])
                if time.monotonic() >= ends_at:
                    self._write_down(lines)
                    return
        except DtrfastError as error:
            self._write_down(lines)
            self._end("error", error.message)
            return
        except Exception as error:
            log.exception("the job %s failed", self._run.job)
            self._write_down(lines)
            self._end("error", f"{type(error).__name__}: {error}")
            return
        self._write_down(lines)
        self._end("done", self._run.log[-1] if self._run.log else "")

    def _write_down(self, lines: list[str]) -> None:
        assert self._run is not None
        if lines:
            kept = (*self._run.log, *lines)[-_LOG_LINES_MAX:]
            self._run = msgspec.structs.replace(self._run, log=kept)
            self._engine.write(partial(records.put_run, run=self._run))

    def _end(self, state: records.State, result: str) -> None:
        assert self._run is not None
        ended = msgspec.structs.replace(
            self._run, state=state, ended_at=int(self._clock()), result=result[:_LINE_LENGTH_MAX]
        )
        self._run, self._steps = None, None
        self._engine.write(partial(records.put_run, run=ended))
        log.info("the job %s is %s: %s", ended.job, state, result)


def _put_tasks(transaction: WriteTransaction, states: list[TaskState]) -> None:
    for state in states:
        records.put_task(transaction, state)
