"""When the disk is full, if it goes on as it did lately."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Less than this tells nothing, and what is further away than this is no news.
_KNOWN_SECONDS_MIN = 3600
_AHEAD_SECONDS_MAX = 5 * 365 * 86_400
# A line is followed so many times further than it is known: a push on the first day says nothing of
# the next month.
_AHEAD_FACTOR = 10
# What was known so long before counts half. With a day, three days of a new pace after a month of
# quiet show most of it, nights do not matter, and one large push is forgotten within a week.
_HALF_SECONDS = 86_400


def full_at(
    times: Sequence[float], used_bytes: Sequence[float], total_bytes: float, now: float
) -> float | None:
    """Seconds since the epoch, by a straight line through the course; None where there is none."""
    points = [(t, u) for t, u in zip(times, used_bytes, strict=True) if not math.isnan(u)]
    known = points[-1][0] - points[0][0] if points else 0.0
    if len(points) < 3 or known < _KNOWN_SECONDS_MIN:
        return None
    slope = _slope(points)
    if slope <= 0 or total_bytes <= 0:
        return None
    at = now + max(0.0, total_bytes - points[-1][1]) / slope
    return at if at < now + min(_AHEAD_SECONDS_MAX, _AHEAD_FACTOR * known) else None


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Bytes a second of the line that fits best, where what is newer weighs more."""
    last = points[-1][0]
    weighed = [(0.5 ** ((last - t) / _HALF_SECONDS), t, u) for t, u in points]
    whole = sum(w for w, _, _ in weighed)
    middle = sum(w * t for w, t, _ in weighed) / whole
    level = sum(w * u for w, _, u in weighed) / whole
    spread = sum(w * (t - middle) ** 2 for w, t, _ in weighed)
    return float(sum(w * (t - middle) * (u - level) for w, t, u in weighed) / spread)
