"""Counts of answers, and their totals."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dtrfast.metrics.meter import BOUNDS, Meter, difference, merge, quantile

_WINDOW = 300.0
_DURATIONS = st.lists(st.floats(1e-6, 110.0), min_size=1, max_size=200)
_PARTS = st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0])


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counted(durations: list[float]) -> list[int]:
    meter = Meter()
    for seconds in durations:
        meter.note("pull", 200, (0, 0), seconds)
    return meter.totals().pull


def test_bounds_cover_what_happens_in_equal_steps() -> None:
    assert BOUNDS[0] == 50e-6
    assert BOUNDS[-1] >= 120
    assert all(math.isclose(high / low, 1.25) for low, high in pairwise(BOUNDS))


@given(_DURATIONS, _PARTS)
def test_a_quantile_is_in_the_bucket_of_the_true_one(durations: list[float], part: float) -> None:
    told = quantile(counted(durations), part)
    true = sorted(durations)[max(1, math.ceil(part * len(durations))) - 1]
    bucket = bisect_left(BOUNDS, true)
    low = BOUNDS[bucket - 1] if bucket else 0.0
    assert low <= told <= BOUNDS[bucket] * (1 + 1e-9)


@given(_DURATIONS, _DURATIONS)
def test_histograms_add_and_subtract(some: list[float], others: list[float]) -> None:
    both = merge(counted(some), counted(others))
    assert both == counted(some + others)
    assert difference(both, counted(some)) == counted(others)


@given(_DURATIONS)
def test_quantiles_grow_with_their_part(durations: list[float]) -> None:
    counts = counted(durations)
    told = [quantile(counts, part / 20) for part in range(21)]
    assert told == sorted(told)


def test_what_took_too_long_to_tell_is_the_last_bound() -> None:
    assert quantile(counted([500.0]), 0.5) == BOUNDS[-1]


def test_of_nothing_there_is_no_time() -> None:
    assert quantile(counted([]), 0.5) == 0.0


def test_answers_are_counted_by_kind_and_status() -> None:
    meter = Meter()
    meter.note("pull", 200, (1, 20), 0.001, "a", is_hot=True)
    meter.note("push", 403, (300, 4), 0.01, "a")
    meter.note("api", 500, (5, 6), 0.1)
    totals = meter.totals()
    assert totals.requests == {"pull": 1, "push": 1, "api": 1, "console": 0, "other": 0}
    assert (totals.refused, totals.failed, totals.hot) == (1, 1, 1)
    assert (totals.bytes_in, totals.bytes_out) == (306, 30)
    assert (sum(totals.pull), sum(totals.push)) == (1, 1)


def test_what_every_client_provokes_is_no_refusal() -> None:
    meter = Meter()
    for status in (401, 404):
        meter.note("pull", status, (0, 0), 0.001)
    assert meter.totals().refused == 0


def test_totals_do_not_change_afterwards() -> None:
    meter = Meter()
    before = meter.totals()
    meter.note("pull", 200, (0, 0), 0.001, "a")
    assert sum(before.requests.values()) == sum(before.pull) == len(before.repositories) == 0


def test_the_busiest_repositories_come_first() -> None:
    meter = Meter()
    for number in range(30):
        for _ in range(number + 1):
            meter.note("pull", 200, (1, 2), 0.001, f"r{number}")
    told = meter.totals().repositories
    assert told[0] == ("r29", 30, 30, 60)
    assert [name for name, *_ in told] == [f"r{number}" for number in range(29, 9, -1)]


def test_two_windows_are_told_together_and_the_third_is_not() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.note("pull", 200, (0, 1), 0.001, "first")
    clock.now += _WINDOW
    meter.note("pull", 200, (0, 1), 0.001, "second")
    assert {name for name, *_ in meter.totals().repositories} == {"first", "second"}
    clock.now += _WINDOW
    meter.note("pull", 200, (0, 1), 0.001, "third")
    assert {name for name, *_ in meter.totals().repositories} == {"second", "third"}


def test_what_is_long_ago_is_not_told() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.note("pull", 200, (0, 1), 0.001, "first")
    clock.now += 2 * _WINDOW
    assert meter.totals().repositories == []


def test_who_walks_all_names_hides_no_busy_one() -> None:
    meter = Meter()
    for number in range(10_000):
        meter.note("pull", 200, (0, 0), 0.001, f"walked{number}")
        if number > 3000 and number % 10 == 0:
            meter.note("pull", 200, (0, 0), 0.001, "busy")
        assert len(meter._now) <= 2000
    name, requests, _, _ = meter.totals().repositories[0]
    assert name == "busy"
    assert requests > 600


def test_a_window_after_a_pause_has_nothing_before_it() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.note("pull", 200, (0, 1), 0.001, "first")
    clock.now += 3 * _WINDOW
    meter.note("pull", 200, (0, 1), 0.001, "second")
    assert [name for name, *_ in meter.totals().repositories] == ["second"]


def test_answers_of_the_hot_lane_are_counted_at_once() -> None:
    meter = Meter()
    meter.note_hot("pull", 200, 5, 500, "a")
    meter.note_hot("pull", 404, 7, 70)
    meter.note_hot("pull", 401, 2, 20)
    meter.note_hot("pull", 403, 3, 30)
    totals = meter.totals()
    assert (totals.requests["pull"], totals.hot, totals.bytes_out) == (17, 17, 620)
    assert (totals.refused, totals.repositories) == (3, [("a", 5, 0, 500)])


def test_the_cost_of_counting_is_printed() -> None:
    """Print the cost of a call (`pytest -s`). It depends on the machine, so nothing is asserted."""
    meter = Meter()
    count = 100_000
    began = time.perf_counter()
    for _ in range(count):
        meter.note("pull", 200, (0, 4096), 0.0012, "library/app", is_hot=True)
    took = time.perf_counter() - began
    print(f"Meter.note: {took / count * 1e6:.2f} µs")  # noqa: T201
    assert meter.totals().requests["pull"] == count
