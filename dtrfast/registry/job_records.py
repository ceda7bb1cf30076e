"""The records of housekeeping in the index: requests for jobs, states of tasks, and runs of jobs.

Any process may request a job with a *wish*. The housekeeper takes the wish, runs the job and writes
the result. If the housekeeper dies during a run, the next housekeeper marks the run as dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

import msgspec

from dtrfast.errors import Conflict, CredentialUnknown
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import JOBS, META, number_key
from dtrfast.registry.permits import Permits

# The states of a job in Docker Trusted Registry.
State = Literal["waiting", "running", "done", "error", "canceled", "worker_dead"]

# The jobs that administrators can request besides the tasks.
TITLES = {
    "check": "Read everything that is stored, and mark damaged content",
    "empty-trash": "Empty the trash, for good",
    "ldap-sync": "Synchronize with the LDAP directory",
    "measure": "Measure the disk usage of each repository",
}

# Runs that are kept: a few megabytes, with a log of a hundred lines each.
RUNS_MAX = 500
# Old runs that one new run deletes at the most.
_SWEPT_MAX = 20
_WISH = b"w"
_TASK = b"t"
_RUN = b"r"


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """A request for a job, or with `is_cancel` for the end of the running one. `at` is in seconds
    since the epoch.
    """

    job: str
    by: str
    at: int
    is_cancel: bool = False


class TaskState(msgspec.Struct, frozen=True, array_like=True):
    """The state of a periodic task. `worked_at` is the last time at which it had work to do, in
    seconds since the epoch; `did` is the number of things that it did then.
    """

    name: str
    interval_seconds: float
    worked_at: int = 0
    worked_seconds: float = 0.0
    did: int = 0
    failed_at: int = 0
    error: str = ""


class Run(msgspec.Struct, frozen=True, array_like=True):
    """A run of a job that a user requested. Times are in seconds since the epoch."""

    id: int
    job: str
    state: State
    by: str
    asked_at: int
    started_at: int = 0
    ended_at: int = 0
    result: str = ""
    log: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_wishes = msgspec.msgpack.Decoder(Wish)
_tasks = msgspec.msgpack.Decoder(TaskState)
_runs = msgspec.msgpack.Decoder(Run)


def wish(transaction: WriteTransaction, wanted: Wish) -> bool:
    """Request a job, or its end. A job that is requested again while it waits gets one run.

    A request for the end deletes a wish that waits, and asks the housekeeper to end a run. Returns
    False if the job neither waits nor runs.
    """
    if not wanted.is_cancel:
        transaction.put(JOBS, _key(wanted), _encoder.encode(wanted))
        return True
    was_waiting = transaction.pop(JOBS, _WISH + b"+" + wanted.job.encode()) is not None
    # One runs at a time, and it is the latest.
    last = next(runs(transaction), None)
    is_running = last is not None and last.state == "running" and last.job == wanted.job
    if is_running:
        transaction.put(JOBS, _key(wanted), _encoder.encode(wanted))
    return was_waiting or is_running


def _key(wanted: Wish) -> bytes:
    return _WISH + (b"-" if wanted.is_cancel else b"+") + wanted.job.encode()


def wishes(transaction: ReadTransaction) -> list[Wish]:
    """Return the wishes that wait, requests for the end after those for jobs, by name."""
    return [_wishes.decode(data) for _, data in transaction.scan(JOBS, _WISH)]


def take_wish(transaction: WriteTransaction, wanted: Wish) -> bool:
    """Delete a wish. Returns False if it did not wait."""
    return transaction.pop(JOBS, _key(wanted)) is not None


def put_task(transaction: WriteTransaction, state: TaskState) -> None:
    transaction.put(JOBS, _TASK + state.name.encode(), _encoder.encode(state))


def forget_task(transaction: WriteTransaction, name: str) -> None:
    transaction.delete(JOBS, _TASK + name.encode())


def tasks(transaction: ReadTransaction) -> list[TaskState]:
    return [_tasks.decode(data) for _, data in transaction.scan(JOBS, _TASK)]


def begin_run(transaction: WriteTransaction, wanted: Wish, now: int) -> Run:
    """Store a new run with the next number, and delete the oldest runs beyond `RUNS_MAX`."""
    number = transaction.take(META, b"job_run")
    run = Run(number, wanted.job, "running", wanted.by, wanted.at, now)
    put_run(transaction, run)
    limit = number_key(max(0, number - RUNS_MAX + 1))
    for key, _ in list(transaction.scan(JOBS, _RUN, limit=_SWEPT_MAX)):
        if key < _RUN + limit:
            transaction.delete(JOBS, key)
    return run


def put_run(transaction: WriteTransaction, run: Run) -> None:
    transaction.put(JOBS, _RUN + number_key(run.id), _encoder.encode(run))


def runs(transaction: ReadTransaction, before: int = 0) -> Iterator[Run]:
    """Return the runs before the one with a number, the latest first; 0: all runs."""
    after = _RUN + number_key(before) if before else None
    rows = transaction.scan(JOBS, _RUN, after=after, reverse=True)
    return (_runs.decode(data) for _, data in rows)


def bury(transaction: WriteTransaction, now: int) -> int:
    """Mark all running jobs as dead, because their housekeeper died. Returns the number of runs."""
    dead = [run for run in runs(transaction) if run.state == "running"]
    for run in dead:
        text = "the housekeeper ended before the job did: run it again"
        put_run(
            transaction,
            msgspec.structs.replace(run, state="worker_dead", ended_at=now, result=text),
        )
    return len(dead)


class JobLedger:
    """The rows of tasks, requests and runs, as the housekeeper reads and writes them.

    Only the housekeeper writes states and runs. Each method is one transaction.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, intervals: Mapping[str, float], now: int) -> list[TaskState]:
        """List the tasks with these names and intervals (in seconds), and remove all others. Runs
        that an earlier housekeeper did not finish become `worker_dead`. Returns the tasks' states.
        """

        def change(transaction: WriteTransaction) -> list[TaskState]:
            bury(transaction, now)
            old = {state.name: state for state in tasks(transaction)}
            states = [
                msgspec.structs.replace(
                    old.get(name) or TaskState(name, seconds), interval_seconds=seconds
                )
                for name, seconds in intervals.items()
            ]
            for state in states:
                put_task(transaction, state)
            # A task that only another version has would be listed for ever.
            for name in old.keys() - intervals.keys():
                forget_task(transaction, name)
            return states

        return self._engine.write(change)

    def forget_tasks(self) -> None:
        """Remove the states of all tasks."""

        def change(transaction: WriteTransaction) -> None:
            for state in tasks(transaction):
                forget_task(transaction, state.name)

        self._engine.write(change)

    def put_tasks(self, states: Iterable[TaskState]) -> None:
        """Write the states of some tasks."""

        def change(transaction: WriteTransaction) -> None:
            for state in states:
                put_task(transaction, state)

        self._engine.write(change)

    def wishes(self) -> list[Wish]:
        """Return the requests that wait, by name."""
        with self._engine.read() as transaction:
            return wishes(transaction)

    def take_wish(self, wanted: Wish) -> bool:
        """Remove a request. Returns False if it was withdrawn before."""
        return self._engine.write(partial(take_wish, wanted=wanted))

    def begin_run(self, wanted: Wish, now: int) -> Run | None:
        """Remove a request and begin its run; None if the request was withdrawn before."""

        def change(transaction: WriteTransaction) -> Run | None:
            if not take_wish(transaction, wanted):
                return None
            return begin_run(transaction, wanted, now)

        return self._engine.write(change)

    def put_run(self, run: Run) -> None:
        """Write the state and the log of a run."""
        self._engine.write(partial(put_run, run=run))


