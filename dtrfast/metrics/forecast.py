"""When the disk is full, if it goes on as it did."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Less than this tells nothing, and what is further away than this is no news.
_KNOWN_SECONDS_MIN = 3600
_AHEAD_SECONDS_MAX = 5 * 365 * 86_400


def full_at(
    times: Sequence[float], used_bytes: Sequence[float], total_bytes: float, now: float
) -> float | None:
    """Seconds since the epoch, by a straight line through the course; None where there is none."""
    points = [(t, u) for t, u in zip(times, used_bytes, strict=True) if not math.isnan(u)]
    if len(points) < 3 or points[-1][0] - points[0][0] < _KNOWN_SECONDS_MIN:
        return None
    middle = sum(t for t, _ in points) / len(points)
    level = sum(u for _, u in points) / len(points)
    spread = sum((t - middle) ** 2 for t, _ in points)
    slope = sum((t - middle) * (u - level) for t, u in points) / spread
    if slope <= 0 or total_bytes <= 0:
        return None
    at = now + max(0.0, total_bytes - points[-1][1]) / slope
    return at if at < now + _AHEAD_SECONDS_MAX else None
