"""What the housekeeper does, as everybody sees it: wishes, states and runs, as rows of the index.

Any process may wish for a job; the housekeeper takes the wish, runs the job and writes what came of
it. A job that was running when the housekeeper died is found by the next one, which says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import JOBS, META, number_key

# Docker Trusted Registry's words for what may become of a job.
State = Literal["waiting", "running", "done", "error", "canceled", "worker_dead"]

# Runs that are kept; with a log of a hundred lines each that is a few megabytes.
RUNS_MAX = 500
_SWEPT_MAX = 20
_WISH = b"w"
_TASK = b"t"
_RUN = b"r"


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """That somebody wants a job, or wants the running one to end."""

    job: str
    by: str
    at: int
    is_cancel: bool = False


class TaskState(msgspec.Struct, frozen=True, array_like=True):
    """A task that is done again and again, and when it last had something to do."""

    name: str
    interval_seconds: float
    worked_at: int = 0
    worked_seconds: float = 0.0
    did: int = 0
    failed_at: int = 0
    error: str = ""


class Run(msgspec.Struct, frozen=True, array_like=True):
    """A job that somebody asked for."""

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
    """Ask for a job, where a wish for it that waits already is the same one; or for its end.

    To end one takes the wish that waits for it away at once, and asks for the end of the one that
    runs. Returns whether there was anything to end.
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
    """What waits, by name."""
    return [_wishes.decode(data) for _, data in transaction.scan(JOBS, _WISH)]


def take_wish(transaction: WriteTransaction, wanted: Wish) -> bool:
    """It waits no more; returns whether it did."""
    return transaction.pop(JOBS, _key(wanted)) is not None


def put_task(transaction: WriteTransaction, state: TaskState) -> None:
    transaction.put(JOBS, _TASK + state.name.encode(), _encoder.encode(state))


def forget_task(transaction: WriteTransaction, name: str) -> None:
    transaction.delete(JOBS, _TASK + name.encode())


def tasks(transaction: ReadTransaction) -> list[TaskState]:
    return [_tasks.decode(data) for _, data in transaction.scan(JOBS, _TASK)]


def begin_run(transaction: WriteTransaction, wanted: Wish, now: int) -> Run:
    """A run of a job, which has a number now. Runs beyond the most go, the oldest first."""
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
    """Runs before one, the latest first."""
    after = _RUN + number_key(before) if before else None
    rows = transaction.scan(JOBS, _RUN, after=after, reverse=True)
    return (_runs.decode(data) for _, data in rows)


def bury(transaction: WriteTransaction, now: int) -> int:
    """Say of runs that nobody runs any more that their housekeeper died; returns how many."""
    dead = [run for run in runs(transaction) if run.state == "running"]
    for run in dead:
        text = "the housekeeper ended before the job did: run it again"
        put_run(
            transaction,
            msgspec.structs.replace(run, state="worker_dead", ended_at=now, result=text),
        )
    return len(dead)
