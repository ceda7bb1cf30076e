"""Formats measured values with their units, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import Spread, Unit

_RATES = {Unit.REQUESTS: (1.0, "/s"), Unit.BYTES: (1e6, " MB/s"), Unit.IMAGES: (1.0, " images/s")}
_LEVELS = {Unit.SECONDS: (1.0, " s"), Unit.MEMORY: (1e6, " MB"), Unit.DISK: (1e6, " MB")}
_WHAT = {
    Unit.REQUESTS: "requests a second",
    Unit.BYTES: "bytes a second",
    Unit.IMAGES: "images a second",
    Unit.SECONDS: "seconds",
    Unit.MEMORY: "anonymous memory",
    Unit.DISK: "bytes on disk",
}
_COSTS = {Unit.REQUESTS: "s/1,000", Unit.BYTES: "s/GB", Unit.IMAGES: "s/image"}
MISSING = "–"


def caption(unit: Unit) -> str:
    """Return the unit of a headline and the better direction."""
    return f"{_WHAT[unit]}, {'more' if unit.is_rate else 'less'} is better"


def value(unit: Unit, spread: Spread | None) -> str:
    """Return a headline, such as 21,300/s or 412 MB/s."""
    if spread is None:
        return MISSING
    scale, suffix = (_RATES | _LEVELS)[unit]
    return number(spread.middle / scale) + suffix


def cost(unit: Unit, spread: Spread | None) -> str:
    """Return CPU seconds for the unit's scale of work."""
    return MISSING if spread is None else f"{number(spread.middle)} {_COSTS[unit]}"


def ratio(spread: Spread | None) -> str:
    """Return a ratio and its extremes over the turns."""
    if spread is None:
        return MISSING
    if spread.low == spread.high:
        return f"{number(spread.middle)} ×"
    return f"{number(spread.middle)} × ({number(spread.low)}–{number(spread.high)})"


def milliseconds(*spreads: Spread | None) -> str:
    """Return latencies, such as 0.31/0.52/1.24 ms."""
    return _joined(spreads, 1e-3, " ms")


def megabytes(*spreads: Spread | None) -> str:
    """Return sizes in memory or on disk, such as 140/61.2 MB."""
    return _joined(spreads, 1e6, " MB")


def _joined(spreads: Sequence[Spread | None], scale: float, suffix: str) -> str:
    if all(spread is None for spread in spreads):
        return MISSING
    texts = [MISSING if spread is None else number(spread.middle / scale) for spread in spreads]
    return "/".join(texts) + suffix


def figure(name: str, spread: Spread) -> str:
    """Return a figure of one workload. The unit is the end of its name."""
    words = name.replace("_", " ")
    if name.endswith("_bytes"):
        return f"{words.removesuffix(' bytes')} {megabytes(spread)}"
    if name.endswith("_per_second"):
        return f"{words.removesuffix(' per second')} {number(spread.middle)}/s"
    if name.endswith("_p99"):
        return f"{words} {milliseconds(spread)}"
    return f"{words} {number(spread.middle)}"


def number(number: float) -> str:
    """Return a number with three significant digits; from 1,000 all digits before the point."""
    if number == 0:
        return "0"
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    if abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3g}"
