"""Conversions that are interrupted, or meet other work on the same content."""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dtrfast.config import StoreConfig
from dtrfast.errors import Conflict, StorageFull
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import CHUNKS, REPLAYS, REPLAYS_UNFINISHED, number_key
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import damage, pins, recipes, unowned
from dtrfast.store.chunk_writer import ChunkWriter
from dtrfast.store.claims import ContentClaim
from dtrfast.store.new_pack import NewPack
from dtrfast.store.store import Store
from dtrfast.store.tier import analysis, eviction, plain_source, replays, tidying
from dtrfast.store.tier import conversion as conversions
from dtrfast.store.tier.conversion import Conversion
from dtrfast.store.tier.original import Original
from dtrfast.store.tier.plain_source import Framed
from tests.fakes.clock import Clock
from tests.store.conftest import files_below, pull, push, run
from tests.store.holders import OTHER, drop, release
from tests.store.test_scrub import findings
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    expand,
    keys,
    layer,
    left_over,
    plain_layer,
    replay_of,
    small_layer,
    tidy,
)


class Killed(BaseException):
    """The end of the process."""


def assert_whole(store: Store, digest: Digest, body: bytes) -> None:
    """The content is as it was before, and all that the conversion wrote is freed."""
    assert pull(store.blobs, digest) == body
    assert findings(store) == []
    tidy(store)
    assert pull(store.blobs, digest) == body
    assert findings(store) == []
    assert set(left_over(store)) <= {"contents", "recipes", "files", "layers"}
    counts = store.statistics()
    assert (counts.chunks, counts.packs, counts.converted_blobs) == (0, 0, 0)
    assert files_below(store.layout.data, "packs") == []


def conversion_of(store: Store, digest: Digest) -> Conversion:
    original = Original(store._context, content_of(store, digest))
    found = analysis.recognize(original)
    return Conversion(store._context, Framed(original, found.encoders, found.header))


def test_a_conversion_may_be_left_after_any_step(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_source, "_BATCH_SIZE", 1 << 18)
    digest = push(store.blobs, layer())
    steps = 0
    for count in itertools.count(1):
        work = conversion_of(store, digest).steps()
        taken = list(itertools.islice(work, count))
        if len(taken) < count:
            break
        work.close()
        steps += 1
        assert keys(store, REPLAYS_UNFINISHED) == []
        assert findings(store) == []
    assert steps > 4
    assert taken == sorted(taken)
    assert evict(store).layers == 1
    assert pull(store.blobs, digest) == layer()
    tidy(store)
    drop(store.blobs, digest)
    tidy(store)
    assert left_over(store) == {}


def test_a_run_may_be_left_in_the_middle(store: Store) -> None:
    digest = push(store.blobs, layer())
    steps = store.convert_layers(store.tier_run(), None, with_first=True)
    assert next(steps).part == "convert layers"
    next(steps)
    with ContentClaim(store.layout.claims) as claim:
        assert not claim.add(digest), "it is claimed"
        steps.close()  # type: ignore[attr-defined]
        assert claim.add(digest)
    assert_whole(store, digest, layer())


