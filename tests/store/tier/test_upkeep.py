"""Compaction, repair, backup and features of a store with evicted layers."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.backup import snapshot
from dtrfast.backup.create import create_backup
from dtrfast.backup.place import BackupPlace
from dtrfast.backup.restore import restore_backup
from dtrfast.cli import rollback
from dtrfast.config import StoreConfig
from dtrfast.errors import StartRefused
from dtrfast.index.tables import CONTENTS_UNLINKED, PACKS, PACKS_SPARSE, REPLAY_SEGMENTS, number_key
from dtrfast.store import data_directory, packs
from dtrfast.store.records import decode_pack
from dtrfast.store.relocation import Relocation
from dtrfast.store.store import Store
from dtrfast.store.tier import replay_candidates
from tests.fakes.clock import Clock
from tests.store.conftest import files_below, pull, push
from tests.store.holders import drop, holders
from tests.store.test_rebuild import Repair
from tests.store.test_scrub import findings
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    evicted,
    expand,
    keys,
    layer,
    left_over,
    plain_layer,
    replay_of,
    small_layer,
    tidy,
)


# ---- compaction ----------------------------------------------------------------------------------
def move_everything(store: Store) -> None:
    """Move the live bytes of all packs to a new one."""
    relocation = Relocation(store._context, frozenset())
    with store.engine.read() as transaction:
        found = [(key, decode_pack(value)) for key, value in transaction.scan(PACKS)]
    for key, pack in found:
        assert relocation.take(int.from_bytes(key, "big"), pack, packs.HEADER_SIZE) is None
    relocation.finish()
    relocation.close()
    tidy(store)


def test_copies_of_recipes_and_chunks_move_while_readers_read(store: Store) -> None:
    bodies = [layer(), layer(1), plain_layer()]
    digests = evicted(store, *bodies)
    names = set(files_below(store.layout.data, "packs"))
    with store.blobs.open_range(digests[0]) as reader:
        pieces = iter(reader)
        got = next(pieces)
        assert isinstance(got, bytes)
        move_everything(store)
        store.tidy()
        for piece in pieces:
            assert isinstance(piece, bytes)
            got += piece
    assert got == layer()
    after = files_below(store.layout.data, "packs")
    assert len(after) == 1
    assert names.isdisjoint(after)
    for digest, body in zip(digests, bodies, strict=True):
        assert pull(store.blobs, digest) == body
    assert findings(store) == []
    for digest in digests[1:]:
        drop(store.blobs, digest)
    tidy(store)
    assert pull(store.blobs, digests[0]) == layer()
    assert findings(store) == []
    drop(store.blobs, digests[0])
    tidy(store)
    assert left_over(store) == {}


def test_a_pack_of_old_copies_alone_is_compacted(store: Store) -> None:
    """A pack with copies of two recipes, of which one is garbage, gets smaller."""
    digests = evicted(store, layer(), layer(1))
    relocation = Relocation(store._context, frozenset())
    for digest in digests:
        replay = replay_of(store, digest)
        with store.engine.read() as transaction:
            data = transaction.get(PACKS, number_key(replay.pack))
        assert data is not None
        relocation.take(replay.pack, decode_pack(data), packs.HEADER_SIZE)
    relocation.finish()
    relocation.close()
    tidy(store)
    assert replay_of(store, digests[0]).pack == replay_of(store, digests[1]).pack
    drop(store.blobs, digests[1])
    tidy(store)
    number = replay_of(store, digests[0]).pack
    with store.engine.read() as transaction:
        data = transaction.get(PACKS, number_key(number))
    assert data is not None
    pack = decode_pack(data)
    assert pack.live == pack.size - packs.HEADER_SIZE
    assert keys(store, PACKS_SPARSE) == []
    assert findings(store) == []


def test_pulls_during_conversions_evictions_and_compaction(store: Store) -> None:
    bodies = [layer(), layer(1)]
    digests = [push(store.blobs, body) for body in bodies]
    is_over = threading.Event()
    wrong: list[object] = []

    def pull_all() -> None:
        while not is_over.is_set():
            for digest, body in zip(digests, bodies, strict=True):
                try:
                    if pull(store.blobs, digest) != body:
                        wrong.append(digest)
                except Exception as error:
                    wrong.append(error)

    thread = threading.Thread(target=pull_all)
    thread.start()
    try:
        convert(store)
        evict(store)
        move_everything(store)
        expand(store)
        tidy(store)
    finally:
        is_over.set()
        thread.join()
    assert wrong == []
    assert store.statistics().damaged_blobs == 0
    assert findings(store) == []


# ---- repair --------------------------------------------------------------------------------------
@pytest.fixture
def repair(data: Path, clock: Clock) -> Iterator[Repair]:
    repair = Repair(data, clock)
    yield repair
    repair.store.close()


@pytest.mark.parametrize("state", ["converted", "evicted"])
def test_a_repair_makes_recipes_again(repair: Repair, state: str) -> None:
    bodies = [layer(), layer(1, 9), plain_layer(2)]
    digests = [push(repair.store.blobs, body) for body in bodies]
    convert(repair.store)
    if state == "evicted":
        evict(repair.store)
        tidy(repair.store)
    before = repair.store.statistics()
    segments = len(keys(repair.store, REPLAY_SEGMENTS))
    store = repair.run()
    assert repair.told == []
    assert findings(store) == []
    for digest, body in zip(digests, bodies, strict=True):
        assert repair.body(digest) == body
        assert (content_of(store, digest).content.kind == "recreated") == (state == "evicted")
        assert replay_of(store, digest).has_its_frame
    after = store.statistics()
    for name in ("blobs", "recreated_bytes", "converted_blobs", "plain_bytes", "damaged_blobs"):
        assert getattr(after, name) == getattr(before, name), name
    assert len(keys(store, REPLAY_SEGMENTS)) == segments
    tidy(store)
    assert findings(store) == []
    if state == "converted":
        evict(store)
    tidy(store)
    for digest, body in zip(digests, bodies, strict=True):
        assert pull(store.blobs, digest) == body
    expand(store)
    for digest in digests:
        drop(store.blobs, digest)
    tidy(store)
    assert left_over(store) == {}


def test_a_repair_after_compaction_and_with_two_copies(
    repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy whose recipe was dropped lies in its pack until that is freed."""
    monkeypatch.setattr(replay_candidates, "STEP_MAX", 2)  # rows of the other copy are more
    (digest,) = evicted(repair.store, layer())
    expand(repair.store)
    convert(repair.store)
    evict(repair.store)
    store = repair.run()
    assert repair.told == []
    assert findings(store) == []
    move_everything(store)
    assert pull(store.blobs, digest) == layer()
    assert repair.run().statistics().converted_blobs == 1
    assert repair.told == []
    assert repair.body(digest) == layer()
    assert findings(repair.store) == []


