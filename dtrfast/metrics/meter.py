"""Counts the answers of one process. The counters only grow, and one thread adds to them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import msgspec

Kind = Literal["pull", "push", "api", "console", "other"]

# Upper bounds of the histogram buckets in seconds. Each is a quarter above the one before, so a
# quantile is exact to a quarter. One more bucket counts answers that took longer than two minutes.
BOUNDS: tuple[float, ...] = tuple(50e-6 * 1.25**n for n in range(67))
# Two windows are kept, so the busiest repositories are those of the last five to ten minutes.
_WINDOW_SECONDS = 300.0
# At twice this number of names a window is cut to the busiest ones. Sorting so seldom costs next to
# nothing for each answer.
_NAMES_MAX = 1000
_REPORTED_MAX = 20


class Totals(msgspec.Struct, frozen=True):
    """Counts since the process began."""

    requests: dict[str, int]  # by `Kind`
    refused: int  # status 4xx, except 401 and 404
    failed: int  # status 5xx
    hot: int  # answers of the hot lane
    bytes_in: int
    bytes_out: int
    pull: list[int]  # histogram of answer times, by the buckets of BOUNDS
    push: list[int]
    # Name, requests, bytes in and bytes out in the last five to ten minutes, the busiest first.
    repositories: list[tuple[str, int, int, int]]
    images_pushed: int = 0  # manifests that were stored: of images, indexes, signatures …
    images_pulled: int = 0  # manifests that were sent


class Meter:
    """Counts answers. One thread calls the `note` methods; any thread may call `totals`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = {"pull": 0, "push": 0, "api": 0, "console": 0, "other": 0}
        self._refused = self._failed = self._hot = self._bytes_in = self._bytes_out = 0
        self._images_pushed = self._images_pulled = 0
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
        """Count an answer. `sizes` are the bytes of content received and sent."""
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
        """Count `count` equal answers of the hot lane. `note_times` counts their times."""
        self._requests[kind] += count
        self._bytes_out += bytes_out
        self._hot += count
        if status >= 400 and status not in (401, 404):
            self._refused += count
        if repository:
            self._note_repository(repository, 0, bytes_out, count)

    def note_images(self, *, pushed: int = 0, pulled: int = 0) -> None:
        """Count manifests that were stored or sent, besides their answers."""
        self._images_pushed += pushed
        self._images_pulled += pulled

    def note_times(self, kind: Kind, seconds: Sequence[float], weight: int) -> None:
        """Count answer times of a sample. Each time stands for `weight` answers."""
        times = self._times[kind]
        for one in seconds:
            times[bisect_left(BOUNDS, one)] += weight

    def totals(self) -> Totals:
        """Return the counts."""
        sums: dict[str, tuple[int, int, int]] = {}
        if self._clock() < self._window_ends_at + _WINDOW_SECONDS:  # else no request since
            for window in (self._before, self._now):
                for name, row in list(window.items()):
                    have = sums.get(name, (0, 0, 0))
                    sums[name] = (have[0] + row[0], have[1] + row[1], have[2] + row[2])
        order = sorted(sums.items(), key=lambda item: item[1], reverse=True)
        return Totals(
            dict(self._requests),
            self._refused,
            self._failed,
            self._hot,
            self._bytes_in,
            self._bytes_out,
            list(self._times["pull"]),
            list(self._times["push"]),
            [(name, *row) for name, row in order[:_REPORTED_MAX]],
            self._images_pushed,
            self._images_pulled,
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
                # A client that requests each name once cannot displace the busiest ones.
                order = sorted(self._now.items(), key=lambda item: item[1], reverse=True)
                self._now = dict(order[:_NAMES_MAX])
            row = self._now[name] = [0, 0, 0]
        row[0] += count
        row[1] += bytes_in
        row[2] += bytes_out


def quantile(counts: Sequence[int], part: float) -> float:
    """Return a quantile of answer times in seconds; 0 without answers.

    `counts` is a histogram by the buckets of BOUNDS, `part` is from 0 to 1. The result is
    interpolated inside its bucket.
    """
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
    """Add two histograms."""
    return [a + b for a, b in zip(some, others, strict=True)]


def difference(now: Sequence[int], before: Sequence[int]) -> list[int]:
    """Subtract an earlier histogram. Negative results become 0."""
    return [max(0, a - b) for a, b in zip(now, before, strict=True)]
