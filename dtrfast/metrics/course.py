"""What a value of a course is for some values that it stands for; one rule for all courses."""

from __future__ import annotations

import math
from collections.abc import Iterable

# The tail of what was answered: a mean would hide it.
_WORST = ("_p95_seconds", "_p99_seconds")


def together(name: str, values: Iterable[float]) -> float:
    """The mean of a column's values that are known, or the greatest of those about the tail."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan
    return max(known) if name.endswith(_WORST) else sum(known) / len(known)
