"""Counts what one process answers: plain numbers that only grow, added to by one thread."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import msgspec

Kind = Literal["pull", "push", "api", "console", "other"]

# Upper bounds of the buckets in seconds: each a quarter above the one before, so that a quantile is
# known to a quarter. The last one has what took longer than two minutes.
BOUNDS: tuple[float, ...] = tuple(50e-6 * 1.25**n for n in range(67))
# What is busiest is told of the last five to ten minutes.
_WINDOW_SECONDS = 300.0
# Names that are kept when there are twice as many: sorting so seldom costs each next to nothing.
_NAMES_MAX = 1000
_TOLD_MAX = 20


class Totals(msgspec.Struct, frozen=True):
    """Since the process began. `pull` and `push` count answers by the time that they took.
    `repositories`: name, requests, bytes in and bytes out of the last minutes, the busiest first.
    """

    requests: dict[str, int]
    refused: int
    failed: int
    hot: int
    bytes_in: int
    bytes_out: int
    pull: list[int]
    push: list[int]
    repositories: list[tuple[str, int, int, int]]


class Meter:
    """Counts answers. `note` belongs to one thread; `totals` may be asked for by any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = {"pull": 0, "push": 0, "api": 0, "console": 0, "other": 0}
        self._refused = self._failed = self._hot = self._bytes_in = self._bytes_out = 0
        self._times = {"pull": [0] * (len(BOUNDS) + 1), "push": [0] * (len(BOUNDS) + 1)}
        self._now: dict[str, list[int]] = {}
        self._before: dict[str, list[int]] = {}
        self._window_ends_at = clock() + _WINDOW_SECONDS

    def note(
        self,
        kind: Kind,
        status: int,
        sizes: tuple[int, int],
        seconds: float,
        repository: str = "",
        *,
        is_hot: bool = False,
    ) -> None:
        """An answer was given. `sizes`: bytes of content that came in, and that went out."""
        bytes_in, bytes_out = sizes
        self._requests[kind] += 1
        self._bytes_in += bytes_in
        self._bytes_out += bytes_out
        self._hot += is_hot
        if status >= 500:
            self._failed += 1
        elif status >= 400 and status not in (401, 404):
            self._refused += 1
        times = self._times.get(kind)
        if times is not None:
            times[bisect_left(BOUNDS, seconds)] += 1
        if repository:
            self._note_repository(repository, bytes_in, bytes_out)

    def note_hot(
        self, kind: Kind, status: int, count: int, bytes_out: int, repository: str = ""
    ) -> None:
        """Answers of the short lane were given, all alike; `note_times` tells how fast."""
        self._requests[kind] += count
        self._bytes_out += bytes_out
        self._hot += count
        if status >= 400 and status not in (401, 404):
            self._refused += count
        if repository:
            self._note_repository(repository, 0, bytes_out, count)

    def note_times(self, kind: Kind, seconds: Sequence[float], weight: int) -> None:
        """How long some answers took, each of which stands for `weight` of them."""
        times = self._times[kind]
        for one in seconds:
            times[bisect_left(BOUNDS, one)] += weight

    def totals(self) -> Totals:
        """What was counted."""
        return Totals(
            dict(self._requests),
            self._refused,
            self._failed,
            self._hot,
            self._bytes_in,
            self._bytes_out,
            list(self._times["pull"]),
            list(self._times["push"]),
            self._busiest(),
        )

    def _note_repository(self, name: str, bytes_in: int, bytes_out: int, count: int = 1) -> None:
        now = self._clock()
        if now >= self._window_ends_at:
            is_next = now < self._window_ends_at + _WINDOW_SECONDS
            self._before, self._now = self._now if is_next else {}, {}
            self._window_ends_at = now + _WINDOW_SECONDS
        row = self._now.get(name)
        if row is None:
            if len(self._now) >= 2 * _NAMES_MAX:
                self._now = _largest(self._now)
            row = self._now[name] = [0, 0, 0]
        row[0] += count
        row[1] += bytes_in
        row[2] += bytes_out

    def _busiest(self) -> list[tuple[str, int, int, int]]:
        if self._clock() >= self._window_ends_at + _WINDOW_SECONDS:
            return []  # nobody asked for anything since
        sums: dict[str, tuple[int, int, int]] = {}
        for window in (self._before, self._now):
            for name, row in list(window.items()):
                have = sums.get(name, (0, 0, 0))
                sums[name] = (have[0] + row[0], have[1] + row[1], have[2] + row[2])
        order = sorted(sums.items(), key=lambda item: item[1], reverse=True)
        return [(name, *row) for name, row in order[:_TOLD_MAX]]


def _largest(rows: dict[str, list[int]]) -> dict[str, list[int]]:
    """The names that were asked for most: who walks all of them hides none."""
    order = sorted(rows.items(), key=lambda item: item[1], reverse=True)
    return dict(order[:_NAMES_MAX])


def quantile(counts: Sequence[int], part: float) -> float:
    """The time within which that part of the answers was given, in seconds; 0 where none was."""
    sums = list(accumulate(counts))
    if not sums or not sums[-1]:
        return 0.0
    wanted = part * sums[-1]
    bucket = bisect_left(sums, wanted)
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    low = BOUNDS[bucket - 1] if bucket else 0.0
    before = sums[bucket - 1] if bucket else 0
    return low + (BOUNDS[bucket] - low) * (wanted - before) / max(1, counts[bucket])


def merge(some: Sequence[int], others: Sequence[int]) -> list[int]:
    """Two processes' counts together."""
    return [a + b for a, b in zip(some, others, strict=True)]


def difference(now: Sequence[int], before: Sequence[int]) -> list[int]:
    """What was counted in between."""
    return [max(0, a - b) for a, b in zip(now, before, strict=True)]
