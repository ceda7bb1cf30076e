"""The contract of `drop_unheld` of every `Holdings`, and of calls at the same time.

Used like `holdings_contract`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dtrfast.errors import BlobUnknown, DtrfastError, ManifestUnknown, PreconditionFailed
from dtrfast.oci.conditions import Conditions, entity_tag
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.holdings import Lookup, PushResult
from dtrfast.registry.manifests import Rules
from dtrfast.registry.permits import EVERYBODY
from dtrfast.store.blobs import BlobStore
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.registry.holding_world import GRACE_SECONDS, NAME, OTHER, MakeWorld, World

# Rounds of a race: enough to see each of its outcomes now and then.
_ROUNDS = 12


def at_once(*steps: Callable[[], object]) -> list[object]:
    """Run the steps at the same time, each in a thread; returns their results or exceptions."""
    begin = threading.Barrier(len(steps))

    def run(step: Callable[[], object]) -> object:
        begin.wait(10)
        try:
            return step()
        except DtrfastError as error:
            return error

    with ThreadPoolExecutor(len(steps)) as pool:
        return list(pool.map(run, steps))


class UnheldContract:
    """Only tests. The fixture comes from the subclass."""

    # ---- the grace -----------------------------------------------------------------------------
    def test_an_unreferenced_blob_goes_after_its_grace(self, world: World) -> None:
        digest = world.push(b"content")
        world.clock.advance(GRACE_SECONDS - 1)
        assert world.holdings.drop_unheld(10) == 0
        assert world.holds(digest)
        world.clock.advance(1)
        world.tidy()
        assert not world.holds(digest)
        assert world.content(digest) is None
        assert world.names() == []
        assert world.link_changes()[1:] == [("blob.unlink", "system", "team/app", str(digest))]
        assert world.holdings.drop_unheld(10) == 0

    def test_a_referenced_blob_stays(self, world: World) -> None:
        world.push_image("v1")
        world.clock.advance(100 * GRACE_SECONDS)
        world.tidy()
        for content in (b"{}", b"layer"):
            assert world.content(Digest.of_bytes(content)) == content
            assert world.holds(Digest.of_bytes(content))

    @pytest.mark.parametrize("is_deleted", [False, True])
    def test_a_blob_that_comes_after_its_manifest_stays(
        self, world: World, is_deleted: bool
    ) -> None:
        """The index knows the references to a blob even while no repository holds it."""
        digest, layer = world.push_image("v1"), Digest.of_bytes(b"layer")
        world.lose(layer)
        world.tidy()
        assert world.content(layer) is None
        if is_deleted:
            world.holdings.delete_manifest(world.change(), digest)
        world.push(b"layer")
        world.clock.advance(100 * GRACE_SECONDS)
        world.tidy()
        assert world.content(layer) == b"layer"
        assert world.holds(layer)

    def test_rules_may_allow_what_is_not_there(self, make_world: MakeWorld) -> None:
        world = make_world(Rules(require_blobs=False, require_children=False))
        body = image_manifest(b"layer")
        index = index_manifest(descriptor(body, OCI_MANIFEST))
        assert world.put(index, "all", media_type=OCI_INDEX) == PushResult(OCI_INDEX)
        assert world.put(body, "v1") == PushResult(OCI_MANIFEST)
        layer = world.push(b"layer")
        assert not world.is_due(layer)
        world.clock.advance(100 * GRACE_SECONDS)
        world.tidy()
        assert world.holds(layer)
        world.holdings.delete_manifest(world.change(), Digest.of_bytes(body))
        assert world.tagged("all") == Digest.of_bytes(index)

    def test_a_manifest_in_the_trash_keeps_its_blobs(self, world: World) -> None:
        digest = world.push_image("v1")
        world.clock.advance(100 * GRACE_SECONDS)
        world.holdings.delete_manifest(world.change(), digest)
        world.clock.advance(100 * GRACE_SECONDS)
        world.tidy()
        assert world.holds(Digest.of_bytes(b"layer"))
        assert world.put(image_manifest(b"layer"), "v1") == PushResult(OCI_MANIFEST)

    def test_a_push_starts_the_grace_anew(self, world: World) -> None:
        digest = world.push(b"content")
        world.clock.advance(GRACE_SECONDS - 1)
        world.push(b"content")
        world.clock.advance(GRACE_SECONDS - 1)
        world.tidy()
        assert world.content(digest) == b"content"

    def test_renewing_starts_the_grace_anew(self, world: World) -> None:
        digest = world.push(b"content")
        for _ in range(3):
            world.clock.advance(GRACE_SECONDS - 1)
            world.holdings.renew(NAME, digest)
            world.tidy()
            assert world.holds(digest)
        world.clock.advance(GRACE_SECONDS)
        world.tidy()
        assert not world.holds(digest)

    def test_renewing_what_is_not_held_changes_nothing(self, world: World) -> None:
        digest = world.push(b"content")
        before = world.link_changes()
        world.holdings.renew(OTHER, digest)
        world.holdings.renew(NAME, Digest.of_bytes(b"other content"))
        assert (world.names(), world.link_changes()) == (["team/app"], before)
        assert not world.holds(digest, OTHER)

    def test_a_blob_is_due_to_be_renewed_once_its_grace_runs(self, world: World) -> None:
        digest = world.push(b"content")
        world.clock.advance(GRACE_SECONDS // 2)
        assert world.is_due(digest)
        world.holdings.renew(NAME, digest)
        assert not world.is_due(digest)

    def test_a_referenced_blob_is_never_due_to_be_renewed(self, world: World) -> None:
        world.push_image("v1")
        world.clock.advance(GRACE_SECONDS // 2)
        assert not world.is_due(Digest.of_bytes(b"layer"))

    def test_a_mount_has_a_grace_of_its_own(self, world: World) -> None:
        digest = world.push(b"content")
        world.clock.advance(GRACE_SECONDS - 1)
        assert world.mount(digest, NAME, OTHER)
        world.clock.advance(GRACE_SECONDS - 1)
        world.tidy()
        assert (world.holds(digest), world.holds(digest, OTHER)) == (False, True)
        assert world.content(digest) == b"content"

    # ---- content that no repository holds ------------------------------------------------------
    def test_content_is_freed_once_its_last_holder_is_gone(self, world: World) -> None:
        digest = world.push(b"content")
        world.mount(digest, NAME, OTHER)
        for name in (NAME, OTHER):
            world.tidy()
            assert world.content(digest) == b"content"
            world.holdings.unlink(world.change(name), digest)
        world.tidy()
        assert world.content(digest) is None

    def test_content_goes_by_both_of_its_digests(self, world: World) -> None:
        first, second = world.push(b"content"), world.push(b"content", OTHER, "sha512")
        world.holdings.unlink(world.change(), first)
        world.tidy()
        assert world.content(second) == b"content"
        world.holdings.unlink(world.change(OTHER), second)
        world.tidy()
        assert world.content(first) is world.content(second) is None

    def test_content_that_is_held_again_stays(self, world: World) -> None:
        digest = world.push(b"content")
        world.holdings.unlink(world.change(), digest)
        world.push(b"content", OTHER)
        world.tidy()
        assert world.content(digest) == b"content"
        world.holdings.unlink(world.change(OTHER), digest)
        world.tidy()
        assert world.content(digest) is None

    def test_content_that_is_claimed_is_left_and_looked_at_again(self, world: World) -> None:
        digest, other = world.push(b"content"), world.push(b"other content")
        for one in (digest, other):
            world.holdings.unlink(world.change(), one)
        with world.place(b"content"):
            world.tidy()
            assert world.content(digest) == b"content"
            assert world.content(other) is None
        world.tidy()
        assert world.content(digest) is None

    def test_claimed_content_does_not_hide_what_is_behind_it(self, world: World) -> None:
        digests = sorted((world.push(b"%d" % n) for n in range(3)), key=Digest.key)
        contents = {Digest.of_bytes(b"%d" % n): b"%d" % n for n in range(3)}
        for one in digests:
            world.holdings.unlink(world.change(), one)
        with world.place(contents[digests[0]]):
            for _ in range(3):
                world.holdings.drop_unheld(1)
            left = [world.content(one) is not None for one in digests]
        assert left == [True, False, False]

    def test_a_step_looks_at_no_more_than_its_limit(self, world: World) -> None:
        digests = [world.push(b"%d" % n) for n in range(5)]
        world.clock.advance(GRACE_SECONDS)
        world.holdings.drop_unheld(2)
        assert sum(map(world.holds, digests)) == 3
        world.tidy()
        assert not any(map(world.holds, digests))
        assert not any(world.content(one) for one in digests)

    def test_are_held(self, world: World) -> None:
        first, second = world.push(b"one"), world.push(b"two", algorithm="sha512")
        unknown = Digest.of_bytes(b"unknown")
        are_held = world.holdings.are_held
        asked = [[first], [unknown], [unknown, second], [], [Digest.of_bytes(b"two")]]
        assert are_held(asked) == [True, False, True, False, False]
        assert are_held([]) == []
        world.holdings.unlink(world.change(), first)
        assert are_held([[first], [first, second]]) == [False, True]

    def test_content_that_is_let_go_of_again_during_a_release_is_freed_later(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of this happens in one second, so the times of the two losses are equal."""
        digest = world.push(b"content")
        world.holdings.unlink(world.change(), digest)
        world.push(b"content", OTHER)
        released = release_then(world.blobs, monkeypatch, partial(world.lose, digest, OTHER))
        world.holdings.drop_unheld(10)
        assert released() == 1
        assert world.content(digest) == b"content", "it was held when the release looked"
        world.tidy()
        assert world.content(digest) is None

    # ---- at the same time ----------------------------------------------------------------------
    def test_a_mount_beside_the_end_of_its_source(self, world: World) -> None:
        for number in range(_ROUNDS):
            content, source = b"content %d" % number, RepositoryName(f"source-{number}")
            digest = world.push(content, source)

            mount = partial(world.mount, digest, source, OTHER)
            mounted, _ = at_once(mount, partial(end, world, digest, source))
            world.tidy()
            assert world.content(digest) == (content if mounted is True else None)
            assert world.holds(digest, OTHER) is mounted

    def test_a_mount_from_any_repository_beside_the_end_of_the_last_one(self, world: World) -> None:
        for number in range(_ROUNDS):
            content, source = b"content %d" % number, RepositoryName(f"source-{number}")
            digest = world.push(content, source)
            mount = partial(world.mount, digest, None, OTHER)
            mounted, _ = at_once(mount, partial(end, world, digest, source))
            world.tidy()
            assert world.content(digest) == (content if mounted is True else None)
            assert world.holds(digest, OTHER) is mounted

    def test_the_last_two_holders_leave_at_once(self, world: World) -> None:
        """Each may see the other one still hold the content, which is freed nevertheless."""
        for number in range(_ROUNDS):
            digest = world.push(b"content %d" % number)
            world.mount(digest, NAME, OTHER)
            lose = (partial(world.lose, digest, name) for name in (NAME, OTHER))
            assert at_once(*lose) == [None, None]
            world.tidy()
            assert world.content(digest) is None

    def test_two_names_of_one_content_leave_at_once(self, world: World) -> None:
        for number in range(_ROUNDS):
            content = b"content %d" % number
            names = [world.push(content), world.push(content, OTHER, "sha512")]
            lose = map(partial, [world.lose] * 2, names, (NAME, OTHER))
            assert at_once(*lose) == [None, None]
            world.tidy()
            assert [world.content(name) for name in names] == [None, None]

    def test_a_commit_beside_an_unlink_in_its_repository(self, world: World) -> None:
        """The later one counts. A link always has its content."""
        for number in range(_ROUNDS):
            content = b"content %d" % number
            digest = world.push(content)
            assert at_once(partial(world.push, content), partial(world.lose, digest))[0] == digest
            world.tidy()
            assert world.content(digest) == (content if world.holds(digest) else None)
            if world.holds(digest):
                end(world, digest, NAME)
                assert world.content(digest) is None

    def test_two_commits_of_one_content(self, world: World) -> None:
        for number in range(_ROUNDS):
            content = b"content %d" % number
            digest = Digest.of_bytes(content)
            pushed = at_once(*(partial(world.push, content, name) for name in (NAME, OTHER)))
            assert pushed == [digest, digest]
            assert world.holds(digest)
            assert world.holds(digest, OTHER)
            world.lose(digest, NAME)
            world.tidy()
            assert world.content(digest) == content

    def test_a_commit_beside_the_release_of_the_same_content(self, world: World) -> None:
        for number in range(_ROUNDS):
            content = b"content %d" % number
            digest = world.push(content)
            world.lose(digest, NAME)
            pushed, _ = at_once(partial(world.push, content, OTHER), world.tidy)
            assert pushed == digest
            world.tidy()
            assert world.content(digest) == content

    def test_a_put_beside_the_end_of_the_grace(self, world: World) -> None:
        """The manifest has its blobs, or fails because they are missing."""
        for number in range(_ROUNDS):
            layer, name = b"layer %d" % number, RepositoryName(f"app-{number}")
            for content in (b"{}", layer):
                world.push(content, name)
            world.clock.advance(GRACE_SECONDS)
            body = image_manifest(layer)
            stored, _ = at_once(partial(world.put, body, "v1", name=name), world.tidy)
            world.tidy()
            kept = layer if isinstance(stored, PushResult) else None
            assert world.content(Digest.of_bytes(layer)) == kept

    def test_a_delete_beside_a_put(self, world: World) -> None:
        """The manifest exists with its tag and its blobs, or not at all."""
        digest = world.push_image("v1")
        body = image_manifest(b"layer")
        for _ in range(_ROUNDS):
            deleted, stored = at_once(
                partial(world.holdings.delete_manifest, world.change(), digest),
                partial(world.put, body, "v1"),
            )
            assert stored == PushResult(OCI_MANIFEST)
            assert deleted in (("v1",), ())
            try:
                assert world.tagged("v1") == digest
            except ManifestUnknown:
                with pytest.raises(ManifestUnknown):
                    world.find(digest)
                world.put(body, "v1")
            world.clock.advance(GRACE_SECONDS)
            world.tidy()
            assert world.holds(Digest.of_bytes(b"layer"))

    def test_one_of_many_puts_under_a_new_name_wins(self, world: World) -> None:
        """The others are refused because they came too late, and write nothing."""
        only_new = Conditions(if_none_match="*")
        world.push(b"{}")
        bodies = [image_manifest(fields={"n": n}) for n in range(4)]
        for number in range(_ROUNDS):
            put = partial(world.put, conditions=only_new)
            ended = at_once(*(partial(put, body, f"v{number}") for body in bodies))
            lost = [one for one in ended if isinstance(one, PreconditionFailed)]
            assert len(lost) == 3
            won = bodies[ended.index(PushResult(OCI_MANIFEST))]
            assert world.tagged(f"v{number}") == Digest.of_bytes(won)

    def test_one_of_two_moves_of_a_tag_wins(self, world: World) -> None:
        """Both moves, and a delete beside them, require the manifest that the tag named before."""
        world.push(b"{}")
        now = image_manifest()
        world.put(now, "v1")
        for number in range(_ROUNDS):
            was = Conditions(if_match=entity_tag(str(Digest.of_bytes(now))))
            bodies = [image_manifest(fields={"n": f"{number} {n}"}) for n in range(2)]
            moves = [partial(world.put, body, "v1", conditions=was) for body in bodies]
            delete = partial(world.holdings.delete_tag, world.change(conditions=was), Tag("v1"))
            ended = at_once(*moves, delete)
            failures = [one for one in ended if isinstance(one, DtrfastError)]
            assert len(failures) == 2
            now = bodies[0] if ended[0] == PushResult(OCI_MANIFEST) else bodies[1]
            if ended[2] is None:
                assert isinstance(world.ask(Lookup(EVERYBODY, NAME, Tag("v1"))), ManifestUnknown)
                world.put(now, "v1")
            assert world.tagged("v1") == Digest.of_bytes(now)

    def test_one_of_two_unlinks_wins(self, world: World) -> None:
        for number in range(_ROUNDS):
            digest = world.push(b"content %d" % number)
            ended = at_once(*[partial(world.lose, digest)] * 2)
            assert [type(one) for one in ended if one is not None] == [BlobUnknown]

    def test_questions_are_answered_as_of_one_moment(self, world: World) -> None:
        """Two tags that move together are never seen apart."""
        bodies = [image_manifest(layer) for layer in (b"one", b"two")]
        for content in (b"{}", b"one", b"two"):
            world.push(content)
        world.put(bodies[0], "v1", "v2")
        questions = [Lookup(EVERYBODY, NAME, Tag(tag)) for tag in ("v1", "v2")]

        def move() -> None:
            for number in range(4 * _ROUNDS):
                world.put(bodies[number % 2], "v1", "v2")

        def ask() -> int:
            pairs = (world.holdings.resolve_waiting(questions) for _ in range(8 * _ROUNDS))
            return sum(first != second for first, second in pairs)

        assert at_once(move, ask, ask) == [None, 0, 0]

    def test_pushes_of_one_tag(self, world: World) -> None:
        layers = [b"layer %d" % n for n in range(8)]
        digests = at_once(*(partial(world.push_image, "v1", layer=one) for one in layers))
        assert world.tagged("v1") in digests
        assert world.holdings.tags(EVERYBODY, NAME, 10).entries == ["v1"]
        world.holdings.delete_tag(world.change(), Tag("v1"))
        for one in digests:
            assert isinstance(one, Digest)
            assert world.find(one).digest == one


def end(world: World, digest: Digest, name: RepositoryName) -> None:
    """Remove the blob from the repository, and free everything that nothing needs."""
    world.lose(digest, name)
    world.tidy()


def release_then(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, step: Callable[[], object]
) -> Callable[[], int]:
    """Run `step` once the store's next release has settled; returns a function for its count."""
    release, counts = blobs.release, []

    def release_once(digests: object, is_held: object) -> list[Digest]:
        settled: list[Digest] = release(digests, is_held)  # type: ignore[arg-type]
        monkeypatch.setattr(blobs, "release", release)
        step()
        counts.append(len(settled))
        return settled

    monkeypatch.setattr(blobs, "release", release_once)
    return lambda: counts[0]
