"""Jobs that users request: run between the tasks, canceled, and recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import msgspec
import pytest

from dtrfast.errors import StorageFailed, StorageFull
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import JOBS
from dtrfast.jobs import housekeeper
from dtrfast.jobs.board import Board
from dtrfast.jobs.definitions import JobDefinition
from dtrfast.registry import job_records as records
from dtrfast.registry.job_records import Run, TaskState, Wish
from dtrfast.store.tasks import Task
from tests.fakes.engine import MemoryEngine

T = TypeVar("T")


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


class FullEngine(MemoryEngine):
    """An index whose disk is full while a test says so."""

    is_full = False

    def write(self, change: Callable[[WriteTransaction], T]) -> T:
        if self.is_full:
            raise StorageFull("no room")
        return super().write(change)


def _wish(engine: Engine, job: str, *, is_cancel: bool = False) -> bool:
    wanted = Wish(job, "admin", 1000, is_cancel)
    return engine.write(partial(records.wish, wanted=wanted))


def _waiting(engine: Engine) -> list[str]:
    with engine.read() as transaction:
        return [wish.job for wish in records.wishes(transaction)]


def _task_state(engine: Engine, name: str) -> TaskState:
    with engine.read() as transaction:
        return next(state for state in records.tasks(transaction) if state.name == name)


def _runs(engine: Engine) -> list[Run]:
    with engine.read() as transaction:
        return list(records.runs(transaction))


def _short() -> Iterator[str]:
    yield "one"
    yield ""
    yield "two things"


def _endless() -> Iterator[str]:
    while True:
        yield ""


def _failing() -> Iterator[str]:
    yield "begun"
    raise StorageFailed("the disk is gone")


def _broken() -> Iterator[str]:
    yield "begun"
    raise ValueError("a fault of ours")


def _chatty() -> Iterator[str]:
    for number in range(150):
        yield f"{number} " + "x" * 1000


_JOBS = {
    "short": _short,
    "endless": _endless,
    "failing": _failing,
    "broken": _broken,
    "chatty": _chatty,
}


def _board(engine: Engine, clock: Callable[[], float] = lambda: 2000.0) -> Board:
    return Board(engine, [JobDefinition(name, steps) for name, steps in _JOBS.items()], clock)


def test_tasks_that_this_version_has_not_are_listed_no_more(engine: MemoryEngine) -> None:
    """Otherwise a task that failed before an upgrade would be shown as failed for ever."""
    old, kept = Task("stale readers", 60.0, lambda: 0), Task("kept", 60.0, lambda: 0)
    board = _board(engine)
    board.begin([old, kept])
    for task in (old, kept):
        board.record(task, 0.1, 0, StorageFailed("the disk is gone"))
    board.close()
    board = _board(engine)
    board.begin([kept, Task("tidy index", 60.0, lambda: 0)])
    with engine.read() as transaction:
        states = {state.name: state.error for state in records.tasks(transaction)}
    assert states == {"kept": "the disk is gone", "tidy index": ""}


def test_a_job_runs_once_and_its_last_line_is_the_result(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "short")
    _wish(engine, "short")
    while board.step():
        pass
    assert not board.step()
    (run,) = _runs(engine)
    assert (run.state, run.by, run.result, run.log) == (
        "done",
        "admin",
        "two things",
        ("one", "two things"),
    )


def test_a_job_that_fails_says_why(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "failing")
    board.step()
    (run,) = _runs(engine)
    assert (run.state, run.result, run.log) == ("error", "the disk is gone", ("begun",))


def test_a_job_is_canceled_and_another_waits_for_it(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "endless")
    assert board.step()
    _wish(engine, "short")
    assert board.step()
    assert [run.job for run in _runs(engine)] == ["endless"]
    _wish(engine, "endless", is_cancel=True)
    while board.step():
        pass
    assert [(run.job, run.state) for run in _runs(engine)] == [
        ("short", "done"),
        ("endless", "canceled"),
    ]


def test_what_died_with_its_housekeeper_says_so(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "endless")
    board.step()
    _board(engine).begin([])
    assert [run.state for run in _runs(engine)] == ["worker_dead"]


def test_what_runs_when_the_server_stops_is_told(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "endless")
    board.step()
    board.close()
    (run,) = _runs(engine)
    assert run.state == "canceled"
    assert "stopped" in run.result


def test_unknown_wishes_go(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "no such job")
    board.step()
    with engine.read() as transaction:
        assert records.wishes(transaction) == []
    assert _runs(engine) == []


def test_old_runs_go(engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RUNS_MAX", 5)
    board = _board(engine)
    for _ in range(9):
        _wish(engine, "short")
        while board.step():
            pass
    assert len(_runs(engine)) == 5


def test_a_task_that_is_wanted_comes_at_once_and_its_state_is_told(engine: MemoryEngine) -> None:
    done: list[str] = []
    rounds = iter(range(40))

    def work() -> int:
        done.append("x")
        return 3

    def wait(seconds: float) -> bool:
        if len(done) == 1 and next(rounds) == 5:
            _wish(engine, "seldom")
        return len(done) >= 2 or next(rounds, 99) >= 38

    board = Board(engine, [], clock=lambda: 2000.0)
    housekeeper.run([Task("seldom", 3600.0, work)], wait, board)
    assert len(done) == 2
    with engine.read() as transaction:
        (state,) = records.tasks(transaction)
    assert (state.name, state.did, state.worked_at) == ("seldom", 3, 2000)


def test_a_task_that_fails_is_told_and_the_others_go_on(engine: MemoryEngine) -> None:
    def fail() -> int:
        raise StorageFailed("no space")

    def count() -> int:
        ran.append(1)
        return 0

    ran: list[int] = []
    rounds = iter(range(10))
    board = Board(engine, [], clock=lambda: 2000.0)
    tasks = [Task("bad", 3600.0, fail), Task("good", 3600.0, count)]
    housekeeper.run(tasks, lambda _: next(rounds) >= 9, board)
    with engine.read() as transaction:
        states = {state.name: state for state in records.tasks(transaction)}
    assert states["bad"].error == "no space"
    assert states["good"].worked_at == 0
    assert ran == [1]


def test_a_job_with_a_fault_ends_with_it(
    engine: MemoryEngine, caplog: pytest.LogCaptureFixture
) -> None:
    board = _board(engine)
    _wish(engine, "broken")
    assert not board.step()
    (run,) = _runs(engine)
    assert (run.state, run.result) == ("error", "ValueError: a fault of ours")
    assert "Traceback" in caplog.text


def test_a_log_has_its_last_lines_and_each_is_cut(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "chatty")
    while board.step():
        pass
    (run,) = _runs(engine)
    assert [line.split()[0] for line in run.log] == [str(number) for number in range(50, 150)]
    assert {len(line) for line in run.log} == {500}


def test_a_job_lets_the_tasks_have_their_turn(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "endless")
    began = time.monotonic()
    assert board.step()
    assert 0.19 < time.monotonic() - began < 5.0


# ---- an index that cannot be written -----------------------------------------------------------
@pytest.mark.parametrize(
    ("job", "state", "result"),
    [
        ("short", "done", "two things"),
        ("failing", "error", "the disk is gone"),
        ("broken", "error", "ValueError: a fault of ours"),
    ],
)
def test_what_became_of_a_job_is_told_once_there_is_room(job: str, state: str, result: str) -> None:
    engine = FullEngine()
    jobs = [JobDefinition(job, lambda: _filling(engine, _JOBS[job]))]
    board = Board(engine, jobs, clock=lambda: 2000.0)
    _wish(engine, job)
    for _ in range(2):
        with pytest.raises(StorageFull):
            board.step()
    assert [run.state for run in _runs(engine)] == ["running"]
    engine.is_full = False
    assert not board.step()
    (run,) = _runs(engine)
    assert (run.state, run.result, run.log[-1] in ("begun", "two things")) == (state, result, True)


def _filling(engine: FullEngine, steps: Callable[[], Iterator[str]]) -> Iterator[str]:
    """Make the disk full after the first line."""
    for line in steps():
        engine.is_full = True
        yield line


def test_a_cancel_that_could_not_be_written_holds() -> None:
    engine = FullEngine()
    board = _board(engine)
    _wish(engine, "endless")
    board.step()
    _wish(engine, "endless", is_cancel=True)
    engine.is_full = True
    with pytest.raises(StorageFull):
        board.step()
    engine.is_full = False
    assert not board.step()
    assert [run.state for run in _runs(engine)] == ["canceled"]
    assert _waiting(engine) == []
    _wish(engine, "short")
    board.step()
    assert [run.state for run in _runs(engine)] == ["done", "canceled"]


def test_a_housekeeper_ends_although_nothing_can_be_written() -> None:
    engine = FullEngine()
    board = _board(engine)
    _wish(engine, "endless")
    board.step()
    engine.is_full = True
    board.close()
    engine.is_full = False
    _board(engine).begin([])
    assert [run.state for run in _runs(engine)] == ["worker_dead"]


def test_tasks_whose_rows_were_not_committed_are_not_known() -> None:
    """The disk is full when the change is committed."""

    class TornEngine(FullEngine):
        def write(self, change: Callable[[WriteTransaction], T]) -> T:
            def torn(transaction: WriteTransaction) -> T:
                result = change(transaction)
                if self.is_full:
                    raise StorageFull("no room")
                return result

            return MemoryEngine.write(self, torn)

    engine = TornEngine()
    board, task = _board(engine), Task("task", 1.0, lambda: 3)
    engine.is_full = True
    with pytest.raises(StorageFull):
        board.begin([task])
    engine.is_full = False
    board.record(task, 0.1, 3, None)
    board.close()
    with engine.read() as transaction:
        assert list(records.tasks(transaction)) == []


def test_what_a_task_did_is_told_once_there_is_room() -> None:
    engine = FullEngine()
    board = _board(engine)
    task = Task("task", 1.0, lambda: 3)
    board.begin([task])
    board.record(task, 0.1, 3, None)
    engine.is_full = True
    with pytest.raises(StorageFull):
        board.step()
    engine.is_full = False
    board.close()
    assert _task_state(engine, "task").did == 3


def test_who_keeps_jobs_rests_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    engine = FullEngine()
    board = _board(engine)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        engine.is_full = True
        return len(waited) > 2

    _wish(engine, "short")
    housekeeper.run([], wait, board)
    assert waited[1] > 4.0
    assert "the task 'jobs' failed" in caplog.text


def test_a_job_that_says_something_is_told_once(engine: MemoryEngine) -> None:
    board = Board(engine, [JobDefinition("talker", _talker)], clock=lambda: 2000.0)
    _wish(engine, "talker")
    assert board.step()
    assert _runs(engine)[0].log == ("hello",)
    before = engine._state
    assert board.step()
    assert engine._state is before


def _talker() -> Iterator[str]:
    yield "hello"
    yield from _endless()


# ---- ending what waits --------------------------------------------------------------------------
def test_a_job_that_waits_is_canceled_at_once(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "endless")
    board.step()
    _wish(engine, "short")
    assert _wish(engine, "short", is_cancel=True)
    assert _waiting(engine) == []
    _wish(engine, "endless", is_cancel=True)
    assert not board.step()
    assert [(run.job, run.state) for run in _runs(engine)] == [("endless", "canceled")]


def test_a_cancel_of_one_job_does_not_end_another(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "endless")
    board.step()
    assert not _wish(engine, "short", is_cancel=True)
    assert board.step()
    # Written by a process that saw the job run a moment ago.
    stale = Wish("short", "admin", 1000, is_cancel=True)
    engine.write(lambda t: t.put(JOBS, b"w-short", msgspec.msgpack.encode(stale)))
    assert board.step()
    assert _waiting(engine) == []
    assert [run.state for run in _runs(engine)] == ["running"]


def test_there_is_nothing_to_cancel_of_a_job_that_is_over(engine: MemoryEngine) -> None:
    board = _board(engine)
    _wish(engine, "short")
    while board.step():
        pass
    assert not _wish(engine, "short", is_cancel=True)
    assert _waiting(engine) == []


def test_a_wish_that_goes_while_it_is_looked_at_begins_nothing() -> None:
    class Hasty(MemoryEngine):
        """An engine on which a user cancels a request between its read and its write."""

        def write(self, change: Callable[[WriteTransaction], T]) -> T:
            super().write(lambda t: t.delete(JOBS, b"w+short"))
            return super().write(change)

    engine = Hasty()
    board = _board(engine)
    super(Hasty, engine).write(partial(records.wish, wanted=Wish("short", "admin", 1000)))
    assert not board.step()
    assert _runs(engine) == []


# ---- tasks --------------------------------------------------------------------------------------
def test_what_tasks_did_is_told_each_five_seconds(engine: MemoryEngine) -> None:
    now = [2000.0]
    board = _board(engine, lambda: now[0])
    task = Task("task", 1.0, lambda: 0)
    board.begin([task])
    told: list[int] = []
    for seconds in (0.0, 4.9, 0.2):
        now[0] += seconds
        board.record(task, 0.1, len(told) + 1, None)
        board.step()
        told.append(_task_state(engine, "task").did)
    assert told == [1, 1, 3]


def test_what_tasks_did_last_is_told_at_the_end(engine: MemoryEngine) -> None:
    board = _board(engine)
    task = Task("task", 1.0, lambda: 0)
    board.begin([task])
    board.step()
    board.record(task, 0.1, 7, None)
    board.close()
    assert _task_state(engine, "task").did == 7


@pytest.mark.parametrize("did", [0, 5])
def test_an_error_goes_with_the_next_success(engine: MemoryEngine, did: int) -> None:
    board = _board(engine)
    task = Task("task", 1.0, lambda: 0)
    board.begin([task])
    board.record(task, 0.1, None, StorageFailed("no space"))
    board.record(task, 0.1, did, None)
    board.close()
    state = _task_state(engine, "task")
    assert (state.error, state.failed_at, state.did) == ("", 2000, did)
