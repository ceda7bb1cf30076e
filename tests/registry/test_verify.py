"""Verify reports each inconsistency of the registry, in a sentence that names the object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import pytest

from dtrfast.config import Config
from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.tables import BLOBS, BLOBS_UNHELD, HOLDERS, LINKS, number_key
from dtrfast.oci.digests import Digest
from dtrfast.registry import statistics
from dtrfast.registry import verify as registry_verify
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.registry.holding_world import OTHER, World
from tests.verifying import findings, ignore_progress

LAYER = Digest.of_bytes(b"layer")
CONFIG = Digest.of_bytes(b"{}")


@pytest.fixture
def world(store: Store, clock: Clock) -> World:
    """A world with an image in one repository. Another repository has its layer, too."""
    registry = Registry(store.engine, store.blobs, Config(), clock=clock, fullness=lambda: 0.0)
    world = World(registry.holdings, store.blobs, clock, list)
    world.push_image("v1")
    world.push(b"layer", OTHER)
    assert findings(store) == []
    return world


def delete(transaction: WriteTransaction, table: Table, digest: Digest) -> None:
    """Delete the rows of a blob in a table."""
    for key, _ in list(transaction.scan(table)):
        if digest.key() in key:
            transaction.delete(table, key)


def test_a_link_that_its_blob_does_not_know_is_told(world: World, store: Store) -> None:
    store.engine.write(partial(delete, table=HOLDERS, digest=CONFIG))
    assert findings(store) == [
        f"no repository holds {CONFIG}, and it is not listed for reclaim",
        f"the holders of {CONFIG} lack repository 1",
    ]


def test_a_holder_without_a_link_is_told(world: World, store: Store) -> None:
    store.engine.write(partial(delete, table=LINKS, digest=LAYER))
    assert findings(store) == [
        "there are 1 links, but 3 are counted",
        "the links have 2 bytes, but 12 are counted",
        f"the holders of {LAYER} include repository 1, which lacks the link",
        f"the holders of {LAYER} include repository 2, which lacks the link",
    ]


def test_a_link_without_content_is_told(world: World, store: Store) -> None:
    store.engine.write(partial(delete, table=BLOBS, digest=LAYER))
    told = findings(store)
    assert [one for one in told if one.startswith("repository")] == [
        f"repository 1 holds {LAYER} without content",
        f"repository 2 holds {LAYER} without content",
    ]


def test_a_wrong_count_of_links_is_told(world: World, store: Store) -> None:
    store.engine.write(lambda transaction: statistics.add(transaction, links=2))
    assert findings(store) == ["there are 3 links, but 5 are counted"]


def test_a_wrong_count_of_linked_bytes_is_told(world: World, store: Store) -> None:
    store.engine.write(lambda transaction: statistics.add(transaction, linked_bytes=-5))
    assert findings(store) == ["the links have 12 bytes, but 7 are counted"]


def test_linked_bytes_are_not_checked_beside_links_of_an_older_version(
    world: World, store: Store
) -> None:
    """The rows of these links have no size."""

    def shorten(transaction: WriteTransaction) -> None:
        row = number_key(1) + CONFIG.key()
        transaction.put(LINKS, row, (transaction.get(LINKS, row) or b"")[:-8])

    store.engine.write(shorten)
    assert findings(store) == []


def test_content_that_no_repository_holds_is_told_unless_it_waits(
    world: World, store: Store
) -> None:
    world.lose(CONFIG)
    assert findings(store) == [], "it waits to be freed"
    store.engine.write(partial(delete, table=BLOBS_UNHELD, digest=CONFIG))
    assert findings(store) == [f"no repository holds {CONFIG}, and it is not listed for reclaim"]
    world.push(b"{}")
    assert findings(store) == []


def test_a_link_that_cannot_be_read_is_told(world: World, store: Store) -> None:
    row = number_key(1) + CONFIG.key()
    store.engine.write(lambda transaction: transaction.put(LINKS, row, b"\xff"))
    (told,) = findings(store)
    assert told.startswith(f"the link of repository 1 to {CONFIG}: a link record")


def test_a_blob_that_goes_during_the_check_is_not_told(world: World, store: Store) -> None:
    """The check reads its link, then the blob is freed, then the check asks for its size."""
    told: list[str] = []
    registry_verify.verify(
        store.engine, after(end_config(world), store), ignore_progress, told.append
    )
    assert told == []
    assert world.content(CONFIG) is None


def end_config(world: World) -> Callable[[], object]:
    def end() -> None:
        if world.holds(CONFIG):
            world.lose(CONFIG)
            world.tidy()

    return end


def after(step: Callable[[], object], store: Store) -> registry_verify.Sizes:
    def sizes(digests: Iterable[Digest]) -> Mapping[Digest, int]:
        step()
        return store.blobs.sizes(digests)

    return sizes
