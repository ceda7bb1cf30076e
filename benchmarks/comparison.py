"""What changed between two reports, as far as it is more than noise."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.report import numbers
from benchmarks.results import Report, Row, Spread, metric
from benchmarks.targets import SUBJECT

# Turns of the same code on a quiet machine differ by 5 %, on a busy one by 10: less is no news.
_NOISE = 0.10
_METRICS = ("value", "cost", "p99")


@dataclass(frozen=True, slots=True)
class Change:
    """A metric of the subject in one row, before and now. `is_worse` tells the direction."""

    row: str
    metric: str
    before: Spread
    now: Spread
    is_worse: bool

    def __str__(self) -> str:
        factor = self.now.middle / self.before.middle
        name = "rate or level" if self.metric == "value" else self.metric
        word = "worse" if self.is_worse else "better"
        return f"{self.row}: {name} is {numbers.number(factor)} × what it was: {word}"


def changes(old: Report, new: Report) -> list[Change]:
    """What got better or worse, in rows that both have. Reports are comparable if one machine made
    both with the same effort; that is the caller's to know.
    """
    before = {row.name: row for row in old.rows}
    pairs = [(before[row.name], row) for row in new.rows if row.name in before]
    found = (_change(was, now, name) for was, now in pairs for name in _METRICS)
    return [change for change in found if change is not None]


def _change(old: Row, new: Row, name: str) -> Change | None:
    before, now = metric(old, SUBJECT, name), metric(new, SUBJECT, name)
    if before is None or now is None or not before.middle or not now.middle:
        return None
    if max(before.low, now.low) <= min(before.high, now.high):
        return None  # turns of then are like turns of now
    if abs(now.middle / before.middle - 1) <= _NOISE:
        return None
    more_is_better = name == "value" and new.unit.is_rate
    return Change(new.name, name, before, now, (now.middle > before.middle) != more_is_better)