class _Writes:
    """Ends the process, or reports a full disk, before one of the writes to the index or a pack."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        self.left = -1
        self.error = error
        monkeypatch.setattr(LmdbEngine, "write", self._counted(LmdbEngine.write))
        monkeypatch.setattr(disk, "write_at", self._counted(disk.write_at))
        monkeypatch.setattr(disk, "sync", self._counted(disk.sync))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0 or (self.left < 0 and self.is_over):
                raise self.error
            return real(*arguments, **options)

        return counted

    @property
    def is_over(self) -> bool:
        """True if a dead process cannot write any more."""
        return isinstance(self.error, Killed) and self.left > -1000

    def stop_at(self, number: int) -> None:
        self.left = number

    def go_on(self) -> None:
        self.left = -1000


@pytest.mark.parametrize("kind", ["gzip", "uncompressed"])
def test_a_process_that_ends_at_any_write_leaves_the_layer_whole(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each write of a conversion and of an eviction is the last one, in turn."""
    body = small_layer() if kind == "gzip" else gzip.decompress(small_layer())
    data = tmp_path / "data"
    with monkeypatch.context() as patch:
        writes = _Writes(patch, Killed())
        writes.go_on()
        store = Store.open(data, StoreConfig(), clock=clock)
        digest = push(store.blobs, body)
        first = store.statistics()
        ended = 0
        for number in itertools.count(1):
            writes.stop_at(number)
            try:
                convert(store)
                evict(store)
            except Killed:
                ended += 1
            else:
                break
            finally:
                writes.go_on()
            store.close()
            store = Store.open(data, StoreConfig(), clock=clock)
            assert findings(store) == [], number
            assert pull(store.blobs, digest) == body, number
            tidy(store)
            assert keys(store, REPLAYS_UNFINISHED) == [], number
            assert findings(store) == [], number
            expand(store)
            tidy(store)
            assert pull(store.blobs, digest) == body, number
            if kind == "gzip":
                counts = store.statistics()
                assert (counts.chunks, counts.packs) == (first.chunks, first.packs), number
        assert ended > 10
        assert pull(store.blobs, digest) == body
        drop(store.blobs, digest)
        tidy(store)
        assert left_over(store) == {}
        store.close()


def test_a_full_disk_at_any_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = push(store.blobs, small_layer())
    failed = 0
    with monkeypatch.context() as patch:
        writes = _Writes(patch, StorageFull("the disk is full"))
        for number in itertools.count(1):
            writes.stop_at(number)
            try:
                convert(store)
            except StorageFull:
                failed += 1
            else:
                break
            finally:
                writes.go_on()
            assert findings(store) == [], number
    assert failed > 10
    evict(store)
    assert pull(store.blobs, digest) == small_layer()
    drop(store.blobs, digest)
    tidy(store)
    assert left_over(store) == {}


def test_too_little_space(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = push(store.blobs, layer())

    def check(size: int = 0, work: str = "") -> None:
        raise StorageFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store._context.space, "check", check)
        with pytest.raises(StorageFull):
            convert(store)
    assert_whole(store, digest, layer())
    convert(store)
    evict(store)
    with monkeypatch.context() as patch:
        patch.setattr(store._context.space, "check", check)
        with pytest.raises(StorageFull):
            expand(store)
    assert content_of(store, digest).content.kind == "recreated"
    assert pull(store.blobs, digest) == layer()
    assert findings(store) == []


# ---- other work on the content -------------------------------------------------------------------
def in_the_middle(store: Store, digest: Digest, work: Callable[[], object]) -> None:
    """Convert a content, and do `work` before the last step."""
    conversion = conversion_of(store, digest)
    commit = conversion._commit

    def work_first() -> None:
        work()
        commit()

    conversion._commit = work_first  # type: ignore[method-assign]
    list(conversion.steps())


def test_a_content_that_is_freed_meanwhile_gets_no_recipe(store: Store) -> None:
    """The run claims the content. Without a claim it may go."""
    digest = push(store.blobs, layer())

    def free() -> None:
        drop(store.blobs, digest)
        release(store.blobs)

    with pytest.raises(Conflict, match="freed"):
        in_the_middle(store, digest, free)
    tidy(store)
    assert left_over(store) == {}


