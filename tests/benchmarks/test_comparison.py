"""Changes between two reports, and noise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.comparison import Change, changes, differences
from benchmarks.results import Outcome, Row, Unit
from benchmarks.targets import SUBJECT
from tests.benchmarks.reports import MACHINE, outcome, report, row, sample


def change_of(old: Row, new: Row) -> Change | None:
    found = changes(report(old), report(new))
    return next((change for change in found if change.metric == "value"), None)


def test_less_of_a_rate_is_worse() -> None:
    found = change_of(row("a", 100, 101, 102), row("a", 50, 51, 52))
    assert found is not None
    assert found.is_worse
    assert str(found) == "a: rate or level is 0.505 × what it was: worse"


def test_more_of_a_rate_is_better() -> None:
    found = change_of(row("a", 50, 51, 52), row("a", 100, 101, 102))
    assert found is not None
    assert not found.is_worse


def test_more_of_a_level_is_worse() -> None:
    old, new = (row("a", level, unit=Unit.MEMORY) for level in (50, 100))
    found = change_of(old, new)
    assert found is not None
    assert found.is_worse


@pytest.mark.parametrize(
    "now",
    [
        pytest.param((91, 92, 93), id="less than turns ever differ"),
        pytest.param((70, 80, 101), id="turns of then are among those of now"),
        pytest.param((60, 75, 90), id="turns of now swing wider than they lie apart"),
    ],
)
def test_noise_is_no_change(now: tuple[float, ...]) -> None:
    assert change_of(row("a", 100, 101, 102), row("a", *now)) is None


def test_a_machine_that_is_slower_for_all_is_no_change() -> None:
    old = row("a", 100, 101, 102, peers={"registry": outcome(10, 10.1, 10.2)})
    new = row("a", 50, 51, 52, peers={"registry": outcome(5, 5.1, 5.2)})
    assert change_of(old, new) is None


def test_a_peer_that_got_faster_makes_nothing_worse() -> None:
    old = row("a", 100, 101, 102, peers={"registry": outcome(10, 10, 10)})
    new = row("a", 100, 101, 102, peers={"registry": outcome(20, 20, 20)})
    assert change_of(old, new) is None


def test_slower_than_before_by_itself_and_beside_the_peer_is_worse() -> None:
    old = row("a", 100, 101, 102, peers={"registry": outcome(10, 10, 10)})
    new = row("a", 50, 51, 52, peers={"registry": outcome(10, 10, 10)})
    found = change_of(old, new)
    assert found is not None
    assert found.is_worse


def test_more_processor_time_for_the_same_work_is_worse() -> None:
    old, new = (
        Row("a", "", Unit.REQUESTS, {SUBJECT: Outcome((sample(100, cpu=cpu),) * 3)})
        for cpu in (1.0, 1.5)
    )
    (found,) = changes(report(old), report(new))
    assert (found.metric, found.is_worse) == ("cost", True)


def test_rows_that_only_one_report_has_are_left_out() -> None:
    assert not changes(report(row("a", 100)), report(row("b", 1)))


def test_a_row_with_errors_is_not_compared() -> None:
    failed = Row("a", "", Unit.REQUESTS, {SUBJECT: Outcome((sample(1, errors=1),))})
    assert not changes(report(row("a", 100)), report(failed))
    assert not changes(report(failed), report(row("a", 100)))


def test_another_machine_and_another_effort_are_told() -> None:
    old = report(row("a", 1))
    new = replace(old, machine=replace(MACHINE, kernel="7.0"), conditions={"rounds": "5"})
    assert differences(old, old) == []
    assert sorted(differences(old, new)) == [
        "kernel: 6.1 then, 7.0 now",
        "rounds: 3 then, 5 now",
    ]
