"""CPU-seconds of requests, and the table that shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Each request is repeated until one of these bounds is reached. The least counts, because other
# work on the machine only adds to it.
_TIMES_MAX = 3
_SECONDS_MAX = 1.0
# All requests are compared with this one, so it is repeated more often.
REFERENCE_TIMES = 30
# A request is an offender if it costs more than so many cheap ones. A cheap one takes about 1 ms on
# one core, so twenty such requests a second keep a core busy.
OFFENCE_RATIO = 50


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU-seconds of all threads of the process. `first` includes what caches save later."""

    name: str
    first: float
    best: float


def measure(name: str, send: Callable[[], None], times: int = _TIMES_MAX) -> Cost:
    """Send a request a few times."""
    spent: list[float] = []
    while len(spent) < times and sum(spent) < _SECONDS_MAX:
        began = time.process_time()
        send()
        spent.append(time.process_time() - began)
    return Cost(name, spent[0], min(spent))


def table(costs: Sequence[Cost], reference: Cost) -> str:
    """Return the costs as text, worst first, with the ratio to the cost of `reference`."""
    ordered = sorted(costs, key=lambda cost: cost.best, reverse=True)
    bound = OFFENCE_RATIO * reference.best
    count = sum(cost.best > bound for cost in costs)
    head = [
        f"CPU of {len(costs)} requests; reference {reference.name}, {reference.best * 1000:.1f} ms",
        f"over: {count} cost more than {bound * 1000:.0f} ms, {OFFENCE_RATIO} times the reference",
        "cold: only the first did, before caches were filled",
        f"{'request':36}{'CPU ms':>10}{'first ms':>10}{'ratio':>8}",
    ]
    return "\n".join([*head, *(_line(cost, reference) for cost in ordered)])


def _line(cost: Cost, reference: Cost) -> str:
    ratio = cost.best / reference.best
    bound = OFFENCE_RATIO * reference.best
    mark = "  over" if cost.best > bound else "  cold" if cost.first > bound else ""
    return f"{cost.name:36}{cost.best * 1000:10.1f}{cost.first * 1000:10.1f}{ratio:8.1f}{mark}"
