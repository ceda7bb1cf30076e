"""The space of blobs that share chunks with other blobs."""

from __future__ import annotations

import random

from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import IsHeld
from dtrfast.store.store import Store
from tests.store.conftest import push
from tests.store.holders import OTHER

SIZE = 3_000_000


def keeping(*digests: Digest) -> IsHeld:
    """Return an `IsHeld` for which only these digests are held."""
    return lambda contents: [not {*names}.isdisjoint(digests) for names in contents]


def test_alone_nothing_tells_that_others_have_the_same_chunks(store: Store) -> None:
    shared = random.Random(1).randbytes(SIZE)
    mine = push(store.blobs, shared + b"mine" * 1000)
    before = store.blobs.measure([mine], keeping(), is_alone=True)
    push(store.blobs, shared + b"theirs" * 1000, OTHER)
    exact = store.blobs.measure([mine], keeping())
    assert exact.unique < exact.stored / 4, "most chunks are the other's as well"
    assert store.blobs.measure([mine], keeping(), is_alone=True) == before
    assert before.unique == before.stored


def test_alone_what_stays_keeps_its_chunks(store: Store) -> None:
    shared = random.Random(2).randbytes(SIZE)
    goes, stays = (push(store.blobs, shared + end * 1000) for end in (b"goes", b"stays"))
    found = store.blobs.measure([goes, stays], keeping(stays), is_alone=True)
    assert found.unique < found.stored / 4


def test_a_measurement_ends_after_so_many_steps(store: Store) -> None:
    blobs = [push(store.blobs, random.Random(number).randbytes(SIZE)) for number in range(2)]
    whole = store.blobs.measure(blobs, keeping(), steps_max=10_000)
    assert whole == store.blobs.measure(blobs, keeping())
    assert whole.is_whole
    for steps_max in (3, 7, 20):
        part = store.blobs.measure(blobs, keeping(), steps_max=steps_max)
        assert not part.is_whole
        assert part.stored < whole.stored
        assert part.unique <= part.stored
