"""Pages of images, deletions and the trash for one caller: one look-up for a page, and events."""

from __future__ import annotations

from typing import Any

import pytest

from dtrfast.config import Config, RegistryConfig
from dtrfast.errors import AccessRefused, Conflict, ManifestUnknown, OperationUnsupported
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import Tag
from dtrfast.registry.deletion import ReferenceDeletion
from dtrfast.registry.listing import ListRequest
from dtrfast.registry.permits import Action
from dtrfast.registry.registry import Registry
from dtrfast.registry.trash_management import TrashReference
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.fakes.permits import DictPermits
from tests.registry.holding_world import NAME, World
from tests.scoped import ScopedTransaction

TAGS = [Tag(f"v{number}") for number in range(9)]


@pytest.fixture
def world(registry: Registry, blobs: MemoryBlobs, clock: Clock) -> World:
    return World(registry.holdings, blobs, clock, list)


@pytest.fixture
def digest(world: World) -> Digest:
    """An image with all tags."""
    return world.push_image(*(tag.text for tag in TAGS))


class Counter:
    """Counts the look-ups of single rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        get = ScopedTransaction.get

        def counted(transaction: Any, *key: Any) -> bytes | None:
            self.count += 1
            return get(transaction, *key)

        monkeypatch.setattr(ScopedTransaction, "get", counted)

    def of(self, action: Any) -> int:
        """Return the look-ups that an action makes when it runs a second time."""
        action()
        before = self.count
        action()
        return self.count - before


@pytest.mark.usefixtures("digest")
def test_a_page_of_tags_looks_nothing_up_for_each(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(monkeypatch)
    one, all_tags = (
        counter.of(lambda limit=limit: registry.images.page(NAME, ListRequest(limit=limit)))
        for limit in (1, len(TAGS))
    )
    assert one == all_tags
    found = registry.images.page(NAME, ListRequest(limit=3))
    assert [image.tag for image in found.page.entries] == ["v0", "v1", "v2"]
    assert (found.page.next_start, found.count) == ("v3", len(TAGS))


def test_a_page_of_the_trash_looks_nothing_up_for_each(
    registry: Registry, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(monkeypatch)
    costs = []
    for tag in TAGS[:3]:
        registry.deletions.delete_one(NAME, tag)
        costs.append(counter.of(lambda: registry.trash.page(NAME, ListRequest(), "tags")))
    assert len(set(costs)) == 1
    page = registry.trash.page(NAME, ListRequest(), "")
    assert [one.name for one in page.tags.entries] == ["v0", "v1", "v2"]
    assert {one.past.digest for one in page.tags.entries} == {digest}


def test_each_deletion_is_told_once_it_is_durable(registry: Registry, digest: Digest) -> None:
    told: list[ReferenceDeletion] = []
    missing = Tag("missing")
    done = registry.deletions.delete(NAME, [TAGS[0], missing, digest], told.append)
    assert [one.reference for one in told] == [TAGS[0], digest]
    assert (done.tags[0], done.missing, done.left) == ("v0", ("missing",), ())
    back = registry.deletions.restore(NAME, done.run)
    assert (back.manifests, len(back.tags)) == (1, len(TAGS))
    with pytest.raises(ManifestUnknown):
        registry.deletions.delete(NAME, [missing], told.append)


def test_a_restore_tells_those_before_the_one_that_fails(
    registry: Registry, digest: Digest
) -> None:
    registry.deletions.delete_one(NAME, TAGS[0])
    told: list[TrashReference] = []
    references = [TrashReference(digest, TAGS[0]), TrashReference(digest)]
    with pytest.raises(Conflict):
        registry.trash.restore(NAME, references, told.append)
    assert told == references[:1]
    assert TrashReference.parse(str(references[0])) == references[0]


def test_deletes_can_be_switched_off(engine: MemoryEngine, blobs: MemoryBlobs) -> None:
    registry = Registry(engine, blobs, Config(registry=RegistryConfig(delete=False)))
    with pytest.raises(OperationUnsupported):
        registry.deletions.delete_one(NAME, TAGS[0])
    with pytest.raises(OperationUnsupported):
        registry.deletions.delete(NAME, [TAGS[0]], lambda done: None)


def test_readers_see_no_trash(registry: Registry, digest: Digest) -> None:
    reader = registry.acting_for(DictPermits({NAME.text: Action.PULL}))
    assert reader.images.get(NAME, digest).image.digest == digest
    with pytest.raises(AccessRefused):
        reader.trash.page(NAME, ListRequest(), "")
    with pytest.raises(AccessRefused):
        reader.trash.history(NAME, TAGS[0])
    with pytest.raises(AccessRefused):
        reader.deletions.restore(NAME, "a run")
