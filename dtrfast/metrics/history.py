"""Reads the courses: the resolution that covers what is asked for, thinned to what can be shown."""

from __future__ import annotations

import math
from pathlib import Path

from dtrfast.machine.paths import course_file
from dtrfast.metrics import ring
from dtrfast.metrics.course import together
from dtrfast.metrics.recorder import FINE, plain
from dtrfast.metrics.ring import Series


class History:
    """The courses in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def registry(self, seconds: int, points_max: int, now: float) -> Series:
        """What the host and the registry did in the last `seconds`."""
        return self._course("registry", seconds, points_max, now)

    def process(self, name: str, seconds: int, points_max: int, now: float) -> Series:
        """What a process did in the last `seconds`."""
        return self._course(f"process-{plain(name)}", seconds, points_max, now)

    def process_names(self) -> list[str]:
        """The processes that have a course."""
        paths = self._directory.glob("process-*.fine")
        return sorted(path.stem.removeprefix("process-") for path in paths)

    def _course(self, name: str, seconds: int, points_max: int, now: float) -> Series:
        tier = "fine" if seconds <= FINE[0] * FINE[1] else "coarse"
        found = ring.read(course_file(self._directory, name, tier), now - seconds, now)
        return thin(found, points_max)


def thin(series: Series, points_max: int) -> Series:
    """At most so many points, each for those that it stands for (`course`)."""
    width = max(1, math.ceil(len(series.times) / points_max))
    starts = range(0, len(series.times), width)
    return Series(
        [series.times[at] for at in starts],
        {
            name: [together(name, values[at : at + width]) for at in starts]
            for name, values in series.columns.items()
        },
    )
