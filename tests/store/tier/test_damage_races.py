"""Marks of damage beside evictions, reclaim and compaction, and errors of the disk that pass."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import Any

import msgspec
import pytest

from dtrfast.errors import BlobUnknown, Corrupt
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CHUNKS,
    CONTENTS_UNLINKED,
    REPLAYS,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import checking, damage, recipes
from dtrfast.store.blobs import BlobStat
from dtrfast.store.content_reader import open_content
from dtrfast.store.records import Chunk
from dtrfast.store.store import Store
from tests.store.conftest import pull, push
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    expand,
    keys,
    layer,
    replay_of,
)
from tests.store.tier.test_tier_damage import chunks_of


@pytest.fixture
def digest(store: Store) -> Digest:
    """A layer that is converted, not evicted."""
    digest = push(store.blobs, layer())
    convert(store)
    return digest


def test_a_chunk_that_is_damaged_during_an_eviction_keeps_the_original(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scrub marks a chunk, and traces it, after the eviction has looked at it."""
    number, _ = chunks_of(store)[0]
    rows = recipes.rows

    def mark_behind(*arguments: Any) -> Iterator[bytes]:
        yield from rows(*arguments)
        monkeypatch.setattr(recipes, "rows", rows)
        damage.mark_chunk(store._context, number, "a test")
        assert store.trace_damage() == 0

    monkeypatch.setattr(recipes, "rows", mark_behind)
    assert evict(store).layers == 0
    assert content_of(store, digest).content.kind == "loose"
    assert pull(store.blobs, digest) == layer()
    assert store.statistics().converted_blobs == 0, "its recipe is dropped"


def test_an_eviction_goes_on_after_a_mark_on_another_chunk(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = push(store.blobs, b"the same again and again " * 20_000)
    number = max(number for number, _ in chunks_of(store))
    rows = recipes.rows

    def mark_behind(*arguments: Any) -> Iterator[bytes]:
        yield from rows(*arguments)
        monkeypatch.setattr(recipes, "rows", rows)
        damage.mark_chunk(store._context, number, "a test")

    monkeypatch.setattr(recipes, "rows", mark_behind)
    assert evict(store).layers == 1
    assert pull(store.blobs, digest) == layer()
    assert store.trace_damage() == 1
    with pytest.raises(BlobUnknown):
        store.blobs.stat(other)


def test_a_recipe_is_not_dropped_if_another_program_evicts_meanwhile(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, _ = chunks_of(store)[0]
    rows = recipes.rows

    def evict_first(*arguments: Any) -> Iterator[bytes]:
        monkeypatch.setattr(recipes, "rows", rows)
        assert evict(store).layers == 1
        damage.mark_chunk(store._context, number, "a test")
        return rows(*arguments)

    monkeypatch.setattr(recipes, "rows", evict_first)
    assert evict(store).layers == 0
    assert len(keys(store, REPLAYS)) == 1
    damage.clear_chunk(store._context, number)
    assert pull(store.blobs, digest) == layer()


def test_an_error_of_the_disk_that_passes_is_no_damage(
    store: Store,
    digest: Digest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first look of a scrub at an evicted layer fails, the second does not."""
    evict(store)
    read = store._context.chunk_files.read
    failures = 1

    def fail(place: Chunk) -> bytes:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Corrupt("a test")
        return read(place)

    monkeypatch.setattr(store._context.chunk_files, "read", fail)
    with caplog.at_level(logging.ERROR):
        sum(store.check_contents())
    assert failures < 0
    assert store.statistics().damaged_blobs == 0
    assert caplog.messages == []
    assert pull(store.blobs, digest) == layer()


def test_a_chunk_that_moves_during_the_look_at_it_is_no_damage(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store._context.chunk_files.read
    number, place = chunks_of(store)[0]
    gone = msgspec.structs.replace(place, pack=1000)
    store.engine.write(lambda t: t.put(CHUNKS, number_key(number), gone.encode()))

    def move(wanted: Chunk) -> bytes:
        if wanted.pack == 1000:
            store.engine.write(lambda t: t.put(CHUNKS, number_key(number), place.encode()))
        return read(wanted)

    monkeypatch.setattr(store._context.chunk_files, "read", move)
    damage.mark_chunks_of(store._context, replay_of(store, digest).recipe)
    assert store.statistics().damaged_chunks == 0


@pytest.mark.parametrize("has_record", [True, False])
def test_a_pull_of_a_layer_that_is_being_freed_marks_no_damage(
    store: Store, digest: Digest, caplog: pytest.LogCaptureFixture, has_record: bool
) -> None:
    """Its names are gone, and its rows go one after the other."""
    evict(store)
    found = content_of(store, digest)
    reader = store.blobs.open_range(digest)
    replay, key = replay_of(store, digest), number_key(found.number)

    def take_names(transaction: WriteTransaction) -> None:
        transaction.delete(BLOBS, digest.key())
        transaction.put(CONTENTS_UNLINKED, key, number_key(0))
        if not has_record:
            transaction.delete(REPLAYS, key)
        recipes.remove_slice(transaction, replay.recipe)

    store.engine.write(take_names)
    with reader, pytest.raises(Corrupt):
        for _ in reader:
            pass
    stat = BlobStat(digest, found.content.size)
    if not has_record:
        with pytest.raises(Corrupt):
            open_content(store._context, stat, found, (0, stat.size))
    assert damage.mark_content(store._context, found.number, "a test") is False
    assert store.statistics().damaged_blobs == 0
    assert "is damaged" not in caplog.text


def test_a_layer_that_is_expanded_after_a_look_at_it_is_not_marked(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    evict(store)
    number = content_of(store, digest).number
    look = checking._fault

    def expand_behind(*arguments: Any, **options: Any) -> Generator[int, None, str]:
        yield from look(*arguments, **options)
        if options["marks_damage"]:
            expand(store)
        return "a test"

    monkeypatch.setattr(checking, "_fault", expand_behind)
    sum(checking.check_content(store._context, number))
    assert store.statistics().damaged_blobs == 0
    assert pull(store.blobs, digest) == layer()
