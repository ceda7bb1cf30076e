"""Answers of the hot lane, counted where they are given: tens of thousands a second.

The event loop's thread adds, another takes what was added away twice a second. So an answer costs a
look into a dictionary, and nothing is made for it but for a few that stand for the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Of so many answers one has its time taken down.
TIMED = 16
# Answers that are listed between two takings: about a hundred a second.
_LISTED_MAX = 50
# Rows and times between two takings: a hundred thousand answers a second stay below, and what comes
# while nobody takes anything away is counted together.
_ROWS_MAX = 50_000
_TIMES_MAX = 50_000
_OTHERS = b"/v2/"


@dataclass(slots=True)
class Taken:
    """What was counted: for method, target and status the answers and the bytes they sent; and
    seconds, of which each stands for `TIMED` answers. `unlisted`: answers that nobody lists.
    """

    rows: dict[tuple[str, bytes, int], list[int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    count: int = 0

    @property
    def unlisted(self) -> int:
        return max(0, self.count - _LISTED_MAX)


class Tally:
    """Counts hot answers. `note` belongs to one thread, `take` to another."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now = Taken()

    def note(self, key: tuple[str, bytes, int], sent: int, seconds: float) -> bool:
        """An answer was given; returns whether it is one of those that are listed."""
        now = self._now
        row = now.rows.get(key)
        if row is None:
            if len(now.rows) >= _ROWS_MAX:
                key = (key[0], _OTHERS, key[2])
            row = now.rows.setdefault(key, [0, 0])
        row[0] += 1
        row[1] += sent
        now.count += 1
        if not now.count % TIMED and len(now.seconds) < _TIMES_MAX:
            now.seconds.append(seconds)
        return now.count <= _LISTED_MAX

    def take(self) -> Taken:
        """What was counted since the last time. An answer that is being counted may be missed."""
        taken, self._now = self._now, Taken()
        return taken
