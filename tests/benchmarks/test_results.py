"""The arithmetic of turns, and the file that keeps them."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks import results
from benchmarks.results import Outcome, Sample, Spread, Unit, metric, ratio, spread_of
from benchmarks.targets import SUBJECT
from tests.benchmarks.reports import outcome, report, row, sample


def test_a_spread_is_the_median_and_the_extremes() -> None:
    assert spread_of([3, 1, 8]) == Spread(3, 1, 8)


def test_a_rate_is_work_a_second_and_a_level_is_itself() -> None:
    turn = Sample(work=60, seconds=2)
    assert results.value_of(Unit.REQUESTS, turn) == 30
    assert results.value_of(Unit.MEMORY, turn) == 60


@pytest.mark.parametrize(
    ("unit", "work", "cost"),
    [(Unit.REQUESTS, 1000, 4), (Unit.BYTES, 1e9, 4), (Unit.IMAGES, 1, 4), (Unit.MEMORY, 1, None)],
)
def test_costs_are_for_what_the_unit_says(unit: Unit, work: float, cost: float | None) -> None:
    assert results.cost_of(unit, Sample(work=work, seconds=1, cpu_seconds=4)) == cost


def test_the_cost_of_what_somebody_else_started_is_unknown() -> None:
    assert results.cost_of(Unit.REQUESTS, sample(10, cpu=None)) is None


def test_ratios_are_of_turns_that_followed_each_other() -> None:
    found = row("a", 20, 60, 30, peers={"registry": outcome(10, 20, 10)})
    assert ratio(found, SUBJECT, "registry", "value") == Spread(3, 2, 3)


def test_a_ratio_to_nothing_is_none() -> None:
    found = row("a", 20, peers={"registry": outcome(0)})
    assert ratio(found, SUBJECT, "registry", "value") is None
    assert ratio(found, SUBJECT, "nginx", "value") is None


@pytest.mark.parametrize(
    "bad", [Outcome((sample(9), sample(9, errors=1))), Outcome((sample(9),), failure="it died")]
)
def test_a_server_that_failed_has_no_figures(bad: Outcome) -> None:
    found = row("a", 20, 20, peers={"registry": bad})
    assert metric(found, "registry", "value") is None
    assert ratio(found, SUBJECT, "registry", "value") is None
    assert report(found).has_failed


def test_a_server_that_was_passed_by_did_not_fail() -> None:
    found = row("a", 20, peers={"registry": Outcome(skipped="it has no TLS")})
    assert metric(found, "registry", "value") is None
    assert not report(found).has_failed


def test_a_figure_of_the_workload_is_a_metric() -> None:
    turn = Sample(work=1, seconds=1, figures={"disk_bytes": 7})
    assert results.metric_of("disk_bytes", Unit.BYTES, turn) == 7


def test_a_report_is_read_as_it_was_written() -> None:
    written = report(row("a", 1, 2), row("b", 3, unit=Unit.DISK, peers={"nginx": outcome(4)}))
    assert results.decode(results.encode(written)) == written


@pytest.mark.parametrize("other", [b"", b"{}", b'{"rows": 1}'])
def test_anything_else_is_not_a_report(other: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        results.decode(other)


def test_a_report_of_another_version_is_refused() -> None:
    other = msgspec.to_builtins(report(row("a", 1)))
    other["version"] = results.VERSION + 1
    with pytest.raises(ValueError, match="version"):
        results.decode(msgspec.json.encode(other))
