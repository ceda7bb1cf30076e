"""The trash of every `Holdings`: restores, and the end. Used like `holdings_contract`."""

from __future__ import annotations

from functools import partial

import pytest

from dtrfast.errors import (
    AccessRefused,
    Conflict,
    DtrfastError,
    ManifestBlobUnknown,
    ManifestUnknown,
    RepositoryHidden,
    RepositoryUnknown,
)
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.holdings import FoundManifest, PushResult, RestoredManifest
from dtrfast.registry.ownership import REGISTRY, Claim
from dtrfast.registry.permits import EVERYBODY, EVERYTHING, Action
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.fakes.permits import DictPermits
from tests.registry.holding_world import GRACE_SECONDS, NAME, OTHER, World
from tests.registry.unheld_contract import at_once

# Rounds of a race: enough to see each of its outcomes now and then.
_ROUNDS = 12
LAYER = Digest.of_bytes(b"layer")
IMAGE = Digest.of_bytes(image_manifest(b"layer"))
PULLER = DictPermits({"team/app": Action.PULL | Action.DELETE})
STRANGER = DictPermits({})


class Account(DictPermits):
    """An account with all rights in the repository. It does not own what other accounts deleted."""

    def __init__(self, owner: int) -> None:
        super().__init__({"team/app": EVERYTHING})
        self._owner = owner

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        return Claim(self._owner)


def delete(world: World, digest: Digest, actor: str = "alice") -> None:
    world.holdings.delete_manifest(world.change(actor=actor), digest)


def restore(world: World, digest: Digest) -> RestoredManifest:
    return world.holdings.restore_manifest(world.change(), digest)


def restore_tag(world: World, tag: str, digest: Digest | None = None) -> Digest:
    return world.holdings.restore_tag(world.change(), Tag(tag), digest)


def drop(world: World, before: int | None = None) -> int:
    """Drop until nothing is due: everything that was deleted so far, or `before` that time."""
    total, end = 0, world.clock() + 1 if before is None else before
    while count := world.holdings.drop_deleted(end, 100):
        total += count
    return total


def is_restorable(world: World, digest: Digest) -> bool:
    """Restore the manifest; returns False if it was not in the trash."""
    try:
        return restore(world, digest).digest == digest
    except ManifestUnknown:
        return False


