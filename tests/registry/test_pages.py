"""Lists of which one request reads only a part."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dtrfast.registry.pages import BoundedScan


def _slowly(count: int) -> Iterator[int]:
    """Yield numbers. The first one takes longer than the time of a request."""
    end = time.thread_time() + 0.002
    while time.thread_time() < end:
        pass
    yield from range(count)


@pytest.mark.parametrize(("are_dear", "least"), [(True, 5), (False, 100)])
def test_a_pause_at_the_first_entry_does_not_end_a_short_list(are_dear: bool, least: int) -> None:
    short = BoundedScan(_slowly(least), 0.001, are_dear=are_dear)
    assert (list(short), short.is_cut) == (list(range(least)), False)


def test_a_list_ends_after_its_time_and_tells_where() -> None:
    long = BoundedScan(_slowly(10_000), 0.001, are_dear=True)
    assert (list(long), long.rest) == ([0, 1, 2, 3, 4], [5])
    many = BoundedScan(range(30_000), 60.0)
    assert (len(list(many)), many.rest) == (20_000, [20_000])
