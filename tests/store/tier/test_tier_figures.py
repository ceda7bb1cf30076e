"""Exact numbers about converted and evicted layers: space, savings, and what verify counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.tables import (
    CHUNKS,
    CONTENTS,
    LAYERS,
    PACKS,
    RECIPES,
    REPLAY_CONTENTS,
    REPLAY_SEGMENTS,
    REPLAYS,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import statistics
from dtrfast.store.blobs import Usage
from dtrfast.store.records import decode_content, decode_pack
from dtrfast.store.store import Store
from dtrfast.store.tier import eviction
from tests.store.conftest import pull, push
from tests.store.holders import drop, release
from tests.store.test_scrub import findings
from tests.store.test_usage import keeping
from tests.store.tier.layers import (
    convert,
    evict,
    expand,
    layer,
    left_over,
    plain_layer,
    replay_of,
    small_layer,
    tidy,
)


def used(store: Store) -> int:
    """Return the bytes that contents take: whole files, and live bytes of packs."""
    with store.engine.read() as transaction:
        live = sum(decode_pack(value).live for _, value in transaction.scan(PACKS))
        stored = sum(decode_content(value).stored for _, value in transaction.scan(CONTENTS))
    return live + stored


def freed_by(store: Store, *digests: Digest) -> int:
    """Free contents; return the bytes that they took."""
    before = used(store)
    for digest in digests:
        drop(store.blobs, digest)
    release(store.blobs)
    return before - used(store)


def prepared(store: Store, state: str) -> list[Digest]:
    """Push two versions and an uncompressed one, which share chunks, in a state of the tier."""
    digests = [push(store.blobs, body) for body in (layer(), layer(1, 9), plain_layer())]
    if state != "whole":
        assert convert(store).layers == 3
    if state == "evicted":
        assert evict(store).layers == 3
    tidy(store)
    return digests


STATES = ["whole", "converted", "evicted"]


@pytest.mark.parametrize("state", STATES)
def test_a_measurement_says_what_reclaim_frees(store: Store, state: str) -> None:
    digests = prepared(store, state)
    everything = store.blobs.measure(digests, keeping())
    assert everything.unique == everything.stored == used(store)
    assert everything.size == len(layer()) + len(layer(1, 9)) + len(plain_layer())
    alone = store.blobs.measure(digests, keeping(), is_alone=True)
    assert alone == everything
    held = set(digests)
    for digest in digests:
        found: Usage = store.blobs.measure([digest], keeping(*(held - {digest})))
        assert found.is_whole
        # What others hold is measured, too: chunks that they share stay.
        among = store.blobs.measure(digests, keeping(*(held - {digest})))
        assert among.unique == found.unique
        held.discard(digest)
        assert freed_by(store, digest) == found.unique, digest
    tidy(store)
    assert left_over(store) == {}


@pytest.mark.parametrize("state", STATES)
def test_a_measurement_of_two_that_share_chunks(store: Store, state: str) -> None:
    one, two, plain = prepared(store, state)
    both = store.blobs.measure([one, two], keeping(plain))
    each = [store.blobs.measure([digest], keeping(plain)) for digest in (one, two)]
    assert both.unique >= sum(one.unique for one in each)
    assert freed_by(store, one, two) == both.unique
    assert pull(store.blobs, plain) == plain_layer()
    assert findings(store) == []


def test_steps_of_a_measurement_count_chunks_of_recipes(store: Store) -> None:
    digests = prepared(store, "evicted")
    assert not store.blobs.measure(digests, keeping(), steps_max=20).is_whole
    assert store.blobs.measure(digests, keeping(), steps_max=10_000).is_whole


@pytest.mark.parametrize("state", STATES)
def test_savings_add_up_to_the_bytes_on_disk(store: Store, state: str) -> None:
    digests = prepared(store, state)
    linked = 2 * sum(store.blobs.stat(digest).size for digest in digests)
    counts = store.statistics()
    saved = counts.savings(linked)
    savings = (saved.equal_blobs_bytes, saved.equal_chunks_bytes, saved.compression_bytes)
    assert linked - sum(savings) + saved.overhead_bytes == counts.stored_bytes
    assert saved.equal_blobs_bytes == linked // 2
    assert counts.blobs == 3
    if state == "evicted":
        assert counts.loose_bytes == 0
        # Three layers for the space of little more than one.
        assert counts.stored_bytes < 1.3 * len(layer())
        assert saved.overhead_bytes == 0
        assert counts.plain_bytes == sum(
            len(body) for body in (plain_layer(), plain_layer(1, 9), plain_layer())
        )


def test_savings_of_one_evicted_layer(store: Store) -> None:
    digest = push(store.blobs, layer())
    convert(store)
    evict(store)
    tidy(store)
    counts = store.statistics()
    saved = counts.savings(len(layer()))
    assert saved.equal_blobs_bytes == saved.equal_chunks_bytes == 0
    assert len(layer()) - saved.compression_bytes + saved.overhead_bytes == counts.stored_bytes
    assert min(saved.compression_bytes, saved.overhead_bytes) == 0
    assert store.blobs.measure([digest], keeping()).stored == used(store)


@pytest.mark.parametrize("kind", ["gzip", "uncompressed"])
def test_counts_stay_exact_over_a_life(store: Store, kind: str) -> None:
    body = layer() if kind == "gzip" else plain_layer()
    digest = push(store.blobs, body)
    before = store.statistics()
    for _ in range(2):
        convert(store)
        assert findings(store) == []
        evict(store)
        assert findings(store) == []
        counts = store.statistics()
        assert (counts.recreated_blobs, counts.recreated_bytes) == (1, len(body))
        assert (counts.loose_blobs, counts.chunked_blobs, counts.converted_blobs) == (0, 0, 1)
        expand(store)
        assert findings(store) == []
    tidy(store)
    after = store.statistics()
    assert (after.loose_blobs, after.loose_bytes) == (1, len(body))
    assert (after.chunks, after.pack_bytes, after.converted_blobs, after.plain_bytes) == (
        (0, 0, 0, 0)
    )
    assert after.blobs == before.blobs
    assert pull(store.blobs, digest) == body


# ---- verify --------------------------------------------------------------------------------------
Work = Callable[[WriteTransaction], object]


def first(transaction: WriteTransaction, table: Table) -> tuple[bytes, bytes]:
    return next(iter(transaction.scan(table, limit=1)))


def lose(table: Table) -> Work:
    return lambda transaction: transaction.delete(table, first(transaction, table)[0])


def stray(table: Table) -> Work:
    """Copy a row to a number that nothing has."""

    def copy(transaction: WriteTransaction) -> None:
        key, value = first(transaction, table)
        transaction.put(table, number_key(999) + key[8:], value)

    return copy


WRONG: dict[str, Work] = {
    "no replay recipe": lose(REPLAYS),
    "no plain recipe": lose(RECIPES),
    "no segment": lose(REPLAY_SEGMENTS),
    "no way to the content": lose(REPLAY_CONTENTS),
    "no chunk": lose(CHUNKS),
    "no content": lose(CONTENTS),
    "a stray replay recipe": stray(REPLAYS),
    "a stray plain recipe": stray(RECIPES),
    "a stray segment": stray(REPLAY_SEGMENTS),
    "a stray way to a content": stray(REPLAY_CONTENTS),
    "a stray verdict": stray(LAYERS),
    "wrong counts of converted": lambda t: statistics.add(t, converted_blobs=1),
    "wrong counts of evicted": lambda t: statistics.add(t, recreated_bytes=1),
    "wrong plain bytes": lambda t: statistics.add(t, plain_bytes=-1),
}


@pytest.mark.parametrize("state", ["converted", "evicted"])
def test_verify_finds_rows_that_do_not_fit(store: Store, state: str) -> None:
    push(store.blobs, small_layer())
    convert(store)
    if state == "evicted":
        evict(store)
    tidy(store)

    assert findings(store) == []
    for what, work in WRONG.items():
        if state == "converted" and what == "no plain recipe":
            continue  # the first row of all is the file's
        saved = _rows(store)
        store.engine.write(work)
        assert findings(store), what
        _put_back(store, saved)
        assert findings(store) == [], what


Rows = dict[Table, dict[bytes, bytes]]
_CHANGED = (CHUNKS, CONTENTS, LAYERS, RECIPES, REPLAYS, REPLAY_CONTENTS, REPLAY_SEGMENTS)


def _rows(store: Store) -> tuple[Rows, statistics.StoreStatistics]:
    with store.engine.read() as transaction:
        rows = {table: dict(transaction.scan(table)) for table in _CHANGED}
        return rows, statistics.read(transaction)


def _put_back(store: Store, saved: tuple[Rows, statistics.StoreStatistics]) -> None:
    rows, counts = saved

    def write(transaction: WriteTransaction) -> None:
        for table, had in rows.items():
            for key, _ in list(transaction.scan(table)):
                transaction.delete(table, key)
            for key, value in had.items():
                transaction.put(table, key, value)
        now = statistics.read(transaction)
        names = statistics.StoreStatistics.__dataclass_fields__
        statistics.add(
            transaction, **{name: getattr(counts, name) - getattr(now, name) for name in names}
        )

    store.engine.write(write)


def test_verify_during_a_conversion_and_an_eviction(store: Store) -> None:
    push(store.blobs, layer())
    push(store.blobs, plain_layer())
    steps = store.convert_layers(store.tier_run(), None, with_first=True)
    for _ in itertools.islice(steps, 6):
        assert findings(store) == []
    list(steps)
    for _ in store.tier_run().evict(None, pushed_before=None):
        assert findings(store) == []


def test_the_figures_of_the_tier(store: Store) -> None:
    digests = prepared(store, "converted")
    assert eviction.evict(store._context, 12345) == 0
    evict(store, digests[:1])
    found = {(one.state, one.encoder): (one.layers, one.bytes) for one in store.tier_figures()}
    assert found == {
        ("evicted", "zlib"): (1, len(layer())),
        ("converted", "zlib"): (1, len(layer(1, 9))),
        ("converted", "uncompressed"): (1, len(plain_layer())),
    }
    assert replay_of(store, digests[0]).plain_size == len(plain_layer())