@dataclass(frozen=True, slots=True)
class JobState:
    """A job or a task that can be requested. `is_waiting`: a run of it is requested."""

    name: str
    title: str
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class JobBoard:
    """The state of housekeeping: jobs, tasks, and a page of past runs."""

    jobs: list[JobState]
    tasks: list[TaskState]
    runs: list[Run]
    next_start: str


class Jobs:
    """The jobs of the housekeeper, for system administrators. `has_directory`: the server has
    accounts, which the job `ldap-sync` synchronizes.
    """

    def __init__(
        self, engine: Engine, permits: Permits, now: Callable[[], int], *, has_directory: bool
    ) -> None:
        self._engine = engine
        self._permits = permits
        self._now = now
        self._titles = {
            name: title for name, title in TITLES.items() if name != "ldap-sync" or has_directory
        }

    def board(self, before: int, count: int, job: str = "", state: str = "") -> JobBoard:
        """Return the board with up to `count` runs before the run with a number, latest first; 0:
        from the latest run on. `job` and `state` filter the runs. Raises `AccessRefused`.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
            waiting = {one.job for one in wishes(transaction) if not one.is_cancel}
            jobs = [JobState(name, title, name in waiting) for name, title in self._titles.items()]
            wanted = (
                run
                for run in runs(transaction, before)
                if job in ("", run.job) and state in ("", run.state)
            )
            found = list(islice(wanted, count + 1))
            next_start = str(found[count - 1].id) if len(found) > count > 0 else ""
            return JobBoard(jobs, tasks(transaction), found[:count], next_start)

    def request(self, name: str, *, is_cancel: bool = False) -> JobState:
        """Request a run of a job or a task, or the end of a job. Raises `CredentialUnknown` for an
        unknown name, `Conflict` if there is nothing to cancel, and `AccessRefused`.
        """
        wanted = Wish(name, self._permits.actor, self._now(), is_cancel)

        def change(transaction: WriteTransaction) -> bool:
            self._permits.require_admin(transaction)
            if name not in self._titles and all(one.name != name for one in tasks(transaction)):
                raise CredentialUnknown(f"there is no job {name[:80]!r}")
            if is_cancel and name not in self._titles:
                raise Conflict(f"{name} is a task, not a job: it ends by itself and runs again")
            return wish(transaction, wanted)

        if not self._engine.write(change):
            raise Conflict(f"the job {name} neither runs nor waits to run")
        return JobState(name, self._titles.get(name, name), not is_cancel)
