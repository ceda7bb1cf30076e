"""Pages of lists, and bounds on the entries that one request reads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some entries of a list. `more` is True if the list has entries after them."""

    entries: list[T]
    more: bool


def cut(entries: Iterable[T], count: int) -> Page[T]:
    """Return the first `count` entries. A page of 0 entries has no `more`, because it has no last
    entry after which a next page could begin.
    """
    if count == 0:
        return Page([], more=False)
    taken = list(islice(entries, count + 1))
    return Page(taken[:count], more=len(taken) > count)


# Entries of a list that one request reads at the most, and in any case. The minimum is needed,
# because a single garbage collection may take more than the time. A dear entry takes milliseconds.
LOOKED_AT_MAX = 20_000
_LOOKED_AT_MIN = 100
_DEAR_LOOKED_AT_MIN = 5
# CPU time that one request spends on reading a list.
_SECONDS_MAX = 0.03
_CLOCK_EVERY = 16


class BoundedScan(Generic[T]):
    """The entries of a list that one request may read. After the iteration, `rest` has the first
    entry beyond the bound; it is empty if the list ended before.
    """

    def __init__(
        self, entries: Iterable[T], seconds: float = _SECONDS_MAX, *, are_dear: bool = False
    ) -> None:
        """Bound a list to `seconds` of CPU time. With `are_dear` the clock is read after every
        entry, because entries take long.
        """
        self._entries = entries
        self._seconds = seconds
        self._every = 1 if are_dear else _CLOCK_EVERY
        self._least = _DEAR_LOOKED_AT_MIN if are_dear else _LOOKED_AT_MIN
        self.rest: list[T] = []

    @property
    def is_cut(self) -> bool:
        """True if entries were left out."""
        return bool(self.rest)

    def __iter__(self) -> Iterator[T]:
        end = time.thread_time() + self._seconds
        for count, entry in enumerate(self._entries):
            is_timed = count >= self._least and count % self._every == 0
            if count >= LOOKED_AT_MAX or (is_timed and time.thread_time() > end):
                self.rest = [entry]
                return
            yield entry
