"""All holdings pass their contract: those in memory, and those over each index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.errors import PreconditionFailed
from dtrfast.index import changes
from dtrfast.index.changes import ChangeRecord
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import CHANGES
from dtrfast.oci.conditions import Conditions
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.holdings import MissingContent
from dtrfast.registry.holdings_index import IndexHoldings, WriteBoth
from dtrfast.registry.manifests import Rules
from dtrfast.store.store import Store
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import image_manifest
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine, Snapshot
from tests.fakes.holdings import MemoryHoldings
from tests.registry.holding_world import (
    GRACE_SECONDS,
    NAME,
    OTHER,
    RULES,
    MakeWorld,
    Recorded,
    World,
)
from tests.registry.holdings_contract import HoldingsContract
from tests.registry.trash_contract import TrashContract
from tests.registry.unheld_contract import UnheldContract
from tests.two_environments import TwoEnvironments


def recorded(engine: Engine) -> list[Recorded]:
    """Return the changes in the change log, oldest first."""
    with engine.read() as transaction:
        found = [changes.decode(value) for _, value in transaction.scan(CHANGES)]
    return [(c.kind, c.actor, c.repository, _subject(c)) for c in found if c.kind != "blob.put"]


def _subject(change: ChangeRecord) -> str:
    is_of_tag = change.kind.startswith("tag.")
    return str(change.payload.get("tag" if is_of_tag else "digest", ""))


def link_changes(engine: Engine) -> list[Recorded]:
    """Return the changes of links."""
    return [one for one in recorded(engine) if one[0].startswith("blob.")]


class _Contract(HoldingsContract, TrashContract, UnheldContract):
    pass


class TestMemoryHoldings(_Contract):
    @pytest.fixture
    def make_world(self, clock: Clock) -> MakeWorld:
        def make(rules: Rules) -> World:
            blobs = MemoryBlobs(clock)
            holdings = MemoryHoldings(blobs, rules, clock, GRACE_SECONDS)
            return World(holdings, blobs, clock, lambda: holdings.recorded[:])

        return make


class TestIndexHoldings(_Contract):
    @pytest.fixture
    def make_world(self, clock: Clock, engine: MemoryEngine, blobs: MemoryBlobs) -> MakeWorld:
        def make(rules: Rules) -> World:
            holdings = IndexHoldings(engine, blobs, rules, clock, GRACE_SECONDS)
            return World(holdings, blobs, clock, lambda: recorded(engine))

        return make


def test_what_is_refused_or_missing_writes_no_row(
    clock: Clock, engine: MemoryEngine, blobs: MemoryBlobs
) -> None:
    holdings = IndexHoldings(engine, blobs, RULES, clock, GRACE_SECONDS)
    world = World(holdings, blobs, clock, list)
    digest = world.push_image("v1")
    before = engine.snapshot()
    assert isinstance(world.put(image_manifest(b"missing"), "v2"), MissingContent)
    assert isinstance(world.put(image_manifest(b"layer"), "v1", name=OTHER), MissingContent)
    for source in (OTHER, RepositoryName("unknown")):
        assert not world.mount(Digest.of_bytes(b"layer"), source, OTHER)
    only_new = Conditions(if_none_match="*")
    with pytest.raises(PreconditionFailed):
        world.put(image_manifest(b"layer"), "v1", conditions=only_new)
    with pytest.raises(PreconditionFailed):
        holdings.delete_manifest(world.change(conditions=only_new), digest)
    assert world.tidy() == 0
    assert engine.snapshot().changed_since(before) == []


def test_a_mount_whose_source_goes_meanwhile_makes_no_repository(
    clock: Clock, engine: MemoryEngine, blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdings = IndexHoldings(engine, blobs, RULES, clock, GRACE_SECONDS)
    world = World(holdings, blobs, clock, list)
    digest = world.push(b"content")
    write = engine.write

    def write_after_the_source_went(change: Callable[[WriteTransaction], object]) -> object:
        monkeypatch.setattr(engine, "write", write)
        world.lose(digest)
        gone.append(engine.snapshot())
        return write(change)

    gone: list[Snapshot] = []
    monkeypatch.setattr(engine, "write", write_after_the_source_went)
    assert not world.mount(digest, NAME, OTHER)
    assert engine.snapshot().changed_since(gone[0]) == []


def test_what_is_deleted_again_while_the_trash_is_looked_at_stays(
    clock: Clock, engine: MemoryEngine, blobs: MemoryBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdings = IndexHoldings(engine, blobs, RULES, clock, GRACE_SECONDS)
    world = World(holdings, blobs, clock, list)
    digest = world.push_image("v1")
    holdings.delete_manifest(world.change(), digest)
    clock.advance(1)
    write = engine.write

    def write_after_another_delete(change: Callable[[WriteTransaction], object]) -> object:
        monkeypatch.setattr(engine, "write", write)
        holdings.restore_manifest(world.change(), digest)
        holdings.delete_manifest(world.change(), digest)
        return write(change)

    monkeypatch.setattr(engine, "write", write_after_another_delete)
    assert holdings.drop_deleted(clock(), 10) > 0
    assert holdings.restore_manifest(world.change(), digest).tags == ("v1",)


def world_of(
    store: Store, clock: Clock, write_both: WriteBoth | None, rules: Rules = RULES
) -> World:
    engine = store.engine
    holdings = IndexHoldings(engine, store.blobs, rules, clock, GRACE_SECONDS, write_both)
    return World(holdings, store.blobs, clock, lambda: recorded(engine))


@pytest.mark.long
class TestLmdbHoldings(_Contract):
    """Content and links are in one commit."""

    @pytest.fixture
    def make_world(self, store: Store, clock: Clock) -> MakeWorld:
        return partial(world_of, store, clock, store.engine.write_both)


@pytest.mark.long
class TestHoldingsOverTwoEnvironments(_Contract):
    """Content and links have a commit each."""

    @pytest.fixture
    def make_world(self, data: Path, clock: Clock) -> Iterator[MakeWorld]:
        store = Store.open(data, StoreConfig(), open_index=TwoEnvironments, clock=clock)
        yield partial(world_of, store, clock, None)
        store.close()


def test_content_and_link_are_one_commit(store: Store, clock: Clock) -> None:
    """A push needs no second fsync."""
    world = world_of(store, clock, store.engine.write_both)
    world.push(b"content")
    with world.place(b"other content") as placed:
        before = store.commits()[0]
        world.holdings.commit_blob(world.change(), placed)
        assert store.commits()[0] == before + 1
        placed.finish()
    apart = world_of(store, clock, None)
    with apart.place(b"a third content") as placed:
        before = store.commits()[0]
        apart.holdings.commit_blob(apart.change(), placed)
        assert store.commits()[0] == before + 2
        placed.finish()
