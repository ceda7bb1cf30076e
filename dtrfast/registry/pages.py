"""A stretch of a longer list."""

from __future__ import annotations

from collections.abc import Iterable
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