@pytest.mark.parametrize("lost", ["chunks", "copy"])
def test_a_repair_without_chunks_or_copy(repair: Repair, lost: str) -> None:
    (digest,) = evicted(repair.store, small_layer())
    chunks, copy = repair.packs()
    (chunks if lost == "chunks" else copy).unlink()
    store = repair.run()
    assert repair.told == ([f"chunks of {digest} are gone"] if lost == "chunks" else [])
    assert repair.body(digest) is None
    assert findings(store) == []
    tidy(store)
    assert left_over(store) == {}


def test_a_torn_copy_is_no_recipe(repair: Repair) -> None:
    (digest,) = evicted(repair.store, small_layer())
    with repair.store.engine.read() as transaction:
        packed = {int.from_bytes(key, "big"): decode_pack(v) for key, v in transaction.scan(PACKS)}
    pack = packed[replay_of(repair.store, digest).pack]
    path = repair.store.layout.pack(pack.file_id)
    os.truncate(path, pack.size - 1)
    store = repair.run()
    assert any("torn" in told for told in repair.told)
    assert repair.body(digest) is None
    assert findings(store) == []
    tidy(store)
    assert left_over(store) == {}


# ---- backup --------------------------------------------------------------------------------------
def ignore(done: int, total: int) -> None:
    return None


