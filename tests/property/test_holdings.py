"""The same random steps have the same outcomes over dictionaries and over the index."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from functools import partial

import pytest

from dtrfast.errors import DtrfastError
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions, entity_tag
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.holdings import Lookup
from dtrfast.registry.holdings_index import IndexHoldings
from dtrfast.registry.permits import EVERYBODY, EVERYTHING, Action, Permits
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.fakes.holdings import MemoryHoldings
from tests.fakes.permits import DictPermits
from tests.registry.holding_world import GRACE_SECONDS, RULES, World
from tests.registry.test_holdings import recorded

_STEPS = int(os.environ.get("HOLDINGS_STEPS", "80"))
_RUNS = int(os.environ.get("HOLDINGS_RUNS", "15"))

NAMES = [RepositoryName(name) for name in ("a", "a/b", "c")]
TAGS = ["v1", "v2", "V1"]
BLOBS = [b"{}", b"one", b"two", b"three"]
LEAPS = (1, GRACE_SECONDS // 20, GRACE_SECONDS // 5, GRACE_SECONDS // 2)
CALLERS: list[Permits] = [
    EVERYBODY,
    DictPermits({"a": EVERYTHING, "c": Action.PULL}),
    DictPermits({"a": Action.PULL, "a/b": Action.PULL | Action.PUSH}),
]


def untyped(layer: bytes) -> bytes:
    document = json.loads(image_manifest(layer))
    del document["mediaType"]
    return json.dumps(document).encode()


IMAGES = [image_manifest(b"one"), image_manifest(b"two", b"three"), untyped(b"one")]
SUBJECT = descriptor(IMAGES[0], OCI_MANIFEST)
MANIFESTS = [
    *IMAGES,
    image_manifest(fields={"subject": SUBJECT, "artifactType": "application/x"}),
    image_manifest(b"two", fields={"subject": SUBJECT}),
    index_manifest(descriptor(IMAGES[0], OCI_MANIFEST), descriptor(b"three", "application/x")),
    index_manifest(descriptor(IMAGES[2], OCI_MANIFEST)),
]
INDEXES = MANIFESTS[5:]
DIGESTS = [Digest.of_bytes(body) for body in MANIFESTS]
BLOB_DIGESTS = [*map(Digest.of_bytes, BLOBS), Digest.of_bytes(b"one", "sha512")]

Step = Callable[[World], object]


class Steps:
    """Random steps of callers with all rights, or with few."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def next(self) -> Step:
        # Pushes are more frequent than deletes, because most puts would miss a blob otherwise.
        makers = [self._push] * 6 + [self._put] * 8 + [self._mount] * 2 + [self._end_grace]
        rest = [self._unlink, self._delete_manifest, self._delete_tag, self._renew, self._leap]
        trash = [self._delete_put, *[self._restore_manifest] * 2, self._restore_tag, self._drop]
        return self._chance.choice([*makers, *rest, *trash])()

    def _name(self) -> RepositoryName:
        return self._chance.choice([NAMES[0]] * 4 + NAMES)

    def _caller(self) -> Permits:
        return self._chance.choice([EVERYBODY] * 8 + CALLERS)

    def _conditions(self) -> Conditions:
        tag = entity_tag(str(self._chance.choice(DIGESTS)))
        some = [Conditions(if_match=tag), Conditions(if_none_match="*"), Conditions(if_match="*")]
        return self._chance.choice([UNCONDITIONAL] * 20 + some)

    def _push(self) -> Step:
        content, name = self._chance.choice(BLOBS), self._name()
        if content == b"one" and self._chance.random() < 0.3:
            return lambda world: world.push(content, name, "sha512")
        return lambda world: world.push(content, name)

    def _put(self) -> Step:
        body = self._chance.choice(MANIFESTS)
        types = [OCI_INDEX] if body in INDEXES else [OCI_MANIFEST]
        if body == IMAGES[2]:
            types += [DOCKER_MANIFEST, ""]
        names = self._chance.sample(TAGS, self._chance.randrange(3))
        name, media_type = self._name(), self._chance.choice(types) or None
        permits, conditions = self._caller(), self._conditions()
        return lambda world: world.put(
            body,
            *names,
            name=name,
            media_type=media_type,
            permits=permits,
            conditions=conditions,
        )

    def _mount(self) -> Step:
        digest, name, permits = self._chance.choice(BLOB_DIGESTS), self._name(), self._caller()
        source = self._chance.choice([*NAMES, None])

        def mount(world: World) -> bool:
            stat = world.stat(digest)
            return world.holdings.mount(world.change(name, permits=permits), stat, source)

        return mount

    def _unlink(self) -> Step:
        digest, name, permits = self._chance.choice(BLOB_DIGESTS), self._name(), self._caller()
        return lambda world: world.holdings.unlink(world.change(name, permits=permits), digest)

    def _delete_manifest(self) -> Step:
        digest, name, permits = self._chance.choice(DIGESTS), self._name(), self._caller()
        conditions = self._conditions()
        return lambda world: world.holdings.delete_manifest(
            world.change(name, permits=permits, conditions=conditions), digest
        )

    def _delete_tag(self) -> Step:
        tag, name, permits = Tag(self._chance.choice(TAGS)), self._name(), self._caller()
        conditions = self._conditions()
        return lambda world: world.holdings.delete_tag(
            world.change(name, permits=permits, conditions=conditions), tag
        )

    def _delete_put(self) -> Step:
        """Delete a manifest that was put before."""
        draw, permits = self._chance.randrange(1000), self._caller()

        def delete(world: World) -> object:
            name, digest = chosen(world, "manifest.put", draw)
            return world.holdings.delete_manifest(world.change(name, permits=permits), digest)

        return delete

    def _restore_manifest(self) -> Step:
        """Restore a manifest that was deleted before."""
        draw, permits = self._chance.randrange(1000), self._caller()

        def restore(world: World) -> object:
            name, digest = chosen(world, "manifest.delete", draw)
            return world.holdings.restore_manifest(world.change(name, permits=permits), digest)

        return restore

    def _restore_tag(self) -> Step:
        tag, name, permits = Tag(self._chance.choice(TAGS)), self._name(), self._caller()
        digest = self._chance.choice([None, None, None, *DIGESTS])
        return lambda world: world.holdings.restore_tag(
            world.change(name, permits=permits), tag, digest
        )

    def _drop(self) -> Step:
        age = self._chance.choice([0, *LEAPS])
        return lambda world: world.holdings.drop_deleted(world.clock() - age, 1000)

    def _renew(self) -> Step:
        digest, name = self._chance.choice(BLOB_DIGESTS), self._name()
        return lambda world: world.holdings.renew(name, digest)

    def _leap(self) -> Step:
        seconds = self._chance.choice(LEAPS)
        return lambda world: world.clock.advance(seconds)

    def _end_grace(self) -> Step:
        def end(world: World) -> None:
            # The counts of settled links may differ: links that turn out to be kept may count.
            world.tidy()

        return end


