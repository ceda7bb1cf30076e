"""What blobs take where they share chunks with others."""

from __future__ import annotations

import random

from dtrfast.store.store import Store
from tests.store.conftest import OTHER, REPOSITORY, push

SIZE = 3_000_000


def test_alone_nothing_tells_that_others_have_the_same_chunks(store: Store) -> None:
    shared = random.Random(1).randbytes(SIZE)
    mine = push(store.blobs, shared + b"mine" * 1000)
    before = store.blobs.measure([mine], {REPOSITORY}, frozenset(), is_alone=True)
    push(store.blobs, shared + b"theirs" * 1000, OTHER)
    exact = store.blobs.measure([mine], {REPOSITORY}, frozenset())
    assert exact.unique < exact.stored / 4, "most chunks are the other's as well"
    assert store.blobs.measure([mine], {REPOSITORY}, frozenset(), is_alone=True) == before
    assert before.unique == before.stored


def test_alone_what_stays_keeps_its_chunks(store: Store) -> None:
    shared = random.Random(2).randbytes(SIZE)
    goes, stays = (push(store.blobs, shared + end * 1000) for end in (b"goes", b"stays"))
    found = store.blobs.measure([goes, stays], {REPOSITORY}, {stays}, is_alone=True)
    assert found.unique < found.stored / 4


def test_a_measurement_ends_after_so_many_steps(store: Store) -> None:
    blobs = [push(store.blobs, random.Random(number).randbytes(SIZE)) for number in range(2)]
    whole = store.blobs.measure(blobs, {REPOSITORY}, frozenset(), steps_max=10_000)
    assert whole == store.blobs.measure(blobs, {REPOSITORY}, frozenset())
    assert whole.is_whole
    for steps_max in (3, 7, 20):
        part = store.blobs.measure(blobs, {REPOSITORY}, frozenset(), steps_max=steps_max)
        assert not part.is_whole
        assert part.stored < whole.stored
        assert part.unique <= part.stored
