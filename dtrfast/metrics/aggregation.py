"""Aggregation of the values of a time series, by one rule for all series."""

from __future__ import annotations

import math
from collections.abc import Iterable

# Columns with high quantiles of answer times: a mean would hide slow answers.
_WORST = ("_p95_seconds", "_p99_seconds")


def aggregate(name: str, values: Iterable[float]) -> float:
    """Return the mean of a column's known values, or the maximum for columns of high quantiles.

    NaN values are unknown. If all are unknown, the result is NaN.
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan
    return max(known) if name.endswith(_WORST) else sum(known) / len(known)
