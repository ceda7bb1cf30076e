"""Keeps the index told of what the housekeeper does, and takes wishes from it.

Tasks come round every few seconds and mostly find nothing; only what they did is written, and that
at most every few seconds. What the index could not be told is kept here and told at the next turn:
a full disk makes no run "done" that failed, and none that ended runs for ever. One thread.
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
        # The run whose row is not final yet. What becomes of it is put here first, then written.
        self._run: Run | None = None
        self._is_run_untold = False
        self._steps: Iterator[str] | None = None  # None once the run is over

    def begin(self, tasks: Sequence[Task]) -> None:
        """List these tasks and no others. What was running before is running no more."""
        now = int(self._clock())

        def change(transaction: WriteTransaction) -> list[TaskState]:
            records.bury(transaction, now)
            old = {state.name: state for state in records.tasks(transaction)}
            states = [
                msgspec.structs.replace(
                    old.get(task.name) or TaskState(task.name, task.interval_seconds),
                    interval_seconds=task.interval_seconds,
                )
                for task in tasks
            ]
            _put_tasks(transaction, states)
            # Those of another version would be listed, and found to fail, for ever.
            for name in old.keys() - {task.name for task in tasks}:
                records.forget_task(transaction, name)
            return states

        self._states |= {state.name: state for state in self._engine.write(change)}

    def take_wanted(self) -> set[str]:
        """Names of the tasks that somebody wants done now."""
        wanted, self._wanted = self._wanted, set()
        return wanted

    def ran(self, task: Task, seconds: float, did: object, error: Exception | None) -> None:
        """A task had its turn."""
        state = self._states.get(task.name)
        if state is None or not (did or error or state.error):
            return
        now = int(self._clock())
        if error is not None:
            changed = msgspec.structs.replace(
                state, failed_at=now, error=(str(error) or type(error).__name__)[:_LINE_LENGTH_MAX]
            )
        elif did:
            count = did if isinstance(did, int) else 1
            changed = msgspec.structs.replace(
                state, worked_at=now, worked_seconds=seconds, did=int(count), error=""
            )
        else:
            changed = msgspec.structs.replace(state, error="")
        self._states[task.name] = changed
        self._untold.add(task.name)

    def step(self) -> bool:
        """Tell what is new, look for wishes, and go on with a job; whether one is running."""
        now = self._clock()
        if self._is_run_untold:
            self._tell_run()
        if self._untold and abs(now - self._told_at) >= _TOLD_SECONDS:
            self._told_at = now
            self._tell_tasks()
        with self._engine.read() as transaction:
            waiting = records.wishes(transaction)
        # What is to end does so before something else begins.
        for wanted in sorted(waiting, key=lambda wish: not wish.is_cancel):
            self._consider(wanted)
        if self._steps is not None:
            self._go_on()
        return self._steps is not None

    def close(self) -> None:
        """The housekeeper ends: so does its job. What cannot be written now is told by the next."""
        if self._steps is not None:
            self._end("canceled", "the server was stopped: run it again")
        for tell in (self._tell_run, self._tell_tasks):
            try:
                tell()
            except DtrfastError as error:
                log.warning("the last of what the housekeeper did is not told: %s", error)

    # ---- telling ------------------------------------------------------------------------------
    def _tell_tasks(self) -> None:
        states = [self._states[name] for name in self._untold]
        if states:
            self._engine.write(partial(_put_tasks, states=states))
        self._untold.clear()

    def _tell_run(self) -> None:
        if self._run is None or not self._is_run_untold:
            return
        self._engine.write(partial(records.put_run, run=self._run))
        self._is_run_untold = False
        if self._steps is None:
            log.info("the job %s is %s: %s", self._run.job, self._run.state, self._run.result)
            self._run = None

    # ---- jobs ---------------------------------------------------------------------------------
    def _consider(self, wanted: Wish) -> None:
        if wanted.is_cancel:
            if self._run is not None and self._run.job == wanted.job and self._steps is not None:
                self._end("canceled", f"canceled by {wanted.by}")
                self._tell_run()
            self._engine.write(partial(records.take_wish, wanted=wanted))
        elif wanted.job in self._states:
            self._engine.write(partial(records.take_wish, wanted=wanted))
            self._wanted.add(wanted.job)
        elif wanted.job not in self._jobs:
            self._engine.write(partial(records.take_wish, wanted=wanted))
        elif self._run is None:
            self._begin(wanted)

    def _begin(self, wanted: Wish) -> None:
        now = int(self._clock())

        def change(transaction: WriteTransaction) -> Run | None:
            if not records.take_wish(transaction, wanted):
                return None  # somebody thought better of it
            return records.begin_run(transaction, wanted, now)

        steps = self._jobs[wanted.job].steps()
        self._run = self._engine.write(change)
        if self._run is not None:
            self._steps = steps
            log.info("the job %s begins, for %s", wanted.job, wanted.by)

    def _go_on(self) -> None:
        """Some steps. The last line is the result."""
        assert self._run is not None
        assert self._steps is not None
        ends_at = time.monotonic() + _TURN_SECONDS
        try:
            for line in self._steps:
                if line:
                    self._add_line(line)
                if time.monotonic() >= ends_at:
                    break
            else:
                self._end("done", self._run.log[-1] if self._run.log else "")
        except DtrfastError as error:
            self._end("error", error.message)
        except Exception as error:
            log.exception("the job %s failed", self._run.job)
            self._end("error", f"{type(error).__name__}: {error}")
        self._tell_run()

    def _add_line(self, line: str) -> None:
        assert self._run is not None
        kept = (*self._run.log, line[:_LINE_LENGTH_MAX])[-_LOG_LINES_MAX:]
        self._run = msgspec.structs.replace(self._run, log=kept)
        self._is_run_untold = True

    def _end(self, state: records.State, result: str) -> None:
        """The run is over, here; `_tell_run` says so to everybody."""
        assert self._run is not None
        self._run = msgspec.structs.replace(
            self._run, state=state, ended_at=int(self._clock()), result=result[:_LINE_LENGTH_MAX]
        )
        self._steps = None
        self._is_run_untold = True


def _put_tasks(transaction: WriteTransaction, states: list[TaskState]) -> None:
    for state in states:
        records.put_task(transaction, state)
