"""Runs of the tier over layers of which some cannot be worked on."""

from __future__ import annotations

import errno
import itertools
from typing import Any

import pytest

from dtrfast.errors import StorageFailed, StorageFull
from dtrfast.index.tables import CONTENTS, RECIPES, number_key
from dtrfast.machine.space import DiskSpace
from dtrfast.oci.digests import Digest
from dtrfast.store import damage, rebuild, recipe_rows, space
from dtrfast.store.blobs import BlobStat
from dtrfast.store.claims import ContentClaim
from dtrfast.store.local_reader import LocalReader
from dtrfast.store.new_pack import NewPack
from dtrfast.store.store import Store
from dtrfast.store.tier import analysis, candidates, groups
from dtrfast.store.tier import run as runs
from dtrfast.store.tier.original import Original
from tests.store.conftest import digest_of, pull, push
from tests.store.holders import drop, release
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    expand,
    layer,
    plain_layer,
    replay_of,
    tidy,
)
from tests.store.tier.test_tier_damage import change_replay, chunks_of


# ---- the choice ----------------------------------------------------------------------------------
def test_uncompressed_layers_that_share_their_chunks_gain_nothing(store: Store) -> None:
    for number in range(3):
        push(store.blobs, plain_layer(number))
    result = convert(store, with_first=False)
    assert (result.layers, result.kept) == (0, {groups.SMALL_GAIN: 3})


@pytest.mark.parametrize("state", ["whole", "evicted"])
def test_an_uncompressed_layer_gains_beside_a_compressed_one(store: Store, state: str) -> None:
    push(store.blobs, plain_layer())
    if state == "evicted":
        convert(store)
        evict(store)
        tidy(store)
    push(store.blobs, layer())
    assert convert(store, with_first=False).layers == (2 if state == "whole" else 1)


def test_verdicts_have_the_space_of_shared_chunks(store: Store) -> None:
    """The layer that wrote the chunks may be deleted."""
    digests = [push(store.blobs, layer(number)) for number in range(2)]
    convert(store)
    stored = {
        int.from_bytes(chunk.hash[:8], "little"): chunk.stored for _, chunk in chunks_of(store)
    }
    for digest in digests:
        one = candidates.load(store._context, content_of(store, digest).number)
        assert one is not None
        assert one.layer is not None
        assert {chunk.hash: chunk.stored for chunk in one.layer.sampled()}.items() <= stored.items()


# ---- layers that cannot be read ------------------------------------------------------------------
def bad_sector(monkeypatch: pytest.MonkeyPatch, digest: Digest, number: int) -> None:
    """Let reads of a content fail with an error number."""
    init = LocalReader.__init__

    def fail(self: LocalReader, context: Any, stat: BlobStat, *arguments: Any) -> None:
        if stat.digest == digest:
            raise StorageFailed("disk operation failed") from OSError(number, "failed")
        init(self, context, stat, *arguments)

    monkeypatch.setattr(LocalReader, "__init__", fail)


@pytest.mark.parametrize("with_first", [True, False])
def test_a_bad_sector_stops_no_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, with_first: bool
) -> None:
    digests = [push(store.blobs, layer(number)) for number in range(3)]
    bad_sector(monkeypatch, digests[0], errno.EIO)
    result = convert(store, with_first=with_first)
    assert [digest for digest, _ in result.failed] == digests[:1]
    assert result.layers == 2
    bad_sector(monkeypatch, digests[0], errno.EMFILE)
    with pytest.raises(StorageFailed):
        convert(store, with_first=with_first)


