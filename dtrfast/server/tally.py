"""Counts of the hot lane's responses, of which there are tens of thousands a second.

The event loop's thread adds to the counts, and another thread takes them twice a second. A response
costs one look-up in a dictionary. Only a sample of them gets a log entry and a recorded time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# One of this many responses has its time recorded.
TIMED = 16
# Responses with a log entry between two takings: about a hundred a second.
_LISTED_MAX = 50
# Rows and times between two takings. A hundred thousand responses a second stay below. If the other
# thread takes nothing for long, further targets share one row.
_ROWS_MAX = 50_000
_TIMES_MAX = 50_000
_OTHERS = b"/v2/"


@dataclass(slots=True)
class TallyCounts:
    """Counts between two takings.

    `rows`: the count of responses and their bytes, by method, target and status. `seconds`: times
    of responses, each of which stands for `TIMED` responses. `count`: all responses.
    """

    rows: dict[tuple[str, bytes, int], list[int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    count: int = 0

    @property
    def unlisted(self) -> int:
        """Count of responses without a log entry."""
        return max(0, self.count - _LISTED_MAX)


class Tally:
    """Counts responses of the hot lane. One thread calls `note`, another calls `take`."""

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now = TallyCounts()

    def note(self, key: tuple[str, bytes, int], sent: int, seconds: float) -> bool:
        """Count a response of `sent` bytes; return True if it should get a log entry.

        `key`: method, target and status.
        """
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

    def take(self) -> TallyCounts:
        """Return the counts since the last call. A response that is being counted may be lost."""
        taken, self._now = self._now, TallyCounts()
        return taken
