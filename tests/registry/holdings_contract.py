"""The contract of every `Holdings`. `trash_contract` and `unheld_contract` have further parts.

Subclass it, and provide the fixture `make_world`: a function that makes empty holdings with rules,
and with `GRACE_SECONDS`, over an empty store of blobs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

from dtrfast.errors import (
    AccessRefused,
    BlobUnknown,
    DtrfastError,
    ManifestInvalid,
    ManifestUnknown,
    PreconditionFailed,
    RepositoryHidden,
    RepositoryUnknown,
    StorageFull,
)
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.conditions import Conditions, entity_tag
from dtrfast.oci.digests import Algorithm, Digest
from dtrfast.oci.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.holdings import (
    FoundBlob,
    FoundManifest,
    Holdings,
    Lookup,
    LookupResult,
    MissingContent,
    PushResult,
    blob_in,
    manifest_in,
)
from dtrfast.registry.permits import EVERYBODY, SCOPED, Action
from dtrfast.store.blobs import BlobStat, Placement
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.fakes.permits import DictPermits
from tests.registry.holding_world import NAME, OTHER, RULES, MakeWorld, World

NOTHING = Digest.of_bytes(b"nothing has this digest")
READER = DictPermits({"team/app": Action.PULL, "other": Action.PULL})
STRANGER = DictPermits({})
PUSHER = DictPermits({"team/app": Action.PULL | Action.PUSH})

Resolve = Callable[[Holdings, list[Lookup]], list[LookupResult] | None]


def at_once(holdings: Holdings, questions: list[Lookup]) -> list[LookupResult] | None:
    return holdings.resolve(questions)


def waiting(holdings: Holdings, questions: list[Lookup]) -> list[LookupResult] | None:
    return holdings.resolve_waiting(questions)


def resolve_each(ask: Resolve, world: World, questions: list[Lookup]) -> list[LookupResult]:
    """Return the answers, after waiting for those that were put off."""
    answers = ask(world.holdings, questions)
    return world.holdings.resolve_waiting(questions) if answers is None else answers


def if_match(digest: Digest) -> Conditions:
    return Conditions(if_match=entity_tag(str(digest)))


def untyped(body: bytes) -> bytes:
    """Return the same manifest without its media type."""
    document = json.loads(body)
    del document["mediaType"]
    return json.dumps(document).encode()


class PlacementInOneStep:
    """A `Placement` whose change may go into the link's commit. `is_durable` tells if it ran."""

    inline = None

    def __init__(self, inner: Placement, error: DtrfastError | None = None) -> None:
        self.stat = inner.stat
        self.is_durable = False
        self._inner = inner
        self._error = error

    @property
    def pending(self) -> Callable[[WriteTransaction], object]:
        return self._take

    def settle(self) -> None:
        self._check()
        self._inner.settle()

    def _take(self, transaction: WriteTransaction) -> None:
        self._check()
        change = self._inner.pending
        if change is None:
            self._inner.settle()
        else:
            change(transaction)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        self.is_durable = True

    def finish(self) -> None:
        self._inner.finish()

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class HoldingsContract:
    """Only tests. The fixture `make_world` comes from the subclass."""

    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        return make_world(RULES)

    # ---- resolve -------------------------------------------------------------------------------
    @pytest.mark.parametrize("ask", [at_once, waiting])
    def test_many_questions_are_answered_in_their_order(self, world: World, ask: Resolve) -> None:
        digest = world.push_image("v1", "v2")
        blob = Digest.of_bytes(b"layer")
        found = FoundManifest(digest, OCI_MANIFEST, image_manifest(b"layer"))
        questions = [
            Lookup(EVERYBODY, NAME, blob, is_blob=True),
            Lookup(EVERYBODY, NAME, Tag("v2")),
            Lookup(EVERYBODY, NAME, Tag("v3")),
            Lookup(EVERYBODY, OTHER, Tag("v1")),
            Lookup(EVERYBODY, NAME, NOTHING, is_blob=True),
            Lookup(EVERYBODY, NAME, digest),
            Lookup(EVERYBODY, OTHER, blob, is_blob=True),
            Lookup(EVERYBODY, NAME, blob),
            Lookup(EVERYBODY, NAME, digest, is_blob=True),
        ]
        answers = resolve_each(ask, world, questions)
        assert answers[0] == FoundBlob(blob, is_due=False)
        assert answers[1] == answers[5] == found
        kinds = [type(answer) for answer in answers]
        assert kinds[2:5] == [ManifestUnknown, ManifestUnknown, BlobUnknown]
        assert kinds[6:] == [BlobUnknown, ManifestUnknown, BlobUnknown]

    @pytest.mark.parametrize("ask", [at_once, waiting])
    def test_no_question_has_no_answer(self, world: World, ask: Resolve) -> None:
        assert ask(world.holdings, []) == []

    @pytest.mark.parametrize("ask", [at_once, waiting])
    def test_permits_are_asked_for_each_question(self, world: World, ask: Resolve) -> None:
        digest, blob = world.push_image("v1"), Digest.of_bytes(b"layer")
        questions = [
            Lookup(STRANGER, NAME, Tag("v1")),
            Lookup(READER, NAME, Tag("v1")),
            Lookup(STRANGER, NAME, blob, is_blob=True),
            Lookup(READER, NAME, blob, is_blob=True),
            Lookup(READER, NAME, blob, is_blob=True, action=Action.PUSH),
            Lookup(STRANGER, NAME, digest),
        ]
        answers = resolve_each(ask, world, questions)
        assert [type(answer) for answer in answers] == [
            RepositoryHidden,
            FoundManifest,
            RepositoryHidden,
            FoundBlob,
            AccessRefused,
            RepositoryHidden,
        ]

    def test_the_only_answer_is_raised_if_it_is_an_exception(self, world: World) -> None:
        world.push_image("v1")
        with pytest.raises(ManifestUnknown, match="v2"):
            manifest_in([world.ask(Lookup(EVERYBODY, NAME, Tag("v2")))])
        with pytest.raises(BlobUnknown):
            blob_in([world.ask(Lookup(EVERYBODY, NAME, NOTHING, is_blob=True))])

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_a_blob_is_found_by_the_digest_that_it_was_pushed_with(
        self, world: World, algorithm: Algorithm
    ) -> None:
        digest = world.push(b"content", algorithm=algorithm)
        assert world.holds(digest)
        other: Algorithm = "sha512" if algorithm == "sha256" else "sha256"
        assert not world.holds(Digest.of_bytes(b"content", other))

    def test_check(self, world: World) -> None:
        world.holdings.check(READER, Action.PULL, NAME)
        with pytest.raises(AccessRefused):
            world.holdings.check(READER, Action.PUSH, NAME)
        with pytest.raises(RepositoryHidden):
            world.holdings.check(STRANGER, Action.PULL, NAME)

    # ---- blobs ---------------------------------------------------------------------------------
    def test_a_committed_blob_is_held_by_this_repository_only(self, world: World) -> None:
        digest = world.push(b"content")
        assert (world.holds(digest), world.holds(digest, OTHER)) == (True, False)
        assert world.content(digest) == b"content"
        assert world.names() == ["team/app"]
        assert world.link_changes() == [("blob.link", "alice", "team/app", str(digest))]

    def test_a_blob_committed_again_is_linked_once(self, world: World) -> None:
        digest = world.push(b"content")
        assert world.push(b"content") == digest
        assert world.holds(digest)
        assert len(world.link_changes()) == 1

    def test_a_commit_asks_the_permits(self, world: World) -> None:
        with world.place(b"content") as placed, pytest.raises(AccessRefused):
            world.holdings.commit_blob(world.change(permits=READER), placed)
        assert not world.holds(placed.stat.digest)
        assert (world.names(), world.link_changes()) == ([], [])

    def test_a_change_that_is_pending_is_made_with_the_link_or_before_it(
        self, world: World
    ) -> None:
        placed = PlacementInOneStep(world.place(b"content"))
        with placed:
            world.holdings.commit_blob(world.change(), placed)
            assert placed.is_durable
            placed.finish()
        assert world.holds(placed.stat.digest)
        assert world.content(placed.stat.digest) == b"content"

    def test_content_that_cannot_be_made_durable_is_not_linked(self, world: World) -> None:
        placed = PlacementInOneStep(world.place(b"content"), StorageFull("no room"))
        with placed, pytest.raises(StorageFull):
            world.holdings.commit_blob(world.change(), placed)
        assert not world.holds(placed.stat.digest)
        assert (world.names(), world.link_changes()) == ([], [])

    # ---- mount ---------------------------------------------------------------------------------
    @pytest.mark.parametrize("source", [NAME, None])
    def test_a_mount_gives_the_blob_to_another_repository(
        self, world: World, source: RepositoryName | None
    ) -> None:
        digest = world.push(b"content")
        assert world.mount(digest, source, OTHER)
        assert world.holds(digest)
        assert world.holds(digest, OTHER)
        assert world.names() == ["other", "team/app"]
        assert world.link_changes()[1:] == [("blob.link", "alice", "other", str(digest))]

    def test_a_mount_that_is_repeated_changes_nothing(self, world: World) -> None:
        digest = world.push(b"content")
        for source in (NAME, NAME, None, OTHER):
            assert world.mount(digest, source, OTHER)
        assert len(world.link_changes()) == 2

    def test_a_mount_from_a_repository_without_the_blob_writes_nothing(self, world: World) -> None:
        digest = world.push(b"content")
        world.push(b"other content", OTHER)
        before = world.link_changes()
        for source in (OTHER, RepositoryName("unknown")):
            assert not world.mount(digest, source, RepositoryName("third"))
        stat = BlobStat(NOTHING, 3)
        assert not world.holdings.mount(world.change(RepositoryName("third")), stat, None)
        assert world.names() == ["other", "team/app"]
        assert world.link_changes() == before

    @pytest.mark.parametrize("source", [NAME, None])
    def test_a_mount_needs_a_source_that_the_caller_may_read(
        self, world: World, source: RepositoryName | None
    ) -> None:
        digest = world.push(b"content")
        pusher = DictPermits({"other": SCOPED})
        change = world.change(OTHER, permits=pusher)
        assert not world.holdings.mount(change, world.stat(digest), source)
        assert world.names() == ["team/app"]
        pusher.rights["team/app"] = Action.PULL
        assert world.holdings.mount(change, world.stat(digest), source)
        assert world.holds(digest, OTHER)

    def test_a_mount_needs_the_right_to_push(self, world: World) -> None:
        digest = world.push(b"content")
        with pytest.raises(AccessRefused):
            world.holdings.mount(world.change(OTHER, permits=READER), world.stat(digest), NAME)
        assert not world.holds(digest, OTHER)

    # ---- unlink --------------------------------------------------------------------------------
    def test_an_unlinked_blob_is_gone_from_this_repository_only(self, world: World) -> None:
        digest = world.push(b"content")
        world.mount(digest, NAME, OTHER)
        world.holdings.unlink(world.change(actor="bob"), digest)
        assert (world.holds(digest), world.holds(digest, OTHER)) == (False, True)
        assert world.names() == ["other"]
        assert world.link_changes()[2:] == [("blob.unlink", "bob", "team/app", str(digest))]

    def test_a_referenced_blob_can_be_unlinked(self, world: World) -> None:
        world.push_image("v1")
        world.holdings.unlink(world.change(), Digest.of_bytes(b"layer"))
        assert not world.holds(Digest.of_bytes(b"layer"))
        assert world.tagged("v1") == Digest.of_bytes(image_manifest(b"layer"))

    def test_unlink_of_nothing(self, world: World) -> None:
        digest = world.push(b"content")
        for name, wanted in ((NAME, NOTHING), (OTHER, digest)):
            with pytest.raises(BlobUnknown):
                world.holdings.unlink(world.change(name), wanted)
        with pytest.raises(AccessRefused):
            world.holdings.unlink(world.change(permits=READER), digest)
        assert world.holds(digest)
        assert len(world.link_changes()) == 1

    # ---- manifests -----------------------------------------------------------------------------
    def test_a_manifest_is_put_with_all_its_tags(self, world: World) -> None:
        digest = world.push_image("v1", "v2", "v3")
        assert {world.tagged(tag) for tag in ("v1", "v2", "v3")} == {digest}
        assert world.find(digest).body == image_manifest(b"layer")
        assert world.holdings.tags(EVERYBODY, NAME, 10).entries == ["v1", "v2", "v3"]

    def test_missing_content_is_told_once_each_and_nothing_is_written(self, world: World) -> None:
        config, one, two = (Digest.of_bytes(content) for content in (b"{}", b"one", b"two"))
        body = image_manifest(b"one", b"two", b"one")
        assert world.put(body, "v1") == MissingContent((config, one, two))
        assert world.names() == []
        world.push(b"one")
        assert world.put(body, "v1") == MissingContent((config, two))
        with pytest.raises(ManifestUnknown):
            world.find(Tag("v1"))
        with pytest.raises(ManifestUnknown):
            world.find(Digest.of_bytes(body))
        with pytest.raises(RepositoryUnknown):
            world.holdings.tags(EVERYBODY, OTHER, 10)

    def test_content_of_another_repository_is_missing(self, world: World) -> None:
        world.push_image("v1")
        assert isinstance(world.put(image_manifest(b"layer"), "v1", name=OTHER), MissingContent)

    def test_the_children_of_an_index_are_manifests_or_blobs(self, world: World) -> None:
        child = world.push_image()
        index = index_manifest(
            descriptor(image_manifest(b"layer"), OCI_MANIFEST),
            descriptor(b"cache", "application/x"),
        )
        assert world.put(index, "v1", media_type=OCI_INDEX) == MissingContent(
            (Digest.of_bytes(b"cache"),)
        )
        world.push(b"cache")
        assert world.put(index, "v1", media_type=OCI_INDEX) == PushResult(OCI_INDEX)
        world.holdings.delete_manifest(world.change(), child)
        assert world.put(index, "v2", media_type=OCI_INDEX) == MissingContent((child,))

    def test_a_tag_moves(self, world: World) -> None:
        first, second = world.push_image("v1", layer=b"one"), world.push_image("v1", layer=b"two")
        assert world.tagged("v1") == second
        assert world.find(first).digest == first

    def test_conditions_of_a_put(self, world: World) -> None:
        for content in (b"{}", b"one", b"two"):
            world.push(content)
        one, two = image_manifest(b"one"), image_manifest(b"two")
        with pytest.raises(PreconditionFailed):
            world.put(one, "v1", conditions=if_match(Digest.of_bytes(one)))
        new = Conditions(if_none_match="*")
        assert world.put(one, "v1", conditions=new) == PushResult(OCI_MANIFEST)
        with pytest.raises(PreconditionFailed):
            world.put(two, "v1", conditions=new)
        with pytest.raises(PreconditionFailed):
            world.put(two, "v1", conditions=if_match(Digest.of_bytes(two)))
        assert world.tagged("v1") == Digest.of_bytes(one)
        with pytest.raises(ManifestUnknown):
            world.find(Digest.of_bytes(two))
        world.put(two, "v1", conditions=if_match(Digest.of_bytes(one)))
        assert world.tagged("v1") == Digest.of_bytes(two)

    def test_a_put_asks_the_permits(self, world: World) -> None:
        world.push(b"{}")
        with pytest.raises(AccessRefused):
            world.put(image_manifest(), "v1", permits=READER)
        with pytest.raises(ManifestUnknown):
            world.find(Tag("v1"))
        assert world.put(image_manifest(), "v1", permits=PUSHER) == PushResult(OCI_MANIFEST)

    def test_another_type_is_refused_while_other_names_have_the_old_one(self, world: World) -> None:
        world.push(b"{}")
        body = untyped(image_manifest())
        world.put(body, "v1", "v2")
        with pytest.raises(ManifestInvalid):
            world.put(body, "v1", media_type=DOCKER_MANIFEST)
        assert world.find(Tag("v1")).media_type == OCI_MANIFEST
        assert world.put(body, "v1", "v2", media_type=DOCKER_MANIFEST) == PushResult(
            DOCKER_MANIFEST
        )
        assert world.find(Digest.of_bytes(body)).media_type == DOCKER_MANIFEST

    def test_another_type_is_refused_while_an_index_names_the_manifest(self, world: World) -> None:
        world.push(b"{}")
        body = untyped(image_manifest())
        world.put(body, "v1")
        index = index_manifest(descriptor(body, OCI_MANIFEST))
        world.put(index, "all", media_type=OCI_INDEX)
        with pytest.raises(ManifestInvalid):
            world.put(body, "v1", media_type=DOCKER_MANIFEST)

    def test_a_type_that_is_only_guessed_gives_way_to_the_stored_one(self, world: World) -> None:
        world.push(b"{}")
        body = untyped(image_manifest())
        world.put(body, "v1", media_type=DOCKER_MANIFEST)
        assert world.put(body, "v2", media_type=None) == PushResult(DOCKER_MANIFEST)
        assert world.find(Tag("v2")).media_type == DOCKER_MANIFEST

    # ---- delete --------------------------------------------------------------------------------
    def test_a_deleted_manifest_goes_with_its_tags(self, world: World) -> None:
        digest = world.push_image("v2", "v1")
        kept = world.push_image("v3", layer=b"kept")
        assert world.holdings.delete_manifest(world.change(), digest) == ("v1", "v2")
        for reference in (digest, Tag("v1"), Tag("v2")):
            with pytest.raises(ManifestUnknown):
                world.find(reference)
        assert world.tagged("v3") == kept
        assert world.put(image_manifest(b"layer"), "v4") == PushResult(OCI_MANIFEST)
        assert world.tagged("v4") == digest

    def test_a_deleted_tag_leaves_its_manifest(self, world: World) -> None:
        digest = world.push_image("v1", "v2")
        world.holdings.delete_tag(world.change(), Tag("v1"))
        with pytest.raises(ManifestUnknown):
            world.find(Tag("v1"))
        assert world.tagged("v2") == world.find(digest).digest == digest
        with pytest.raises(ManifestUnknown):
            world.holdings.delete_tag(world.change(), Tag("v1"))

    @pytest.mark.parametrize("conditions", [if_match(NOTHING), Conditions(if_none_match="*")])
    def test_conditions_of_a_delete(self, world: World, conditions: Conditions) -> None:
        digest = world.push_image("v1")
        with pytest.raises(PreconditionFailed):
            world.holdings.delete_tag(world.change(conditions=conditions), Tag("v1"))
        with pytest.raises(PreconditionFailed):
            world.holdings.delete_manifest(world.change(conditions=conditions), digest)
        assert world.tagged("v1") == digest
        world.holdings.delete_tag(world.change(conditions=if_match(digest)), Tag("v1"))
        world.holdings.delete_manifest(world.change(conditions=if_match(digest)), digest)

    def test_deletes_of_nothing_and_without_permits(self, world: World) -> None:
        digest = world.push_image("v1")
        for name, wanted in ((NAME, NOTHING), (OTHER, digest)):
            with pytest.raises(ManifestUnknown):
                world.holdings.delete_manifest(world.change(name), wanted)
        with pytest.raises(ManifestUnknown):
            world.holdings.delete_tag(world.change(OTHER), Tag("v1"))
        for permits, kind in ((PUSHER, AccessRefused), (STRANGER, RepositoryHidden)):
            change = world.change(permits=permits)
            with pytest.raises(kind):
                world.holdings.delete_manifest(change, digest)
            with pytest.raises(kind):
                world.holdings.delete_tag(change, Tag("v1"))
        assert world.tagged("v1") == digest

    def test_changes_are_recorded_under_their_authors(self, world: World) -> None:
        """A repair makes repositories, manifests and tags again from these changes alone."""
        digest = world.push_image("v1")
        assert world.put(image_manifest(b"layer"), "v2") == PushResult(OCI_MANIFEST)
        world.holdings.delete_tag(world.change(actor="bob"), Tag("v2"))
        world.holdings.delete_manifest(world.change(actor="bob"), digest)
        found = [one for one in world.recorded() if one not in world.link_changes()]
        assert [(kind, actor, subject) for kind, actor, _, subject in found] == [
            ("repository.create", "alice", ""),
            ("manifest.put", "alice", str(digest)),
            ("tag.set", "alice", "v1"),
            ("tag.set", "alice", "v2"),
            ("tag.delete", "bob", "v2"),
            ("tag.delete", "bob", "v1"),
            ("manifest.delete", "bob", str(digest)),
        ]
        assert {name for _, _, name, _ in found} == {"team/app"}

    def test_what_is_refused_records_nothing(self, world: World) -> None:
        digest = world.push_image("v1")
        before, no_match = world.recorded(), Conditions(if_none_match="*")
        with pytest.raises(PreconditionFailed):
            world.put(image_manifest(b"layer"), "v1", conditions=no_match)
        with pytest.raises(PreconditionFailed):
            world.holdings.delete_manifest(world.change(conditions=no_match), digest)
        assert isinstance(world.put(image_manifest(b"other"), "v1", name=OTHER), MissingContent)
        assert not world.holdings.mount(world.change(OTHER), BlobStat(NOTHING, 1), None)
        assert world.recorded() == before

    # ---- pages ---------------------------------------------------------------------------------
    def test_pages_of_tags(self, world: World) -> None:
        names = ["10", "9", "A", "Z", "_", "a", "b-1", "b.1", "v1", "v10", "v2"]
        world.push_image(*reversed(names))
        tags = world.holdings.tags
        assert tags(EVERYBODY, NAME, 100).entries == sorted(names)
        page = tags(EVERYBODY, NAME, 3, "a")
        assert (page.entries, page.more) == (["b-1", "b.1", "v1"], True)
        page = tags(EVERYBODY, NAME, 2, "v1")
        assert (page.entries, page.more) == (["v10", "v2"], False)
        assert tags(EVERYBODY, NAME, 2, "b0").entries == ["v1", "v10"]
        assert tags(EVERYBODY, NAME, 2, "v2").entries == []
        page = tags(EVERYBODY, NAME, 0)
        assert (page.entries, page.more) == ([], False)

    def test_tags_of_repositories_without_any(self, world: World) -> None:
        with pytest.raises(RepositoryUnknown):
            world.holdings.tags(EVERYBODY, NAME, 10)
        digest = world.push(b"content")
        assert world.holdings.tags(EVERYBODY, NAME, 10).entries == []
        with pytest.raises(RepositoryHidden):
            world.holdings.tags(STRANGER, NAME, 10)
        world.holdings.unlink(world.change(), digest)
        with pytest.raises(RepositoryUnknown):
            world.holdings.tags(EVERYBODY, NAME, 10)

    def test_referrers_come_in_the_order_of_their_keys(self, world: World) -> None:
        subject = descriptor(b"subject", OCI_MANIFEST)
        world.push(b"{}")
        bodies = [
            image_manifest(fields={"subject": subject, "artifactType": f"a/{n % 2}", "n": n})
            for n in range(8)
        ]
        for body in bodies:
            world.put(body)
        order = sorted(map(Digest.of_bytes, bodies), key=Digest.key)
        wanted = Digest.of_bytes(b"subject")
        assert referrers(world, wanted) == order
        assert referrers(world, wanted, last=order[2]) == order[3:]
        odd = {Digest.of_bytes(body) for body in bodies[1::2]}
        assert referrers(world, wanted, "a/1") == [digest for digest in order if digest in odd]
        assert referrers(world, wanted, "a/2") == []
        world.holdings.delete_manifest(world.change(), order[0])
        assert referrers(world, wanted) == order[1:]

    def test_a_referrer_is_listed_as_a_descriptor(self, world: World) -> None:
        world.push(b"{}")
        fields = {
            "subject": descriptor(b"subject", OCI_MANIFEST),
            "artifactType": "application/x",
            "annotations": {"a": "b"},
        }
        body = image_manifest(fields=fields)
        world.put(body)
        page = world.holdings.referrers(EVERYBODY, NAME, Digest.of_bytes(b"subject"))
        assert [json.loads(one) for one in page.descriptors] == [
            {
                **descriptor(body, OCI_MANIFEST),
                "artifactType": "application/x",
                "annotations": {"a": "b"},
            }
        ]

    def test_what_is_unknown_has_no_referrers(self, world: World) -> None:
        assert referrers(world, NOTHING) == []
        world.push(b"content")
        assert referrers(world, NOTHING) == []
        with pytest.raises(RepositoryHidden):
            world.holdings.referrers(STRANGER, NAME, NOTHING)

    def test_the_catalog_has_what_holds_something(self, world: World) -> None:
        names = ["a", "a/b", "a-b", "b"]
        for name in names:
            world.push(b"content", RepositoryName(name))
        world.holdings.unlink(world.change(RepositoryName("b")), Digest.of_bytes(b"content"))
        assert world.names() == sorted(names[:3])
        page = world.holdings.catalog(EVERYBODY, 1, "a")
        assert (page.entries, page.more) == (["a-b"], True)
        page = world.holdings.catalog(EVERYBODY, 2, "a")
        assert (page.entries, page.more) == (["a-b", "a/b"], False)
        assert world.names(DictPermits({"a/b": Action.PULL, "b": Action.PULL})) == ["a/b"]


def referrers(
    world: World, subject: Digest, artifact_type: str | None = None, last: Digest | None = None
) -> list[Digest]:
    """Return the referrers of all pages."""
    found: list[Digest] = []
    while True:
        page = world.holdings.referrers(EVERYBODY, NAME, subject, artifact_type, last)
        found += (Digest.parse(json.loads(one)["digest"]) for one in page.descriptors)
        if page.next_after is None:
            return found
        last = page.next_after
