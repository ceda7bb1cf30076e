"""The forecast of a full disk, from a known history."""

from __future__ import annotations

import math

import pytest

from dtrfast.metrics.forecast import full_at

NOW = 1_800_000_000.0
HOUR = 3600
GIB = float(1 << 30)
TIMES = [NOW - HOUR * back for back in range(24, -1, -1)]


def test_a_disk_that_fills_evenly_is_full_when_it_is() -> None:
    used = [100 * GIB + GIB * number for number in range(25)]
    at = full_at(TIMES, used, 134 * GIB, NOW)
    assert at == pytest.approx(NOW + 10 * HOUR)


def test_noise_changes_little() -> None:
    used = [100 * GIB + GIB * (n + (0.2 if n % 2 else -0.2)) for n in range(25)]
    at = full_at(TIMES, used, 134 * GIB, NOW)
    assert at == pytest.approx(NOW + 10 * HOUR, abs=HOUR)


def test_what_is_not_known_is_left_out() -> None:
    used = [100 * GIB + GIB * number for number in range(25)]
    holes = [math.nan if 5 < number < 15 else value for number, value in enumerate(used)]
    assert full_at(TIMES, holes, 134 * GIB, NOW) == pytest.approx(NOW + 10 * HOUR)


def test_a_disk_that_is_full_is_full_now() -> None:
    used = [100 * GIB + GIB * number for number in range(25)]
    assert full_at(TIMES, used, 120 * GIB, NOW) == NOW


@pytest.mark.parametrize("per_hour", [0.0, -GIB])
def test_a_disk_that_does_not_fill_is_never_full(per_hour: float) -> None:
    used = [100 * GIB + per_hour * number for number in range(25)]
    assert full_at(TIMES, used, 134 * GIB, NOW) is None


def test_what_is_years_away_is_not_told() -> None:
    used = [100 * GIB + 1e5 * number for number in range(25)]
    assert full_at(TIMES, used, 1000 * GIB, NOW) is None


def test_less_than_an_hour_tells_nothing() -> None:
    times = [NOW - 60 * back for back in range(59, -1, -1)]
    assert full_at(times, [GIB * number for number in range(60)], 134 * GIB, NOW) is None


def test_nothing_tells_nothing() -> None:
    assert full_at([], [], GIB, NOW) is None
    assert full_at(TIMES, [math.nan] * 25, GIB, NOW) is None


def test_an_hour_tells_nothing_of_weeks() -> None:
    times = [NOW - 60 * back for back in range(60, -1, -1)]
    used = [100 * GIB + max(0, number - 59) * 50 * GIB for number in range(61)]
    assert full_at(times, used, 1000 * GIB, NOW) is None
    soon = full_at(times, [GIB * number for number in range(61)], 180 * GIB, NOW)
    assert soon == pytest.approx(NOW + 2 * HOUR)


def test_a_new_pace_shows_within_days() -> None:
    day = 24 * HOUR
    times = [NOW - 30 * day + number * 6 * HOUR for number in range(121)]
    used = [100 * GIB + 10 * GIB * max(0.0, (at - NOW + 3 * day) / day) for at in times]
    at = full_at(times, used, 230 * GIB, NOW)
    assert at is not None
    assert NOW + 10 * day < at < NOW + 20 * day


def test_one_large_push_is_forgotten() -> None:
    day = 24 * HOUR
    times = [NOW - 30 * day + number * 6 * HOUR for number in range(121)]
    used = [100 * GIB + (50 * GIB if at > NOW - 10 * day else 0) for at in times]
    at = full_at(times, used, 250 * GIB, NOW)
    assert at is None or at > NOW + 200 * day
