"""Recipes of large layers are read and removed some rows at a time."""

from __future__ import annotations

import pytest

from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    RECIPES,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import damage, recipe_rows, recipes
from dtrfast.store.recipe_rows import ChunkUse, Slice, SliceRow
from dtrfast.store.store import Store
from tests.store.conftest import push
from tests.store.tier.layers import (
    convert,
    keys,
    layer,
    replay_of,
)


@pytest.fixture
def digest(store: Store) -> Digest:
    """A layer that is converted, not evicted."""
    digest = push(store.blobs, layer())
    convert(store)
    return digest


def test_rows_are_read_from_the_bounds_on(store: Store) -> None:
    """Seventy rows of ten bytes."""

    def write(transaction: WriteTransaction) -> None:
        for number in range(70):
            row = SliceRow([ChunkUse(number, 10, 0)], [Slice(0, 10)]).encode()
            transaction.put(RECIPES, number_key(7) + number_key(10 * number), row)

    store.engine.write(write)
    for begin, end in ((0, 700), (0, 1), (9, 10), (10, 11), (95, 300), (690, 700), (699, 1000)):
        found = [offset for offset, _ in recipe_rows.read(store.engine, 7, begin, end)]
        assert found == list(range(begin // 10 * 10, min(end, 700), 10))
    assert len(list(recipe_rows.read(store.engine, 7))) == 70
    assert list(recipe_rows.read(store.engine, 8)) == []


def test_a_look_at_a_segment_reads_its_rows_alone(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_rows, "_ROWS_READ", 1)
    decoded: list[bytes] = []
    known = recipe_rows.known_chunk_ids

    def count(row: bytes) -> list[int]:
        decoded.append(row)
        return known(row)

    def write(transaction: WriteTransaction) -> None:
        _, row = next(iter(transaction.scan(RECIPES, number_key(recipe))))
        for number in range(20):
            transaction.put(RECIPES, number_key(99) + number_key(number * 10), row)

    recipe = replay_of(store, digest).recipe
    store.engine.write(write)
    monkeypatch.setattr(recipe_rows, "known_chunk_ids", count)
    damage.mark_chunks_of(store._context, 99, (50, 70))
    assert len(decoded) == 2
    assert store.statistics().damaged_chunks == 0


@pytest.mark.parametrize(("chunks", "rows"), [(256, 2), (200, 2), (128, 4), (1, 64)])
def test_a_transaction_removes_rows_of_few_chunks(store: Store, chunks: int, rows: int) -> None:
    def write(transaction: WriteTransaction) -> None:
        uses = [ChunkUse(number, 1, 0) for number in range(1, chunks + 1)]
        row = SliceRow(uses, [Slice(index, 1) for index in range(chunks)]).encode()
        for number in range(70):
            transaction.put(RECIPES, number_key(7) + number_key(number), row)

    store.engine.write(write)
    assert store.engine.write(lambda transaction: recipes.remove_slice(transaction, 7))
    assert len(keys(store, RECIPES)) == 70 - rows
    recipes.remove(store.engine, [7])
    assert keys(store, RECIPES) == []
