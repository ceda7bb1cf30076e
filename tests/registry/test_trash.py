"""The trash for one caller: a restore of a run brings back as much as possible."""

from __future__ import annotations

import pytest

from dtrfast.errors import AccessRefused
from dtrfast.oci.digests import Digest
from dtrfast.registry import deletion
from dtrfast.registry.holdings import ChangeRequest, RestoredManifest
from dtrfast.registry.permits import EVERYBODY, Action
from dtrfast.registry.registry import Registry
from dtrfast.registry.trash_management import RunRestoration
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import image_manifest
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.fakes.permits import DictPermits
from tests.registry.holding_world import NAME, World

LAYERS = [b"one", b"two", b"three"]


@pytest.fixture
def world(registry: Registry, blobs: MemoryBlobs, clock: Clock) -> World:
    return World(registry.holdings, blobs, clock, list)


@pytest.fixture
def deleted(registry: Registry, world: World, engine: MemoryEngine) -> list[Digest]:
    """Push three images. A run deleted the first two, and another run the last one."""
    digests = [world.push_image(layer=layer) for layer in LAYERS]
    for digest, run in zip(digests, ("a run", "a run", "another run"), strict=True):
        deletion.delete(engine, EVERYBODY, NAME, digest, registry.author(), run)
    return digests


def test_a_run_comes_back(registry: Registry, world: World, deleted: list[Digest]) -> None:
    assert registry.trash.restore_run("a run") == RunRestoration(2, "")
    assert [world.find(digest).digest for digest in deleted[:2]] == deleted[:2]
    assert registry.trash.restore_run("a run") == RunRestoration(0, "")
    assert registry.trash.restore_run("another run") == RunRestoration(1, "")


def test_what_came_back_meanwhile_is_not_counted(
    registry: Registry, world: World, deleted: list[Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = registry.holdings.restore_manifest

    def restore_after_a_push(change: ChangeRequest, digest: Digest) -> RestoredManifest:
        world.put(image_manifest(LAYERS[0]))
        return restore(change, digest)

    monkeypatch.setattr(registry.holdings, "restore_manifest", restore_after_a_push)
    assert registry.trash.restore_run("a run") == RunRestoration(1, "")


@pytest.mark.usefixtures("deleted")
def test_a_run_needs_the_right_to_push(registry: Registry) -> None:
    reader = registry.acting_for(DictPermits({NAME.text: Action.PULL}))
    with pytest.raises(AccessRefused):
        reader.trash.restore_run("a run")
