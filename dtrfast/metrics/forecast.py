"""A forecast of the time when the disk will be full, from the recent growth of its usage."""

from __future__ import annotations

import math
from collections.abc import Sequence

# A shorter history is not enough for a forecast. A time further ahead is of no interest.
_KNOWN_SECONDS_MIN = 3600
_AHEAD_SECONDS_MAX = 5 * 365 * 86_400
# A forecast reaches at most this many times as far as the history: a push on the first day says
# nothing about the next month.
_AHEAD_FACTOR = 10
# The weight of a value halves with this age. With one day, nights do not matter, and one large push
# is forgotten within a week. After a quiet month, three days of growth show most of the new rate.
_HALF_SECONDS = 86_400


def full_at(
    times: Sequence[float], used_bytes: Sequence[float], total_bytes: float, now: float
) -> float | None:
    """Return the time at which the disk will be full, in seconds since the epoch.

    It extends a straight line through the history. `times` are seconds since the epoch;
    `used_bytes` has a value for each, NaN if unknown. Returns None if the history is too short, if
    usage does not grow, or if the time is too far ahead.
    """
    points = [(t, u) for t, u in zip(times, used_bytes, strict=True) if not math.isnan(u)]
    known = points[-1][0] - points[0][0] if points else 0.0
    if len(points) < 3 or known < _KNOWN_SECONDS_MIN:
        return None
    # The slope of the weighted least-squares line, in bytes a second.
    last = points[-1][0]
    weighed = [(0.5 ** ((last - t) / _HALF_SECONDS), t, u) for t, u in points]
    whole = sum(w for w, _, _ in weighed)
    middle = sum(w * t for w, t, _ in weighed) / whole
    level = sum(w * u for w, _, u in weighed) / whole
    spread = sum(w * (t - middle) ** 2 for w, t, _ in weighed)
    slope = float(sum(w * (t - middle) * (u - level) for w, t, u in weighed) / spread)
    if slope <= 0 or total_bytes <= 0:
        return None
    at = now + max(0.0, total_bytes - points[-1][1]) / slope
    return at if at < now + min(_AHEAD_SECONDS_MAX, _AHEAD_FACTOR * known) else None
