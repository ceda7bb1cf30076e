"""A blob that no manifest refers to is dropped after its grace.

Its content is freed when its last holder drops it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dtrfast.config import Config
from dtrfast.errors import BlobUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import BLOBS_UNHELD, CONTENTS, LINKS, LINKS_UNREFERENCED
from dtrfast.jobs.tasks import content_tasks, empty_trash
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import Tag
from dtrfast.registry import unheld
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.links import link_key
from dtrfast.registry.registry import Registry
from dtrfast.store import contents
from dtrfast.store.store import Store
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.registry.holding_world import GRACE_SECONDS, NAME, OTHER, World
from tests.store.conftest import files_below

LAYER = Digest.of_bytes(b"layer")


@pytest.fixture
def world(registry: Registry, blobs: MemoryBlobs, clock: Clock) -> World:
    return World(registry.holdings, blobs, clock, list)


def count_listed(engine: MemoryEngine) -> int:
    """Return the number of links that wait for the end of their grace."""
    with engine.read() as transaction:
        return sum(1 for _ in transaction.scan(LINKS_UNREFERENCED))


def pending(engine: MemoryEngine, clock: Clock) -> dict[str, int]:
    with engine.read() as transaction:
        return unheld.pending(transaction, clock(), GRACE_SECONDS)


def in_grace(engine: MemoryEngine) -> tuple[int, int]:
    with engine.read() as transaction:
        return unheld.in_grace(transaction, GRACE_SECONDS)


# ---- references --------------------------------------------------------------------------------
def test_referenced_blobs_do_not_wait_in_the_list(world: World, engine: MemoryEngine) -> None:
    for content in (b"{}", b"layer"):
        world.push(content)
    assert count_listed(engine) == 2
    world.push_image("v1")
    assert count_listed(engine) == 0
    world.clock.advance(100 * GRACE_SECONDS)
    assert world.tidy() == 0
    assert world.content(LAYER) == b"layer"


def test_the_grace_runs_from_the_loss_of_the_last_reference(
    world: World, engine: MemoryEngine, clock: Clock
) -> None:
    first, second = world.push_image("v1"), world.push_image("v2", layer=b"other")
    clock.advance(100 * GRACE_SECONDS)
    world.holdings.delete_manifest(world.change(), first)
    empty_trash(engine, world.holdings, clock(), all_of_it=True)
    clock.advance(GRACE_SECONDS - 1)
    world.tidy()
    assert world.holds(LAYER)
    clock.advance(1)
    world.tidy()
    assert not world.holds(LAYER)
    assert world.content(LAYER) is None
    assert world.holds(Digest.of_bytes(b"{}")), "another manifest refers to it"
    world.holdings.delete_manifest(world.change(), second)
    empty_trash(engine, world.holdings, clock(), all_of_it=True)
    clock.advance(GRACE_SECONDS)
    world.tidy()
    assert not world.holds(Digest.of_bytes(b"{}"))


def test_a_grace_that_ended_in_the_trash_is_over_when_the_manifest_leaves_it(
    world: World, engine: MemoryEngine, clock: Clock
) -> None:
    digest = world.push_image("v1")
    world.holdings.delete_manifest(world.change(), digest)
    clock.advance(2 * GRACE_SECONDS)
    world.tidy()
    assert world.holds(LAYER)
    empty_trash(engine, world.holdings, clock(), all_of_it=True)
    world.tidy()
    assert not world.holds(LAYER)


# ---- requests ----------------------------------------------------------------------------------
def test_asking_for_a_blob_in_its_grace_renews_it(
    world: World, registry: Registry, clock: Clock
) -> None:
    digest = world.push(b"config")
    for _ in range(5):
        clock.advance(GRACE_SECONDS - 1)
        assert registry.blobs.peek(NAME, digest) is None, "peek cannot renew a grace"
        registry.blobs.stat(NAME, digest)
        assert registry.blobs.peek(NAME, digest) is not None
        world.tidy()
        assert world.content(digest) == b"config"


def test_a_blob_that_is_asked_for_all_the_time_is_renewed_now_and_then(
    world: World, registry: Registry, engine: MemoryEngine, clock: Clock
) -> None:
    digest = world.push(b"config")
    clock.advance(GRACE_SECONDS // 20)
    before = engine.snapshot()
    registry.blobs.stat(NAME, digest)
    assert engine.snapshot().changed_since(before) == []


def test_asking_for_a_referenced_blob_writes_nothing(
    world: World, registry: Registry, engine: MemoryEngine, clock: Clock
) -> None:
    world.push_image("v1")
    clock.advance(100 * GRACE_SECONDS)
    before = engine.snapshot()
    registry.blobs.stat(NAME, LAYER)
    assert registry.blobs.peek(NAME, LAYER) is not None
    assert engine.snapshot().changed_since(before) == []


def test_mounting_from_a_repository_keeps_the_blob_in_the_target(
    world: World, registry: Registry, clock: Clock
) -> None:
    digest = world.push(b"config")
    clock.advance(GRACE_SECONDS - 1)
    assert registry.blobs.mount(OTHER, digest, NAME, registry.author()) is not None
    clock.advance(GRACE_SECONDS - 1)
    world.tidy()
    with pytest.raises(BlobUnknown):
        registry.blobs.stat(NAME, digest)
    assert registry.blobs.stat(OTHER, digest).size == len(b"config")


def test_a_pushed_image_keeps_blobs_that_are_about_to_go(world: World, clock: Clock) -> None:
    for content in (b"{}", b"layer"):
        world.push(content)
    clock.advance(GRACE_SECONDS)
    world.push_image("v1")
    world.tidy()
    assert world.tagged("v1")
    assert world.content(LAYER) == b"layer"


# ---- waiting links -----------------------------------------------------------------------------
def test_blobs_are_pending_once_they_are_due(
    world: World, engine: MemoryEngine, clock: Clock
) -> None:
    digest = world.push(b"in its grace")
    assert in_grace(engine) == (1, clock() + GRACE_SECONDS)
    assert not any(pending(engine, clock).values())
    clock.advance(GRACE_SECONDS)
    assert pending(engine, clock) == {"unreferenced blobs": 1, "unheld blobs": 0}
    with world.place(b"in its grace"):
        world.tidy()
        assert pending(engine, clock) == {"unreferenced blobs": 0, "unheld blobs": 1}
    assert in_grace(engine) == (0, 0)
    world.tidy()
    assert not any(pending(engine, clock).values())
    assert world.content(digest) is None


def test_a_link_that_cannot_be_read_is_logged_and_stops_no_other_one(
    world: World, engine: MemoryEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """This holds even in steps of one link."""
    broken = world.push(b"broken")
    clock.advance(1)
    whole = [world.push(b"%d" % number) for number in range(3)]
    row = link_key(RepositoryId(1), broken)
    kept = row_of(engine, row)
    engine.write(lambda transaction: transaction.put(LINKS, row, b"\xff"))
    clock.advance(8 * GRACE_SECONDS)
    assert [world.holdings.drop_unheld(1) > 0 for _ in range(3)] == [True] * 3
    assert not any(map(world.holds, whole))
    assert f"could not unlink {broken} from repository 1: a link record" in caplog.text
    assert world.content(broken) == b"broken"
    assert world.holdings.drop_unheld(1) == 0, "nothing else is due"
    engine.write(lambda transaction: transaction.put(LINKS, row, kept))
    world.tidy()
    assert not world.holds(broken), "the next step tries again"


def row_of(engine: MemoryEngine, key: bytes) -> bytes:
    with engine.read() as transaction:
        data = transaction.get(LINKS, key)
    assert data is not None
    return data


# ---- over a real store -------------------------------------------------------------------------
@pytest.fixture
def real(store: Store, clock: Clock) -> World:
    registry = Registry(store.engine, store.blobs, Config(), clock=clock, fullness=lambda: 0.0)
    return World(registry.holdings, store.blobs, clock, list)


def test_the_file_of_an_unreferenced_blob_goes_after_its_grace(
    real: World, store: Store, data: Path, clock: Clock
) -> None:
    (task,) = [t for t in content_tasks(store, real.holdings) if t.name == "unreferenced blobs"]
    digest = real.push(b"\x1f\x8b" + bytes(50_000))
    clock.advance(GRACE_SECONDS - 1)
    assert task.run() == 0
    assert len(files_below(data, "blobs")) == 1
    clock.advance(1)
    task.run()
    assert real.content(digest) is None
    assert files_below(data, "blobs") == []
    assert store.statistics().stored_bytes == 0


def test_content_that_cannot_be_read_is_logged_and_stops_no_other_one(
    real: World, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = real.push(b"broken"), real.push(b"whole")
    change_content(store, broken, lambda data: b"\xff")
    for digest in (broken, whole):
        real.lose(digest)
    real.tidy()
    assert real.content(whole) is None
    assert "could not reclaim content 1: " in caplog.text
    with store.engine.read() as transaction:
        left = [Digest.from_key(key) for key, _ in transaction.scan(BLOBS_UNHELD)]
    assert left == [broken], "the next step tries again"


def change_content(store: Store, digest: Digest, change: Callable[[bytes], bytes]) -> None:
    with store.engine.read() as transaction:
        found = contents.find(transaction, digest)
    assert found is not None
    key = found.number.to_bytes(8, "big")

    def put(transaction: WriteTransaction) -> None:
        data = transaction.get(CONTENTS, key)
        assert data is not None
        transaction.put(CONTENTS, key, change(data))

    store.engine.write(put)


def test_a_tag_that_is_deleted_leaves_the_blobs_of_its_manifest(world: World, clock: Clock) -> None:
    world.push_image("v1")
    world.holdings.delete_tag(world.change(), Tag("v1"))
    clock.advance(2 * GRACE_SECONDS)
    world.tidy()
    assert world.content(LAYER) == b"layer"
