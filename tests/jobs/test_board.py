"""Jobs that somebody asks for: done beside the tasks, cancelled, and told of afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from dtrfast.errors import StorageFailed
from dtrfast.index.engine import Engine
from dtrfast.jobs import housekeeper
from dtrfast.jobs.board import Board
from dtrfast.jobs.jobs import Job
from dtrfast.registry import jobs as records
from dtrfast.registry.jobs import Run, Wish
from dtrfast.store.tasks import Task
from tests.fakes.engine import MemoryEngine


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def _wish(engine: Engine, job: str, *, is_cancel: bool = False) -> None:
    wanted = Wish(job, "admin", 1000, is_cancel)
    engine.write(partial(records.wish, wanted=wanted))


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


def _board(engine: Engine) -> Board:
    jobs = [Job("short", _short), Job("endless", _endless), Job("failing", _failing)]
    return Board(engine, jobs, clock=lambda: 2000.0)


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


def test_a_job_is_cancelled_and_another_waits_for_it(engine: MemoryEngine) -> None:
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
    assert len(_runs(engine)) <= 6


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
