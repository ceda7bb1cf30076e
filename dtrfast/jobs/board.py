"""The board: it records in the index what the housekeeper does, and takes requests from there.

Tasks run every few seconds and mostly find nothing to do. Only a run that did something is written,
and at most every few seconds. A record that could not be written is kept here and written at the
next turn. So a full disk cannot turn a failed run into "done", or leave an ended one "running".
For one thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine
from dtrfast.jobs.definitions import JobDefinition
from dtrfast.registry.job_records import JobLedger, Run, State, TaskState, Wish
from dtrfast.store.tasks import Task

log = logging.getLogger("dtrfast.housekeeper")

_WRITTEN_SECONDS = 5.0  # between two writes of task states
_LOG_LINES_MAX = 100
_LINE_LENGTH_MAX = 500
# A job's steps run for this long before the tasks have their turn.
_TURN_SECONDS = 0.2


class Board:
    """The jobs of one housekeeper, and the states of its tasks."""

    def __init__(
        self,
        engine: Engine,
        jobs: Sequence[JobDefinition],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = JobLedger(engine)
        self._jobs = {job.name: job for job in jobs}
        self._clock = clock
        self._states: dict[str, TaskState] = {}
        self._unwritten: set[str] = set()
        self._requested: set[str] = set()
        self._written_at = 0.0
        # The run whose row is not final yet. Each change is made here first, then written.
        self._run: Run | None = None
        self._is_run_unwritten = False
        self._steps: Iterator[str] | None = None  # None once the run is over

    def begin(self, tasks: Sequence[Task]) -> None:
        """List these tasks and no others. Runs of an earlier housekeeper end as `worker_dead`."""
        intervals = {task.name: task.interval_seconds for task in tasks}
        states = self._ledger.begin(intervals, int(self._clock()))
        self._states |= {state.name: state for state in states}

    def take_requested(self) -> set[str]:
        """Return the names of the tasks that a user wants done now, and forget them."""
        requested, self._requested = self._requested, set()
        return requested

    def record(self, task: Task, seconds: float, did: object, error: Exception | None) -> None:
        """Note one turn of a task: its duration, the result of its function, or its error."""
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
        self._unwritten.add(task.name)

    def step(self) -> bool:
        """Write news, take requests, and run some steps of a job. Returns True while a job runs."""
        now = self._clock()
        if self._is_run_unwritten:
            self._write_run()
        if self._unwritten and abs(now - self._written_at) >= _WRITTEN_SECONDS:
            self._written_at = now
            self._write_tasks()
        # Cancel requests come first, so that a job ends before the next one begins.
        for wanted in sorted(self._ledger.wishes(), key=lambda wish: not wish.is_cancel):
            self._consider(wanted)
        if self._steps is not None:
            self._run_steps()
        return self._steps is not None

    def close(self) -> None:
        """End the running job, since the housekeeper ends. If the end of the run cannot be written
        now, the next housekeeper marks the run as dead.
        """
        if self._steps is not None:
            self._end("canceled", "the server was stopped: run it again")
        for write in (self._write_run, self._write_tasks):
            try:
                write()
            except DtrfastError as error:
                log.warning("could not record the last work of the housekeeper: %s", error)

    # ---- records ------------------------------------------------------------------------------
    def _write_tasks(self) -> None:
        if self._unwritten:
            self._ledger.put_tasks([self._states[name] for name in self._unwritten])
        self._unwritten.clear()

    def _write_run(self) -> None:
        if self._run is None or not self._is_run_unwritten:
            return
        self._ledger.put_run(self._run)
        self._is_run_unwritten = False
        if self._steps is None:
            log.info("the job %s is %s: %s", self._run.job, self._run.state, self._run.result)
            self._run = None

    # ---- jobs ---------------------------------------------------------------------------------
    def _consider(self, wanted: Wish) -> None:
        """Do what a request asks for, if it can be done now; else leave the request waiting."""
        if wanted.is_cancel:
            if self._run is not None and self._run.job == wanted.job and self._steps is not None:
                self._end("canceled", f"canceled by {wanted.by}")
                self._write_run()
            self._ledger.take_wish(wanted)
        elif wanted.job in self._states:
            self._ledger.take_wish(wanted)
            self._requested.add(wanted.job)
        elif wanted.job not in self._jobs:
            self._ledger.take_wish(wanted)
        elif self._run is None:
            steps = self._jobs[wanted.job].steps()
            self._run = self._ledger.begin_run(wanted, int(self._clock()))
            if self._run is not None:
                self._steps = steps
                log.info("the job %s begins, for %s", wanted.job, wanted.by)

    def _run_steps(self) -> None:
        """Run some steps of the job. Its last line is its result."""
        assert self._run is not None
        assert self._steps is not None
        ends_at = time.monotonic() + _TURN_SECONDS
        try:
            for line in self._steps:
                if line:
                    lines = (*self._run.log, line[:_LINE_LENGTH_MAX])[-_LOG_LINES_MAX:]
                    self._run = msgspec.structs.replace(self._run, log=lines)
                    self._is_run_unwritten = True
                if time.monotonic() >= ends_at:
                    break
            else:
                self._end("done", self._run.log[-1] if self._run.log else "")
        except DtrfastError as error:
            self._end("error", error.message)
        except Exception as error:
            log.exception("the job %s failed", self._run.job)
            self._end("error", f"{type(error).__name__}: {error}")
        self._write_run()

    def _end(self, state: State, result: str) -> None:
        """End the run in memory. `_write_run` makes the end visible to other processes."""
        assert self._run is not None
        self._run = msgspec.structs.replace(
            self._run, state=state, ended_at=int(self._clock()), result=result[:_LINE_LENGTH_MAX]
        )
        self._steps = None
        self._is_run_unwritten = True
