"""Comparison of two reports: the changes that are larger than the noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.report import numbers
from benchmarks.results import Report, Row, Spread, metric, ratio
from benchmarks.targets import SUBJECT

# The smallest difference that counts, as a part of the old value. High quantiles of latencies vary
# more than sums over a whole turn.
_NOISE = {"value": 0.10, "cost": 0.10, "p99": 0.25}
_NAMES = {"value": "rate or level", "cost": "server's CPU", "p99": "p99"}


@dataclass(frozen=True, slots=True)
class Change:
    """A changed metric of the subject in one row. `is_worse` is the direction of the change."""

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
    """Return the changes in rows that both reports have.

    The subject's own value must have changed, and its ratio to each peer in the same direction.
    """
    before = {row.name: row for row in old.rows}
    pairs = [(before[row.name], row) for row in new.rows if row.name in before]
    found = (_change(was, now, name) for was, now in pairs for name in _NOISE)
    return [change for change in found if change is not None]


def differences(old: Report, new: Report) -> list[str]:
    """Return other differences between the reports that may explain changes."""
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
    if before is None or now is None or not _lie_apart(before, now, _NOISE[name]):
        return None
    is_more = now.middle > before.middle
    for then_to_peer, to_peer in _ratios(old, new, name):
        # If only the machine was busier, the peer changed as well and the ratio did not.
        if not _lie_apart(then_to_peer, to_peer, _NOISE[name]):
            return None
        if is_more != (to_peer.middle > then_to_peer.middle):
            return None
    more_is_better = name == "value" and new.unit.is_rate
    return Change(new.name, name, before, now, is_more != more_is_better)


def _ratios(old: Row, new: Row, name: str) -> Iterator[tuple[Spread, Spread]]:
    """Yield the old and the new ratio to each peer that both reports have."""
    for peer in new.outcomes:
        if peer != SUBJECT:
            then_to_peer = ratio(old, SUBJECT, peer, name)
            to_peer = ratio(new, SUBJECT, peer, name)
            if then_to_peer is not None and to_peer is not None:
                yield then_to_peer, to_peer


def _lie_apart(before: Spread, now: Spread, noise: float) -> bool:
    """Return True if two values differ by more than `noise` and by more than their turns vary."""
    if not before.middle or abs(now.middle / before.middle - 1) <= noise:
        return False
    # A few turns show only a part of the variation, so the gap must be as large as the widest one.
    swing = max(before.high - before.low, now.high - now.low)
    return max(before.low, now.low) - min(before.high, now.high) > swing