class TrashContract:
    """Only tests. The fixture comes from the subclass."""

    # ---- manifests -----------------------------------------------------------------------------
    def test_a_manifest_comes_back_as_it_was(self, world: World) -> None:
        world.push(b"{}")
        fields = {"subject": descriptor(b"subject", OCI_MANIFEST)}
        body = image_manifest(fields=fields)
        digest = Digest.of_bytes(body)
        world.put(body, "v2", "v1")
        delete(world, digest)
        assert restore(world, digest) == RestoredManifest(digest, ("v1", "v2"), (), parts=1)
        assert world.find(digest) == FoundManifest(digest, OCI_MANIFEST, body)
        assert world.tagged("v1") == world.tagged("v2") == digest
        page = world.holdings.referrers(EVERYBODY, NAME, Digest.of_bytes(b"subject"))
        assert len(page.descriptors) == 1

    def test_the_parts_of_a_manifest_are_counted(self, world: World) -> None:
        world.push_image("v1")
        delete(world, IMAGE)
        assert restore(world, IMAGE).parts == 2
        index = index_manifest(descriptor(image_manifest(b"layer"), OCI_MANIFEST))
        world.put(index, media_type=OCI_INDEX)
        delete(world, Digest.of_bytes(index))
        assert restore(world, Digest.of_bytes(index)).parts == 1

    def test_tags_that_are_taken_are_named_and_stay(self, world: World) -> None:
        world.push_image("v1", "v2", "v3")
        delete(world, IMAGE)
        other = world.push_image("v2", layer=b"other")
        assert restore(world, IMAGE) == RestoredManifest(IMAGE, ("v1", "v3"), ("v2",), parts=2)
        assert [world.tagged(tag) for tag in ("v1", "v2", "v3")] == [IMAGE, other, IMAGE]

    def test_a_tag_that_left_the_manifest_before_does_not_come_with_it(self, world: World) -> None:
        world.push_image("v1", "v2")
        world.holdings.delete_tag(world.change(), Tag("v1"))
        delete(world, IMAGE)
        assert restore(world, IMAGE).tags == ("v2",)
        with pytest.raises(ManifestUnknown):
            world.find(Tag("v1"))

    def test_what_is_not_in_the_trash_does_not_come_back(self, world: World) -> None:
        with pytest.raises(RepositoryUnknown):
            restore(world, IMAGE)
        world.push_image("v1")
        with pytest.raises(ManifestUnknown):
            restore(world, Digest.of_bytes(b"another manifest"))
        with pytest.raises(Conflict):
            restore(world, IMAGE)
        world.push(b"content", OTHER)
        delete(world, IMAGE)
        with pytest.raises(ManifestUnknown):
            world.holdings.restore_manifest(world.change(OTHER), IMAGE)
        restore(world, IMAGE)
        with pytest.raises(Conflict):
            restore(world, IMAGE)

    def test_a_manifest_whose_blob_is_gone_stays_in_the_trash(self, world: World) -> None:
        world.push_image("v1")
        delete(world, IMAGE)
        world.lose(LAYER)
        before = world.recorded()
        for step in (partial(restore, world, IMAGE), partial(restore_tag, world, "v1")):
            with pytest.raises(ManifestBlobUnknown) as caught:
                step()
            assert caught.value.digests == (str(LAYER),)
        assert world.recorded() == before
        with pytest.raises(ManifestUnknown):
            world.find(IMAGE)
        world.push(b"layer")
        assert restore(world, IMAGE).tags == ("v1",)

    def test_a_manifest_may_lack_what_it_only_names(self, world: World) -> None:
        """An index can come back without its children."""
        world.push_image()
        index = index_manifest(descriptor(image_manifest(b"layer"), OCI_MANIFEST))
        world.put(index, "all", media_type=OCI_INDEX)
        delete(world, IMAGE)
        delete(world, Digest.of_bytes(index))
        assert restore(world, Digest.of_bytes(index)).tags == ("all",)

    def test_a_push_takes_a_manifest_out_of_the_trash(self, world: World) -> None:
        world.push_image("v1", "v2")
        delete(world, IMAGE)
        assert world.put(image_manifest(b"layer"), "v1") == PushResult(OCI_MANIFEST)
        with pytest.raises(Conflict):
            restore(world, IMAGE)
        with pytest.raises(ManifestUnknown):
            world.find(Tag("v2"))
        drop(world)
        assert world.tagged("v1") == IMAGE

    def test_it_comes_back_as_it_was_deleted_last(self, world: World) -> None:
        world.push(b"{}")
        body = image_manifest().replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode(), 1)
        digest = Digest.of_bytes(body)
        for tag in ("v1", "v2"):
            world.put(body, tag, media_type=DOCKER_MANIFEST)
            delete(world, digest)
        assert restore(world, digest).tags == ("v2",)
        assert world.find(digest).media_type == DOCKER_MANIFEST

    # ---- tags ----------------------------------------------------------------------------------
    def test_a_tag_goes_back_to_its_state_before(self, world: World) -> None:
        first, second = world.push_image("v1", layer=b"one"), world.push_image("v1", layer=b"two")
        assert restore_tag(world, "v1") == first
        assert world.tagged("v1") == first
        assert restore_tag(world, "v1") == second, "the second restore undoes the first"
        assert world.tagged("v1") == second

    def test_a_deleted_tag_comes_back(self, world: World) -> None:
        world.push_image("v1")
        world.holdings.delete_tag(world.change(), Tag("v1"))
        assert restore_tag(world, "v1") == IMAGE
        assert world.tagged("v1") == IMAGE

    def test_a_tag_brings_its_manifest_back_without_other_tags(self, world: World) -> None:
        world.push_image("v1", "v2")
        delete(world, IMAGE)
        assert restore_tag(world, "v1") == IMAGE
        assert world.tagged("v1") == IMAGE
        with pytest.raises(ManifestUnknown):
            world.find(Tag("v2"))
        assert restore_tag(world, "v2") == IMAGE

    def test_a_tag_goes_to_the_digest_that_is_named(self, world: World) -> None:
        one, two, three = (world.push_image("v1", layer=x) for x in (b"one", b"two", b"three"))
        delete(world, two)
        assert restore_tag(world, "v1", one) == world.tagged("v1") == one
        assert restore_tag(world, "v1", two) == world.tagged("v1") == two
        assert world.find(three).digest == three
        with pytest.raises(ManifestUnknown):
            restore_tag(world, "v1", IMAGE)
        assert world.tagged("v1") == two

    def test_a_tag_without_a_past_is_not_restored(self, world: World) -> None:
        with pytest.raises(RepositoryUnknown):
            restore_tag(world, "v1")
        world.push_image("v1")
        assert world.put(image_manifest(b"layer"), "v1") == PushResult(OCI_MANIFEST)
        for tag in ("v1", "v2"):
            with pytest.raises(ManifestUnknown):
                restore_tag(world, tag)

    # ---- rights --------------------------------------------------------------------------------
    def test_restores_need_the_right_to_push(self, world: World) -> None:
        world.push_image("v1")
        delete(world, IMAGE)
        before = world.recorded()
        for permits, kind in ((PULLER, AccessRefused), (STRANGER, RepositoryHidden)):
            change = world.change(permits=permits)
            with pytest.raises(kind):
                world.holdings.restore_manifest(change, IMAGE)
            with pytest.raises(kind):
                world.holdings.restore_tag(change, Tag("v1"))
        assert world.recorded() == before

    def test_what_another_account_deleted_is_not_the_callers(self, world: World) -> None:
        """The name belongs to no account here, so the repository is the registry's own."""
        world.push_image("v1")
        delete(world, IMAGE)
        before = world.recorded()
        change = world.change(permits=Account(7))
        for step in (
            partial(world.holdings.restore_manifest, change, IMAGE),
            partial(world.holdings.restore_tag, change, Tag("v1")),
            partial(world.holdings.restore_tag, change, Tag("v1"), IMAGE),
        ):
            with pytest.raises(ManifestUnknown):
                step()
        assert world.recorded() == before
        change = world.change(permits=Account(REGISTRY))
        assert world.holdings.restore_manifest(change, IMAGE).tags == ("v1",)
        world.holdings.delete_tag(change, Tag("v1"))
        assert world.holdings.restore_tag(change, Tag("v1")) == IMAGE

    # ---- the change log ------------------------------------------------------------------------
    def test_restores_are_recorded_under_their_authors(self, world: World) -> None:
        """A repair makes manifests and tags again from these changes alone, like from puts."""
        world.push_image("v1", "v2")
        delete(world, IMAGE)
        world.push_image("v2", layer=b"other")
        before = len(world.recorded())
        world.holdings.restore_manifest(world.change(actor="bob"), IMAGE)
        delete(world, IMAGE, "carol")
        world.holdings.restore_tag(world.change(actor="dave"), Tag("v3"), IMAGE)
        drop(world)
        assert world.recorded()[before:] == [
            ("manifest.put", "bob", "team/app", str(IMAGE)),
            ("tag.set", "bob", "team/app", "v1"),
            ("tag.delete", "carol", "team/app", "v1"),
            ("manifest.delete", "carol", "team/app", str(IMAGE)),
            ("manifest.put", "dave", "team/app", str(IMAGE)),
            ("tag.set", "dave", "team/app", "v3"),
        ]

    # ---- the end -------------------------------------------------------------------------------
    def test_what_was_deleted_before_a_time_leaves_the_trash(self, world: World) -> None:
        first, second = (world.push_image(layer=layer) for layer in (b"one", b"two"))
        delete(world, first)
        deleted_at = world.clock()
        world.clock.advance(1)
        delete(world, second)
        assert drop(world, deleted_at) == 0
        assert drop(world, deleted_at + 1) == 1
        assert drop(world, deleted_at + 1) == 0
        assert not is_restorable(world, first)
        assert is_restorable(world, second)

    def test_earlier_states_of_tags_leave_it_too(self, world: World) -> None:
        first, second = world.push_image("v1", layer=b"one"), world.push_image("v1", layer=b"two")
        world.clock.advance(1)
        world.holdings.delete_tag(world.change(), Tag("v1"))
        assert drop(world, world.clock()) == 1
        assert restore_tag(world, "v1") == second
        world.holdings.delete_tag(world.change(), Tag("v1"))
        assert drop(world) == 2
        with pytest.raises(ManifestUnknown):
            restore_tag(world, "v1")
        assert restore_tag(world, "v1", first) == first, "its manifest was never deleted"

    def test_a_manifest_deleted_again_stays_for_its_new_time(self, world: World) -> None:
        world.push_image()
        delete(world, IMAGE)
        world.clock.advance(10)
        restore(world, IMAGE)
        delete(world, IMAGE)
        assert drop(world, world.clock()) == 0
        assert is_restorable(world, IMAGE)
        world.clock.advance(10)
        delete(world, IMAGE)
        world.put(image_manifest(b"layer"))
        world.clock.advance(10)
        delete(world, IMAGE)
        assert drop(world, world.clock()) == 0
        assert drop(world) == 1
        assert not is_restorable(world, IMAGE)

    def test_a_restored_manifest_is_not_dropped(self, world: World) -> None:
        world.push_image("v1")
        delete(world, IMAGE)
        restore(world, IMAGE)
        drop(world)
        assert world.tagged("v1") == IMAGE
        world.clock.advance(100 * GRACE_SECONDS)
        world.tidy()
        assert world.content(LAYER) == b"layer"

    def test_a_step_drops_no_more_than_its_limit_and_the_oldest_first(self, world: World) -> None:
        digests = [world.push_image(layer=b"%d" % n) for n in range(5)]
        for digest in digests:
            delete(world, digest)
            world.clock.advance(1)
        assert world.holdings.drop_deleted(world.clock(), 2) == 2
        assert [is_restorable(world, one) for one in digests] == [False] * 2 + [True] * 3

    def test_another_repository_keeps_what_it_has(self, world: World) -> None:
        world.push_image("v1")
        world.push_image("v1", name=OTHER)
        delete(world, IMAGE)
        drop(world)
        world.clock.advance(GRACE_SECONDS)
        world.tidy()
        assert not world.holds(LAYER)
        assert world.tagged("v1", OTHER) == IMAGE
        assert world.content(LAYER) == b"layer"

    # ---- graces --------------------------------------------------------------------------------
    def test_a_restored_manifest_keeps_its_blobs(self, world: World) -> None:
        for step in (partial(restore, world, IMAGE), partial(restore_tag, world, "v1")):
            world.push_image("v1")
            delete(world, IMAGE)
            step()
            assert not world.is_due(LAYER)
            world.clock.advance(100 * GRACE_SECONDS)
            world.tidy()
            assert world.content(LAYER) == b"layer"

    def test_blobs_go_when_grace_and_trash_are_over(self, world: World) -> None:
        world.push_image("v1")
        world.clock.advance(100 * GRACE_SECONDS)
        delete(world, IMAGE)
        drop(world)
        world.clock.advance(GRACE_SECONDS - 1)
        world.tidy()
        assert world.holds(LAYER), "its grace runs from the delete"
        world.clock.advance(1)
        world.tidy()
        assert not world.holds(LAYER)
        assert world.content(LAYER) is None

    def test_a_grace_may_end_in_the_trash(self, world: World) -> None:
        world.push_image("v1")
        delete(world, IMAGE)
        world.clock.advance(2 * GRACE_SECONDS)
        world.tidy()
        assert world.holds(LAYER)
        drop(world)
        world.tidy()
        assert not world.holds(LAYER)

    def test_blobs_that_another_manifest_keeps_stay(self, world: World) -> None:
        world.push_image("v1")
        digests = [world.push_image(layer=b"other")]
        fields = {"annotations": {"n": "1"}}
        body = image_manifest(b"layer", fields=fields)
        world.put(body)
        digests.append(IMAGE)
        for digest in digests:
            delete(world, digest)
        drop(world)
        world.clock.advance(GRACE_SECONDS)
        world.tidy()
        assert world.holds(LAYER)
        assert not world.holds(Digest.of_bytes(b"other"))
        delete(world, Digest.of_bytes(body))
        world.clock.advance(GRACE_SECONDS)
        world.tidy()
        assert world.holds(LAYER), "a manifest in the trash keeps it"
        drop(world)
        world.tidy()
        assert not world.holds(LAYER)

    # ---- at the same time ----------------------------------------------------------------------
    def test_a_restore_beside_the_end_of_the_trash(self, world: World) -> None:
        """The manifest is back with its tag and its blobs, or deleted for good."""
        for number in range(_ROUNDS):
            layer = b"layer %d" % number
            digest = world.push_image("v1", layer=layer)
            delete(world, digest)
            world.clock.advance(GRACE_SECONDS)
            back, _ = at_once(partial(restore, world, digest), partial(drop, world))
            world.tidy()
            is_back = isinstance(back, RestoredManifest)
            assert is_back or isinstance(back, ManifestUnknown)
            assert world.content(Digest.of_bytes(layer)) == (layer if is_back else None)
            if is_back:
                assert world.tagged("v1") == digest
                delete(world, digest)

    def test_a_restore_beside_a_delete(self, world: World) -> None:
        world.push_image("v1")
        for _ in range(_ROUNDS):
            delete(world, IMAGE)
            back, deleted = at_once(partial(restore, world, IMAGE), partial(delete, world, IMAGE))
            assert isinstance(back, RestoredManifest)
            assert deleted is None or isinstance(deleted, ManifestUnknown)
            if deleted is None:
                restore(world, IMAGE)
            assert world.tagged("v1") == IMAGE

    def test_one_of_two_restores_wins(self, world: World) -> None:
        world.push_image("v1")
        for _ in range(_ROUNDS):
            delete(world, IMAGE)
            ended = at_once(*[partial(restore, world, IMAGE)] * 2)
            assert [type(one) for one in ended if isinstance(one, DtrfastError)] == [Conflict]
            assert world.tagged("v1") == IMAGE

    def test_a_restore_beside_a_push_of_its_tag(self, world: World) -> None:
        """The tag is the push's. The restore set it before, or reports it as taken."""
        other = world.push_image(layer=b"other")
        for number in range(_ROUNDS):
            tag = f"v{number}"
            world.push_image(tag)
            delete(world, IMAGE)
            back, _ = at_once(
                partial(restore, world, IMAGE), partial(world.put, image_manifest(b"other"), tag)
            )
            assert isinstance(back, RestoredManifest)
            assert tag in (*back.tags, *back.tags_taken)
            assert world.tagged(tag) == other
            world.holdings.delete_tag(world.change(), Tag(tag))
            delete(world, IMAGE)
            drop(world)