def chosen(world: World, kind: str, draw: int) -> tuple[RepositoryName, Digest]:
    """Return a manifest with a change of this kind in the log; the first one if there is none."""
    found = sorted({(name, digest) for one, _, name, digest in world.recorded() if one == kind})
    if not found:
        return NAMES[0], DIGESTS[0]
    name, digest = found[draw % len(found)]
    return RepositoryName(name), Digest.parse(digest)


def outcome(step: Step, world: World) -> object:
    """Return the step's result, or the class of its exception."""
    try:
        return step(world)
    except DtrfastError as error:
        return type(error)


def state(world: World) -> dict[str, object]:
    """Return all results of questions and pages, for each caller."""
    references: list[Reference] = [*map(Tag, TAGS), *DIGESTS]
    questions = [
        Lookup(permits, name, reference, is_blob)
        for permits in CALLERS
        for name in NAMES
        for is_blob, wanted in ((False, references), (True, BLOB_DIGESTS))
        for reference in wanted
    ]
    answers = world.holdings.resolve_waiting(questions)
    pages = [
        outcome(partial(page, permits=permits, name=name), world)
        for permits in CALLERS
        for name in NAMES
        for page in (tags, referrers)
    ]
    return {
        "answers": [type(one) if isinstance(one, DtrfastError) else one for one in answers],
        "pages": pages,
        "catalog": [world.holdings.catalog(permits, 2) for permits in CALLERS],
        "contents": [world.content(digest) for digest in BLOB_DIGESTS],
        "held": world.holdings.are_held([[digest] for digest in BLOB_DIGESTS]),
        "changes": sorted(world.recorded()),
    }


def tags(world: World, permits: Permits, name: RepositoryName) -> object:
    return world.holdings.tags(permits, name, 2)


def referrers(world: World, permits: Permits, name: RepositoryName) -> object:
    return world.holdings.referrers(permits, name, DIGESTS[0])


def make_worlds() -> list[World]:
    """Make a world for each kind of holdings."""
    engine, clocks = MemoryEngine(), (Clock(), Clock())
    stores = [MemoryBlobs(clock) for clock in clocks]
    memory = MemoryHoldings(stores[0], RULES, clocks[0], GRACE_SECONDS)
    index = IndexHoldings(engine, stores[1], RULES, clocks[1], GRACE_SECONDS)
    return [
        World(memory, stores[0], clocks[0], lambda: memory.recorded),
        World(index, stores[1], clocks[1], lambda: recorded(engine)),
    ]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(_RUNS))
def test_both_tell_the_same_after_each_step(seed: int) -> None:
    worlds, steps = make_worlds(), Steps(seed)
    for number in range(_STEPS):
        step = steps.next()
        first, second = (outcome(step, world) for world in worlds)
        assert first == second, f"step {number} of seed {seed}"
        states = [state(world) for world in worlds]
        for part, told in states[0].items():
            assert told == states[1][part], f"{part} after step {number} of seed {seed}"
