from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dtrfast.jobs import housekeeper
from dtrfast.machine import locks
from dtrfast.store.tasks import Task


class Turns:
    """Replaces sleeping: it counts the turns, and asks for a stop after the last one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.waited: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.count -= 1
        return self.count < 0


def test_tasks_run_in_the_order_they_are_due() -> None:
    done: list[str] = []
    often = Task("often", 0.0, lambda: done.append("often"))
    seldom = Task("seldom", 1000.0, lambda: done.append("seldom"))
    housekeeper.run([seldom, often], Turns(5).wait)
    assert done == ["seldom", "often", "often", "often", "often"]


def test_a_failing_task_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("failing")
        raise OSError("no disk")

    tasks = [Task("failing", 0.0, fail), Task("fine", 0.0, lambda: done.append("fine"))]
    with caplog.at_level(logging.ERROR):
        housekeeper.run(tasks, Turns(4).wait)
    assert done == ["failing", "fine", "failing", "fine"]
    assert "the task 'failing' failed" in caplog.text


def test_the_interval_is_waited(caplog: pytest.LogCaptureFixture) -> None:
    turns = Turns(1)
    housekeeper.run([Task("task", 60.0, lambda: None)], turns.wait)
    assert turns.waited[0] == 0
    assert 59 < turns.waited[1] <= 60


def test_what_one_process_may_do_is_done_under_the_lock(tmp_path: Path) -> None:
    entered: list[bool] = []

    @contextmanager
    def beside() -> Iterator[None]:
        entered.append(locks.try_housekeeper(tmp_path) is None)
        yield
        entered.append(locks.try_housekeeper(tmp_path) is None)

    held = locks.try_housekeeper(tmp_path)
    assert held is not None
    housekeeper.keep([], tmp_path, Turns(3).wait, None, beside)
    assert entered == []
    os.close(held)
    housekeeper.keep([], tmp_path, Turns(3).wait, None, beside)
    assert entered == [True, True]


def test_applications_have_numbers_of_their_own(tmp_path: Path) -> None:
    taken = [locks.take_number(tmp_path) for _ in range(3)]
    assert [number for number, _ in taken] == [0, 1, 2]
    os.close(taken[1][1])
    number, descriptor = locks.take_number(tmp_path)
    assert number == 1
    for one in (descriptor, taken[0][1], taken[2][1]):
        os.close(one)


def test_one_housekeeper_works_on_a_directory(tmp_path: Path) -> None:
    held = locks.try_housekeeper(tmp_path)
    assert held is not None
    done: list[str] = []
    housekeeper.keep([Task("task", 0.0, lambda: done.append("x"))], tmp_path, Turns(3).wait)
    assert done == []
    os.close(held)
    housekeeper.keep([Task("task", 0.0, lambda: done.append("x"))], tmp_path, Turns(3).wait)
    assert done == ["x", "x", "x"]
