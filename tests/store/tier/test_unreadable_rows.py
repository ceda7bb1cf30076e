"""Rows of the tier that cannot be read: damaged ones, and those of a newer version."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from dtrfast.errors import BlobUnknown, Corrupt, FormatUnknown
from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.tables import (
    LAYERS,
    RECIPES,
    REPLAY_SEGMENTS,
    REPLAYS,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import damage, recipe_rows
from dtrfast.store.store import Store
from tests.store.conftest import pull, push
from tests.store.test_scrub import findings
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    expand,
    keys,
    layer,
    left_over,
    replay_of,
    small_layer,
    tidy,
)
from tests.store.tier.test_tier_damage import chunks_of, received, spoil_chunk

TABLES = {"a replay recipe": REPLAYS, "a segment": REPLAY_SEGMENTS, "slices": RECIPES}


@pytest.fixture(autouse=True)
def _several_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_rows, "PLAIN_SIZE_MAX", 1 << 17)


@pytest.fixture
def digest(store: Store) -> Digest:
    """A layer that is converted, not evicted."""
    digest = push(store.blobs, layer())
    convert(store)
    return digest


def change_row(
    store: Store, digest: Digest, table: Table, change: Callable[[bytes], bytes]
) -> None:
    """Replace the last row that the layer's replay recipe has in a table."""
    number = content_of(store, digest).number
    prefix = number_key(number if table is REPLAYS else replay_of(store, digest).recipe)

    def write(transaction: WriteTransaction) -> None:
        key, value = next(iter(transaction.scan(table, prefix, limit=1, reverse=True)))
        transaction.put(table, key, change(value))

    store.engine.write(write)


def tear(row: bytes) -> bytes:
    """Cut the second half off, so that the row cannot be read."""
    return row[: min(len(row) // 2, 20)]


def make_newer(row: bytes) -> bytes:
    """Give a row the version 2, as a newer dtrfast would."""
    return row[:1] + b"\2" + row[2:] if row[:1] != b"\1" else b"\2" + row[1:]


@pytest.mark.parametrize("kind", TABLES)
def test_a_pull_marks_a_layer_with_a_damaged_row_and_a_push_heals_it(
    store: Store, digest: Digest, kind: str
) -> None:
    evict(store)
    tidy(store)
    change_row(store, digest, TABLES[kind], tear)
    if kind == "a replay recipe":
        with pytest.raises(Corrupt, match="push it again"):
            store.blobs.open_range(digest)
    else:
        assert len(received(store, digest)) < len(layer())
    with pytest.raises(BlobUnknown, match="damaged"):
        store.blobs.stat(digest)
    assert store.statistics().damaged_blobs == 1
    assert push(store.blobs, layer()) == digest
    assert pull(store.blobs, digest) == layer()
    tidy(store)
    counts = store.statistics()
    assert (counts.damaged_blobs, counts.converted_blobs) == (0, 0)
    rest = left_over(store)
    rest = {name: rest.get(name, 0) for name in ("contents", "damages", "replays")}
    assert rest == {"contents": 1, "damages": 0, "replays": 0}, "the damaged content is freed"
    assert keys(store, REPLAY_SEGMENTS) == []
    assert len(keys(store, RECIPES)) == 1


def test_the_chunks_of_other_rows_are_looked_at(store: Store, digest: Digest) -> None:
    evict(store)
    change_row(store, digest, RECIPES, tear)
    _, place = chunks_of(store)[0]
    spoil_chunk(store, place)
    damage.mark_chunks_of(store._context, replay_of(store, digest).recipe)
    assert store.statistics().damaged_chunks == 1


@pytest.mark.parametrize("kind", TABLES)
def test_verify_and_scrub_go_on_behind_a_damaged_row(
    store: Store, digest: Digest, kind: str
) -> None:
    other = push(store.blobs, layer(1))
    convert(store)
    evict(store)
    tidy(store)
    change_row(store, digest, TABLES[kind], tear)
    number = number_key(content_of(store, other).number)
    store.engine.write(lambda transaction: transaction.delete(REPLAYS, number))
    found = findings(store)
    assert any("cannot be" in one for one in found), found
    assert f"the replay recipe of {other} is gone" in found, "it goes on"
    sum(store.check_contents())
    assert store.statistics().damaged_blobs == 2


def test_trace_skips_damaged_rows(store: Store, digest: Digest) -> None:
    evict(store)
    other = push(store.blobs, small_layer())
    convert(store, [other])
    change_row(store, other, RECIPES, tear)
    number, _ = chunks_of(store)[0]
    damage.mark_chunk(store._context, number, "a test")
    assert store.trace_damage() == 1
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digest)


@pytest.mark.parametrize("kind", TABLES)
def test_a_converted_layer_with_a_damaged_row_is_not_evicted(
    store: Store, digest: Digest, kind: str
) -> None:
    change_row(store, digest, TABLES[kind], tear)
    if kind != "a segment":
        assert evict(store).layers == 0
        assert store.statistics().converted_blobs == 0
    assert expand(store).failed == []
    assert pull(store.blobs, digest) == layer()
    assert not Store.read_features(store.layout.data).has_tier
    assert store.statistics().damaged_blobs == 0


def put_layer(transaction: WriteTransaction, key: bytes, value: bytes) -> None:
    transaction.put(LAYERS, key, value)


@pytest.mark.parametrize("value", [b"\xc1", b"\x95\2\1\xa0\1\1", b"", None])
def test_a_verdict_that_cannot_be_read_counts_as_missing(
    store: Store, digest: Digest, value: bytes | None
) -> None:
    other = push(store.blobs, layer(1))
    for one in (digest, other):
        key = number_key(content_of(store, one).number)
        with store.engine.read() as transaction:
            good = transaction.get(LAYERS, key) or b""
        bad = good[:-16] + b"\xa0" if value is None else value
        store.engine.write(partial(put_layer, key=key, value=bad))
    assert convert(store, with_first=False).layers + convert(store).layers == 1
    assert evict(store).layers == 2
    assert expand(store).layers == 2


@pytest.mark.parametrize("kind", TABLES)
def test_a_row_of_a_newer_version_is_no_damage(store: Store, digest: Digest, kind: str) -> None:
    evict(store)
    old: list[bytes] = []

    def change(row: bytes) -> bytes:
        old.append(row)
        return make_newer(row)

    change_row(store, digest, TABLES[kind], change)
    with pytest.raises(FormatUnknown, match="run a newer dtrfast"):
        pull(store.blobs, digest)
    sum(store.check_contents())
    assert any("run a newer dtrfast" in one for one in findings(store))
    assert store.statistics().damaged_blobs == 0
    # The newer version reads the row.
    with store.engine.read() as transaction:
        table = TABLES[kind]
        (newer,) = (key for key, row in transaction.scan(table) if row == make_newer(old[0]))

    def put(transaction: WriteTransaction) -> None:
        transaction.put(table, newer, old[0])

    store.engine.write(put)
    assert pull(store.blobs, digest) == layer()


def test_a_converted_layer_of_a_newer_version_is_not_evicted(store: Store, digest: Digest) -> None:
    change_row(store, digest, REPLAYS, make_newer)
    assert evict(store).layers == 0
    assert len(keys(store, REPLAYS)) == 1
    assert pull(store.blobs, digest) == layer()
