"""A stretch of a longer list."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some entries, and whether the list goes on after them."""

    entries: list[T]
    more: bool


def cut(entries: Iterable[T], count: int) -> Page[T]:
    """The first `count` entries. A page of none is the end: it has no last entry to go on from."""
    if count == 0:
        return Page([], more=False)
    taken = list(islice(entries, count + 1))
    return Page(taken[:count], more=len(taken) > count)


# Entries and CPU time that one request spends on looking through a list; so many entries are looked
# at in any case.
LOOKED_AT_MAX = 20_000
_LOOKED_AT_MIN = 100
# One collection of garbage may take more than the time. A dear entry takes some milliseconds.
_DEAR_LOOKED_AT_MIN = 5
_SECONDS_MAX = 0.03
_CLOCK_EVERY = 16


class Bounded(Generic[T]):
    """The entries of a list, as far as one request may look at them. Then `rest` has the first
    entry that was not looked at.
    """

    def __init__(
        self, entries: Iterable[T], seconds: float = _SECONDS_MAX, *, are_dear: bool = False
    ) -> None:
        """`are_dear`: entries take so long that the time is looked at after each of them."""
        self._entries = entries
        self._seconds = seconds
        self._every = 1 if are_dear else _CLOCK_EVERY
        self._least = _DEAR_LOOKED_AT_MIN if are_dear else _LOOKED_AT_MIN
        self.rest: list[T] = []

    @property
    def is_cut(self) -> bool:
        return bool(self.rest)

    def __iter__(self) -> Iterator[T]:
        end = time.thread_time() + self._seconds
        for count, entry in enumerate(self._entries):
            if count >= LOOKED_AT_MAX or self._is_late(count, end):
                self.rest = [entry]
                return
            yield entry

    def _is_late(self, count: int, end: float) -> bool:
        if count < self._least or count % self._every:
            return False
        return time.thread_time() > end