def test_a_content_whose_names_are_gone_gets_no_recipe(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reclaim gives its claim up before it deletes the rows. A recipe would be left over."""
    digest = push(store.blobs, layer())
    number = content_of(store, digest).number
    taken: list[str] = []

    remove = recipes.remove

    def convert_now(*arguments: object) -> None:
        monkeypatch.setattr(recipes, "remove", remove)
        taken.extend(str(kept) for kept in convert(store).kept)
        with store.engine.read() as transaction:
            assert not replays.is_converted(transaction, number)

    drop(store.blobs, digest)
    # The first thing that reclaim does after it gave up its claim.
    monkeypatch.setattr(recipes, "remove", convert_now)
    release(store.blobs)
    assert taken == []
    tidy(store)
    assert left_over(store) == {}


def test_a_claimed_content_is_not_freed_during_its_conversion(store: Store) -> None:
    digest = push(store.blobs, layer())
    steps = store.convert_layers(store.tier_run(), None, with_first=True)
    next(steps)
    drop(store.blobs, digest)
    assert release(store.blobs) == 0
    assert run(store, "unfinished conversions") == 0
    list(steps)
    tidy(store)
    assert left_over(store) == {}


def test_a_content_that_is_replaced_meanwhile(store: Store) -> None:
    digest = push(store.blobs, layer())

    def replace() -> None:
        damage.mark_content(store._context, content_of(store, digest).number, "a test")
        push(store.blobs, layer())

    with pytest.raises(Conflict):
        in_the_middle(store, digest, replace)
    tidy(store)
    assert pull(store.blobs, digest) == layer()
    assert findings(store) == []
    assert convert(store).layers == 1


def test_a_content_that_another_run_converted_or_evicted_meanwhile(store: Store) -> None:
    digest = push(store.blobs, layer())
    with ContentClaim(store.layout.claims) as claim:
        claim.wait_to_share(digest)
        with pytest.raises(Conflict, match="was converted"):
            in_the_middle(store, digest, partial(convert, store))
    recipe = replay_of(store, digest).recipe
    assert findings(store) == []
    evict(store)
    tidy(store)
    assert replay_of(store, digest).recipe == recipe
    assert pull(store.blobs, digest) == layer()


def test_two_runs_at_once(store: Store) -> None:
    bodies = [layer(n) for n in range(3)]
    digests = [push(store.blobs, body) for body in bodies]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: convert(store), range(2)))
    assert sum(result.layers for result in results) == 3
    assert [result.failed for result in results] == [[], []]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: evict(store), range(2)))
    assert sum(result.layers for result in results) == 3
    tidy(store)
    for digest, body in zip(digests, bodies, strict=True):
        assert pull(store.blobs, digest) == body
    assert findings(store) == []
    for digest in digests:
        drop(store.blobs, digest)
    tidy(store)
    assert left_over(store) == {}


def test_pushes_during_a_conversion(store: Store) -> None:
    digest = push(store.blobs, layer())
    steps = store.convert_layers(store.tier_run(), None, with_first=True)
    for number, _ in enumerate(steps):
        assert push(store.blobs, layer(), OTHER) == digest
        assert push(store.blobs, plain_layer(number % 2), OTHER)
    evict(store)
    tidy(store)
    assert pull(store.blobs, digest) == layer()
    assert findings(store) == []


def test_a_chunk_that_is_freed_before_it_is_shared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run leaves this layer, and goes on with the next."""
    push(store.blobs, plain_layer())
    first = push(store.blobs, layer())
    second = push(store.blobs, layer(1))
    convert(store, [first])
    replays.drop(store.engine, content_of(store, first).number)
    store_chunks = ChunkWriter.store

    def lose(self: ChunkWriter, chunks: list[memoryview], size: int) -> Any:
        found = store_chunks(self, chunks, size)
        monkeypatch.setattr(ChunkWriter, "store", store_chunks)
        shared = next(part for part in found[0] if not part.is_new)
        store.engine.write(lambda t: t.delete(CHUNKS, number_key(shared.id)))
        return found

    monkeypatch.setattr(ChunkWriter, "store", lose)
    result = convert(store, [first, second])
    assert result.layers == 1
    assert result.failed == []


# ---- the housekeeper -----------------------------------------------------------------------------
def test_a_pack_that_gets_an_owner_during_the_look_for_pins_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversion ends its pin between the housekeeper's look at the list and that for pins."""
    with pins.hold(store.layout.data):
        pack = NewPack(store._context)
        pack.sync()
    is_held = pins.is_held

    def enter_first(data: Path) -> bool:
        monkeypatch.setattr(pins, "is_held", is_held)
        store.engine.write(pack.enter)
        return is_held(data)

    monkeypatch.setattr(pins, "is_held", enter_first)
    assert unowned.unlink(store._context) == 0
    pack.close()
    assert files_below(store.layout.data, "packs") == [pack.file_id.hex()]
    assert findings(store) == []


def test_a_pack_of_a_conversion_at_work_is_not_unlinked(store: Store) -> None:
    with pins.hold(store.layout.data):
        pack = NewPack(store._context)
        assert unowned.unlink(store._context) == 0
        assert files_below(store.layout.data, "packs") == [pack.file_id.hex()]
        pack.close()
    assert unowned.unlink(store._context) > 0
    assert files_below(store.layout.data, "packs") == []


def interrupted_eviction(store: Store, monkeypatch: pytest.MonkeyPatch) -> Digest:
    """Evict an uncompressed layer, and end before the rows of its own are removed."""
    digest = push(store.blobs, plain_layer())
    convert(store)

    def killed(engine: object, recipe: int) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(replays, "remove", killed)
        with pytest.raises(Killed):
            evict(store)
    assert len(keys(store, REPLAYS_UNFINISHED)) == 1
    assert pull(store.blobs, digest) == plain_layer()
    assert findings(store) == []
    return digest


def test_an_interrupted_eviction_is_tidied(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = interrupted_eviction(store, monkeypatch)
    tidy(store)
    assert findings(store) == []
    drop(store.blobs, digest)
    tidy(store)
    assert left_over(store) == {}


def test_an_interrupted_eviction_that_is_freed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = interrupted_eviction(store, monkeypatch)
    drop(store.blobs, digest)
    release(store.blobs)
    assert findings(store) == []
    tidy(store)
    assert left_over(store) == {}
    assert store.statistics().chunks == 0


def test_an_interrupted_eviction_that_is_expanded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = interrupted_eviction(store, monkeypatch)
    assert expand(store).layers == 1
    tidy(store)
    assert pull(store.blobs, digest) == plain_layer()
    assert findings(store) == []
    assert store.statistics().chunks == 0


def test_tidying_does_not_touch_what_an_expansion_wrote(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The housekeeper has seen the row of the unfinished eviction before the expansion did."""
    digest = interrupted_eviction(store, monkeypatch)
    remove = replays.remove

    def expand_first(engine: Any, recipe: int) -> None:
        monkeypatch.setattr(replays, "remove", remove)
        assert eviction.restore_original(store._context, content_of(store, digest).number)
        remove(engine, recipe)

    monkeypatch.setattr(replays, "remove", expand_first)
    tidying.remove_unfinished(store._context)
    assert pull(store.blobs, digest) == plain_layer()
    assert findings(store) == []


# ---- readers -------------------------------------------------------------------------------------
def pieces(store: Store, digest: Digest, work: Callable[[], object], after: int) -> bytes:
    """Read a content, and do `work` after so many segments."""
    received = bytearray()
    with store.blobs.open_range(digest) as reader:
        segments: Iterator[Any] = iter(reader)
        number = 0
        while number != after and (one := next(segments, None)) is not None:
            received += as_bytes(one)
            number += 1
        work()
        for one in segments:
            received += as_bytes(one)
    return bytes(received)


def as_bytes(segment: Any) -> bytes:
    if isinstance(segment, bytes):
        return segment
    return os.pread(segment.descriptor, segment.length, segment.offset)


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("kind", ["gzip", "uncompressed"])
def test_readers_go_on_when_a_layer_is_evicted_and_expanded(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, after: int
) -> None:
    monkeypatch.setattr("dtrfast.store.records.CHUNKS_IN_ROW_MAX", 2)
    body = layer() if kind == "gzip" else plain_layer()
    digest = push(store.blobs, body)
    convert(store)

    def evict_all() -> None:
        evict(store)
        tidy(store)

    def expand_all() -> None:
        expand(store)
        tidy(store)

    assert pieces(store, digest, evict_all, after) == body
    assert content_of(store, digest).content.kind == "recreated"
    assert pieces(store, digest, expand_all, after) == body
    assert keys(store, REPLAYS) == []
    assert store.statistics().damaged_blobs == 0


def test_conversions_hold_no_pin_and_no_claim_between_layers(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [push(store.blobs, layer(n)) for n in range(2)]
    publish = conversions.Conversion._publish
    held: list[bool] = []

    def look(self: Conversion, *arguments: Any, **options: Any) -> None:
        held.append(pins.is_held(store.layout.data))
        publish(self, *arguments, **options)

    monkeypatch.setattr(conversions.Conversion, "_publish", look)
    assert convert(store).layers == 2
    assert all(held)
    assert not pins.is_held(store.layout.data)
    with ContentClaim(store.layout.claims) as claim:
        assert all(claim.add(digest) for digest in digests)
