"""Reads the time series of metrics, in the resolution and with the points that a caller needs."""

from __future__ import annotations

import math
from pathlib import Path

from dtrfast.machine.paths import series_file
from dtrfast.metrics import ring
from dtrfast.metrics.aggregation import aggregate
from dtrfast.metrics.recorder import FINE, plain
from dtrfast.metrics.ring import Series


class History:
    """The time series in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def registry(self, seconds: int, points_max: int, now: float) -> Series:
        """Return the series of the host and the registry for the last `seconds`."""
        return self._course("registry", seconds, points_max, now)

    def process(self, name: str, seconds: int, points_max: int, now: float) -> Series:
        """Return the series of a process for the last `seconds`."""
        return self._course(f"process-{plain(name)}", seconds, points_max, now)

    def process_names(self) -> list[str]:
        """Return the names of the processes that have a series."""
        paths = self._directory.glob("process-*.fine")
        return sorted(path.stem.removeprefix("process-") for path in paths)

    def _course(self, name: str, seconds: int, points_max: int, now: float) -> Series:
        tier = "fine" if seconds <= FINE[0] * FINE[1] else "coarse"
        found = ring.read(series_file(self._directory, name, tier), now - seconds, now)
        return thin(found, points_max)


def thin(series: Series, points_max: int) -> Series:
    """Return at most `points_max` points. Each one aggregates several points of `series`."""
    width = max(1, math.ceil(len(series.times) / points_max))
    starts = range(0, len(series.times), width)
    return Series(
        [series.times[at] for at in starts],
        {
            name: [aggregate(name, values[at : at + width]) for at in starts]
            for name, values in series.columns.items()
        },
    )