def test_a_disk_that_cannot_be_written_ends_a_run(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All layers would fail, each after much work."""
    for number in range(2):
        push(store.blobs, layer(number))

    def fail(self: NewPack) -> None:
        raise StorageFailed("disk operation failed") from OSError(errno.EIO, "failed")

    monkeypatch.setattr(NewPack, "sync", fail)
    work = store.tier_run()
    with pytest.raises(StorageFailed):
        list(store.convert_layers(work, None, with_first=True))
    assert work.result.failed == []


def test_an_eviction_goes_on_behind_a_recipe_that_cannot_be_read(store: Store) -> None:
    digests = [push(store.blobs, layer(number)) for number in range(2)]
    convert(store)
    key = replay_of(store, digests[0]).recipe.to_bytes(8, "big")

    def spoil(transaction: Any) -> None:
        row, value = next(iter(transaction.scan(RECIPES, key, limit=1)))
        transaction.put(RECIPES, row, value[:2] + b"\x09" + value[3:])

    store.engine.write(spoil)
    result = evict(store)
    assert (result.layers, [digest for digest, _ in result.failed]) == (1, digests[:1])


def test_an_expansion_goes_on_behind_an_unknown_encoder(store: Store) -> None:
    bodies = [layer(number) for number in range(3)]
    digests = [push(store.blobs, body) for body in bodies]
    convert(store)
    evict(store)
    known = replay_of(store, digests[0]).encoder
    change_replay(store, digests[0], encoder=99)
    result = expand(store)
    ((digest, reason),) = result.failed
    assert (digest, result.layers) == (digests[0], 2)
    assert "newer dtrfast" in reason
    assert store.statistics().damaged_blobs == 0
    names = {digest_of(body, "sha512").raw for body in bodies}
    rebuild.add_sha512_names(store._context, names)
    for body in bodies[1:]:
        assert pull(store.blobs, digest_of(body, "sha512")) == body
    change_replay(store, digests[0], encoder=known)
    assert expand(store).layers == 1
    assert pull(store.blobs, digests[0]) == bodies[0]


# ---- each layer is counted -----------------------------------------------------------------------
def test_each_outcome_of_a_conversion_has_its_reason(
    store: Store,
) -> None:
    digests = [push(store.blobs, layer(number)) for number in range(5)]
    damage.mark_content(store._context, content_of(store, digests[4]).number, "a test")
    work = store.tier_run()
    steps = store.convert_layers(work, None, with_first=True)
    next(steps)  # the first layer is being converted
    convert(store, digests[1:2])
    drop(store.blobs, digests[2])
    release(store.blobs)
    with ContentClaim(store.layout.claims) as claim:
        assert claim.add(digests[3])
        list(steps)
    assert work.result.layers == 1
    assert work.result.kept == {"damaged": 1, runs.CONVERTED: 1, runs.FREED: 1, runs.BUSY: 1}


def test_each_outcome_of_an_eviction_has_its_reason(
    store: Store,
) -> None:
    digests = [push(store.blobs, layer(number)) for number in range(5)]
    convert(store)
    work = store.tier_run()
    steps = work.evict(None, pushed_before=None)
    next(steps)
    # The first step named the first layer, which is evicted now.
    change_replay(store, digests[0], encoder=99)
    evict(store, digests[1:2])
    drop(store.blobs, digests[2])
    release(store.blobs)
    used = {number for number, _ in chunks_of(store)}
    recipe = replay_of(store, digests[3]).recipe
    alone = next(number for number in used if users_of(store, number) == {recipe})
    damage.mark_chunk(store._context, alone, "a test")
    list(steps)
    assert work.result.layers == 1
    assert work.result.failed == []
    assert work.result.kept == {
        runs.ENCODER_MISSING: 1,
        runs.EVICTED: 1,
        runs.FREED: 1,
        runs.RECIPE_DROPPED: 1,
    }
    assert pull(store.blobs, digests[3]) == layer(3)


def users_of(store: Store, chunk: int) -> set[int]:
    """Return the recipes that refer to a chunk."""

    with store.engine.read() as transaction:
        return {
            int.from_bytes(key[:8], "big")
            for key, row in transaction.scan(RECIPES)
            if chunk in recipe_rows.chunk_ids(row)
        }


# ---- several runs --------------------------------------------------------------------------------
@pytest.mark.parametrize("with_first", [True, False])
def test_a_second_run_does_not_repeat_the_work_of_the_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, with_first: bool
) -> None:
    digests = [push(store.blobs, layer(number)) for number in range(3)]
    looked: list[Digest] = []
    recognize = analysis.recognize

    def count(original: Original) -> Any:
        looked.append(original.digest)
        return recognize(original)

    monkeypatch.setattr(analysis, "recognize", count)
    first, second = store.tier_run(), store.tier_run()
    steps = store.convert_layers(first, None, with_first=with_first)
    next(one for one in steps if one.part == "convert layers")
    looked.clear()
    list(store.convert_layers(second, None, with_first=with_first))
    assert len(looked) == 2
    assert (second.result.layers, second.result.kept) == (2, {runs.BUSY: 1})
    list(steps)
    assert (first.result.layers, first.result.kept) == (1, {runs.CONVERTED: 2})
    assert len(looked) == 2
    assert first.result.stored + second.result.stored > 0
    for number, digest in enumerate(digests):
        assert pull(store.blobs, digest) == layer(number)


def test_a_layer_of_another_run_counts_for_its_group(store: Store) -> None:
    convert(store)
    digests = [push(store.blobs, layer(number)) for number in range(2)]
    steps = store.convert_layers(store.tier_run(), None, with_first=False)
    next(one for one in steps if one.part == "convert layers")
    del steps  # it has looked at both
    with ContentClaim(store._context.layout.conversions) as claim:
        assert claim.add(digests[0])
        other = store.tier_run()
        list(store.convert_layers(other, None, with_first=False))
    assert (other.result.layers, other.result.kept) == (1, {runs.BUSY: 1})


def test_content_whose_row_cannot_be_read_stops_no_run(store: Store) -> None:
    digests = [push(store.blobs, layer(number)) for number in range(2)]
    key = number_key(content_of(store, digests[0]).number)
    store.engine.write(lambda transaction: transaction.put(CONTENTS, key, b"\xff"))
    result = convert(store)
    assert (result.layers, result.failed) == (1, [])
    assert evict(store).layers == 1
    assert expand(store).layers == 1


def test_a_run_that_ended_holds_nothing(store: Store) -> None:
    push(store.blobs, layer())
    steps = store.convert_layers(store.tier_run(), None, with_first=True)
    list(itertools.islice(steps, 2))
    assert convert(store).kept == {runs.BUSY: 1}
    steps.close()  # type: ignore[attr-defined]
    assert convert(store).layers == 1


# ---- space ---------------------------------------------------------------------------------------
def test_messages_name_the_space_that_is_needed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store.blobs, layer())
    convert(store)
    evict(store)
    free = 50 << 20
    monkeypatch.setattr(
        "dtrfast.machine.space.measure", lambda path: DiskSpace(free, 0, free, None)
    )
    monkeypatch.setattr(candidates.Candidate, "size", 100 << 20)
    monkeypatch.setattr(space, "_SECONDS", -1)
    with pytest.raises(StorageFull, match=r"tier expand. needs 100 MiB, and 4\d MiB are free"):
        expand(store)
    with pytest.raises(StorageFull, match=r"tier convert. needs 60 MiB"):
        store._context.space.check(60 << 20, "`dtrfast tier convert`")
    with pytest.raises(StorageFull, match="push again"):
        store._context.space.check(60 << 20)
