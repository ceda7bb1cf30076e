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
        is_fine = seconds <= FINE[0] * FINE[1]
        path = series_file(self._directory, name, "fine" if is_fine else "coarse")
        return thin(ring.read(path, now - seconds, now), points_max)


def thin(series: Series, points_max: int) -> Series:
    """Return at most `points_max` points. Each one aggregates the values of several steps, and has
    the time at which the first of these begins. So a gap in `series` is a gap in the result.
    """
    if not series.times:
        return series
    first, own = series.times[0], series.step_seconds
    count = (series.times[-1] - first) // own + 1
    step = own * math.ceil(count / points_max)
    rows: dict[int, list[int]] = {}
    for row, at in enumerate(series.times):
        rows.setdefault(first + (at - first) // step * step, []).append(row)
    return Series(
        list(rows),
        {
            name: [aggregate(name, [values[row] for row in some]) for some in rows.values()]
            for name, values in series.columns.items()
        },
        step,
    )
