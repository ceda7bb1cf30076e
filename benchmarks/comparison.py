"""What changed between two reports, as far as it is more than noise."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.report import numbers
from benchmarks.results import Report, Row, Spread, metric
from benchmarks.targets import SUBJECT

# Least difference that counts, as a part of what was. Latencies at the far end swing more than
# sums over a whole turn do.
_NOISE = {"value": 0.10, "cost": 0.10, "p99": 0.25}
_NAMES = {"value": "rate or level", "cost": "server's CPU", "p99": "p99"}


@dataclass(frozen=True, slots=True)
class Change:
    """A metric of the subject in one row, before and now. `is_worse` tells the direction."""

    row: str
    metric: str
    before: Spread
    now: Spread
    is_worse: bool

    def __str__(self) -> str:
        factor = numbers.number(self.now.middle / self.before.middle)
        word = "worse" if self.is_worse else "better"
        return f"{self.row}: {_NAMES[self.metric]} is {factor} × what it was: {word}"


def changes(old: Report, new: Report) -> list[Change]:
    """What got better or worse, in rows that both have."""
    before = {row.name: row for row in old.rows}
    pairs = [(before[row.name], row) for row in new.rows if row.name in before]
    found = (_change(was, now, name) for was, now in pairs for name in _NOISE)
    return [change for change in found if change is not None]


def differences(old: Report, new: Report) -> list[str]:
    """What else differs, so that figures may differ by it."""
    was, now = old.conditions | _circumstances(old), new.conditions | _circumstances(new)
    return [
        f"{name}: {was.get(name, 'unknown')} then, {now.get(name, 'unknown')} now"
        for name in now | was
        if was.get(name) != now.get(name)
    ]


def _circumstances(report: Report) -> dict[str, str]:
    machine = report.machine
    return {
        "processor": f"{machine.cores} × {machine.processor}",
        "kernel": machine.kernel,
        "Python": machine.python,
        "file systems": f"{machine.memory_file_system} and {machine.disk_file_system}",
        "servers in turns": "; ".join(report.servers.values()),
    }


def _change(old: Row, new: Row, name: str) -> Change | None:
    before, now = metric(old, SUBJECT, name), metric(new, SUBJECT, name)
    if before is None or now is None or not before.middle or not now.middle:
        return None
    if abs(now.middle / before.middle - 1) <= _NOISE[name]:
        return None
    # Turns of the same code swing as wide as this. A few of them show less than the whole of it,
    # so those of then and of now have to lie apart by as much again.
    swing = max(before.high - before.low, now.high - now.low)
    if max(before.low, now.low) - min(before.high, now.high) <= swing:
        return None
    more_is_better = name == "value" and new.unit.is_rate
    return Change(new.name, name, before, now, (now.middle > before.middle) != more_is_better)