def test_a_backup_keeps_evicted_layers(store: Store, tmp_path: Path, clock: Clock) -> None:
    bodies = [layer(), layer(1, 9), plain_layer()]
    digests = evicted(store, *bodies)
    whole = push(store.blobs, layer(2))
    convert(store)
    place = BackupPlace(str(tmp_path / "backups"))
    create_backup(store, place, ignore)
    chosen = snapshot.choose(place, None, print, lambda found: None)
    assert chosen.format == snapshot.FORMAT_TIER, "older versions restore no recipes"
    told: list[str] = []
    again = tmp_path / "again"
    restore_backup(place, again, ignore, told.append, until=None)
    assert told == []
    copy = Store.open(again, StoreConfig(), clock=clock)
    try:
        holders(copy.blobs).held |= holders(store.blobs).held
        assert Store.read_features(again).has_tier, "the restored index has recipes"
        for digest, body in zip([*digests, whole], [*bodies, layer(2)], strict=True):
            assert pull(copy.blobs, digest) == body
        assert content_of(copy, whole).content.kind == "loose"
        # A restore lists content without a link, and these tests have no links in the index.
        listed = keys(copy, CONTENTS_UNLINKED)
        copy.engine.write(lambda transaction: transaction.delete_all(CONTENTS_UNLINKED, listed))
        assert findings(copy) == []
        before, after = store.statistics(), copy.statistics()
        for name in ("recreated_bytes", "converted_blobs", "plain_bytes", "chunks", "pack_bytes"):
            assert getattr(before, name) == getattr(after, name), name
        assert expand(copy).layers == 4
        for digest, body in zip([*digests, whole], [*bodies, layer(2)], strict=True):
            assert pull(copy.blobs, digest) == body
    finally:
        copy.close()


# ---- features ------------------------------------------------------------------------------------
def has_tier(store: Store) -> bool:
    return Store.read_features(store.layout.data).has_tier


def test_the_feature_comes_with_a_conversion_and_goes_with_an_expansion(
    store: Store, clock: Clock
) -> None:
    assert not has_tier(store)
    convert(store)
    assert has_tier(store)
    expand(store)
    assert not has_tier(store), "nothing was converted"
    features = Store.read_features(store.layout.data)
    digest = push(store.blobs, layer())
    convert(store)
    evict(store)
    assert has_tier(store)
    Store.write_features(store.layout.data, features)
    store.close()
    again = Store.open(store.layout.data, StoreConfig(), clock=clock)
    try:
        assert has_tier(again), "an index with recipes sets it"
        expand(again)
        assert Store.read_features(store.layout.data) == features
        assert pull(again.blobs, digest) == layer()
    finally:
        again.close()
        store.engine = again.engine


def test_an_expansion_beside_a_conversion_does_not_take_the_feature_away(store: Store) -> None:
    for number in range(2):
        push(store.blobs, layer(number))
    steps = store.convert_layers(store.tier_run(), None, with_first=True)
    next(steps)
    expand(store)
    list(steps)
    assert keys(store, REPLAY_SEGMENTS)
    assert has_tier(store)


def test_a_version_without_the_tier_does_not_open_the_store(store: Store) -> None:
    convert(store)
    record = json.loads((store.layout.data / "format").read_text())
    assert "tier" in record["features"]["incompatible"]
    assert data_directory.read_features(store.layout).unknown() == []


def test_a_rollback_asks_for_an_expansion(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    push(store.blobs, layer())
    convert(store)
    store.close()
    try:
        with pytest.raises(StartRefused, match="tier expand"):
            rollback.rollback(data=str(store.layout.data))
    finally:
        reopened = Store.open(store.layout.data, StoreConfig(), clock=clock)
        expand(reopened)
        reopened.close()
    assert not has_tier(store)
