"""Links of versions before 1.4 have no size. The store knows it when they go, even after damage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dtrfast.config import Config
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import LINKS, REPOSITORIES_DELETED, number_key
from dtrfast.oci.digests import Digest
from dtrfast.registry import removal, statistics
from dtrfast.registry.links import Link
from dtrfast.registry.registry import Registry
from dtrfast.store import contents, damage
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.registry.holding_world import GRACE_SECONDS, World

CONTENTS = [b"layer" * 9000, b"{}", b"other"]


def make_old(transaction: WriteTransaction) -> None:
    """Rewrite links in the format of versions before 1.4."""
    for key, data in list(transaction.scan(LINKS)):
        link = Link.decode(data)
        transaction.put(LINKS, key, Link(link.created_at, link.unreferenced_since).encode())


def unlink(world: World, store: Store, digests: list[Digest]) -> None:
    for digest in digests:
        world.lose(digest)


def end_grace(world: World, store: Store, digests: list[Digest]) -> None:
    world.clock.advance(GRACE_SECONDS + 1)
    world.tidy()


def remove(world: World, store: Store, digests: list[Digest]) -> None:
    row = (REPOSITORIES_DELETED, number_key(1), number_key(world.clock()))
    store.engine.write(lambda transaction: transaction.put(*row))
    while removal.step(store.engine, store.blobs):
        pass


@pytest.mark.parametrize("go", [unlink, end_grace, remove])
def test_the_count_of_bytes_ends_at_zero(
    go: Callable[[World, Store, list[Digest]], None], store: Store, clock: Clock
) -> None:
    registry = Registry(store.engine, store.blobs, Config(), clock=clock)
    world = World(registry.holdings, store.blobs, clock, list)
    digests = [world.push(content) for content in CONTENTS]
    store.engine.write(make_old)
    with store.engine.read() as transaction:
        assert statistics.read(transaction).linked_bytes == sum(map(len, CONTENTS))
    with store.engine.read() as transaction:
        found = contents.find(transaction, digests[0])
    assert found is not None
    damage.mark_content(store._context, found.number, "a test")
    go(world, store, digests)
    with store.engine.read() as transaction:
        counted = statistics.read(transaction)
    assert (counted.links, counted.linked_bytes) == (0, 0)
