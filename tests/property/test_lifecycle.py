"""No order of pushes, mounts, deletes, restores, pulls and reclaim loses a byte or serves a wrong
one.

Some clients with a repository each share bodies. A housekeeper with a clock that leaps works at the
same time: in threads, or in turns, so that a seed repeats a run. Each client knows the content that
it must find.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import BlobUnknown, Conflict, Corrupt, ManifestBlobUnknown, ManifestUnknown
from dtrfast.jobs.tasks import content_tasks, empty_trash, remove_repositories
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import BlobReader, Upload
from dtrfast.store.store import Store
from dtrfast.store.tier import candidates, encoding
from tests import tiering, verifying
from tests.fakes.clock import Clock
from tests.two_environments import ENGINES

CLIENTS = 3
_STEPS = int(os.environ.get("LIFECYCLE_STEPS", "120"))
_RUNS = int(os.environ.get("LIFECYCLE_RUNS", "4"))
# In seconds. This is far below the leaps of the clock, so that everything expires now and then.
_GRACE = 100
_LEAPS = (1, 30, 120, 20 * 86_400)


def make_bodies(seed: int) -> list[bytes]:
    """Return inline, loose, gzip and chunked bodies. The last two kinds share blocks."""
    chance = random.Random(seed)
    blocks = [chance.randbytes(70_000) for _ in range(8)]
    chunked = [b"".join(chance.sample(blocks, 3)) for _ in range(8)]
    loose = [b"\x1f\x8b" + chance.randbytes(10_000) for _ in range(4)]
    layers = [
        tiering.gzip_layer([*chance.sample(blocks, 3), b"small file\n" * 500], time=n)
        for n in range(4)
    ]
    return [*(b"{}%d" % n for n in range(4)), *loose, *layers, *chunked]


class World:
    """A store, its clock, and the bodies that all clients push."""

    def __init__(self, data: Path, seed: int, engine: str) -> None:
        self.clock = Clock()
        config = StoreConfig(data=data, grace_seconds=_GRACE, upload_expiry_seconds=10**9)
        self.store = Store.open(data, config, open_index=ENGINES[engine], clock=self.clock)
        self.registry = Registry(
            self.store.engine,
            self.store.blobs,
            Config(store=config),
            clock=self.clock,
            fullness=lambda: 0.0,
        )
        self.bodies = make_bodies(seed)
        self.by_digest = {Digest.of_bytes(body): body for body in self.bodies}
        self.converted = 0
        self._tasks = [
            task
            for task in content_tasks(self.store, self.registry.holdings)
            if task.name not in ("scrub", "expired uploads")
        ]

    def convert(self, chance: random.Random) -> None:
        """Convert, evict or expand layers."""
        self.converted += tiering.work(self.store, chance)

    def keep_house(self) -> None:
        empty_trash(self.store.engine, self.registry.holdings, self.clock())
        remove_repositories(self.store.engine, self.store.blobs)
        for task in self._tasks:
            task.run()


class Client:
    """A client with its images: the tag, the manifest's digest, and the blobs of each."""

    def __init__(self, world: World, seed: str, number: int) -> None:
        self._world = world
        self._registry = world.registry
        self._chance = random.Random(seed)
        self._name = RepositoryName.parse(f"team/client{number}")
        self._other = RepositoryName.parse(f"team/client{(number + 1) % CLIENTS}")
        self._images: dict[str, tuple[Digest, list[Digest]]] = {}
        self._deleted: list[tuple[str, Digest, list[Digest], int]] = []
        self._uploads: list[tuple[Upload, bytes]] = []
        self._readers: list[tuple[BlobReader, bytes]] = []

    def step(self) -> None:
        actions: list[Callable[[], None]] = [
            self._push_image,
            self._push_image,
            self._pull,
            self._pull,
            self._begin_upload,
            self._end_upload,
            self._place_without_link,
            self._delete_image,
            self._restore_image,
            self._delete_blob,
            self._hold_reader,
            self._end_reader,
            self._look_anywhere,
        ]
        self._chance.choice(actions)()

    def end(self) -> None:
        for tag in self._images:
            self._check(tag)
        while self._readers:
            self._end_reader()
        for upload, _ in self._uploads:
            upload.cancel()

    # ---- pushing -------------------------------------------------------------------------------
    def _push_image(self) -> None:
        bodies = self._chance.sample(self._world.bodies, self._chance.randrange(2, 5))
        parts = []
        for position, body in enumerate(bodies):
            digest = Digest.of_bytes(body)
            if not self._mount(digest):
                self._push(body, digest)
            kind = OCI_LAYER if position else OCI_CONFIG
            parts.append({"mediaType": kind, "digest": str(digest), "size": len(body)})
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        manifest = json.dumps({**document, "config": parts[0], "layers": parts[1:]}).encode()
        tag = f"t{self._chance.randrange(4)}"
        author = self._registry.author()
        try:
            put = self._registry.manifests.put(
                self._name, Tag(tag), manifest, OCI_MANIFEST, author=author
            )
        except ManifestBlobUnknown:
            return  # the clock leapt over a blob's grace: a client would push the blob again
        self._images[tag] = (put.digest, [Digest.of_bytes(body) for body in bodies])

    def _mount(self, digest: Digest) -> bool:
        if self._chance.random() < 0.5:
            return False
        author = self._registry.author()
        return self._registry.blobs.mount(self._name, digest, self._other, author) is not None

    def _push(self, body: bytes, digest: Digest) -> None:
        upload = self._registry.uploads.begin(self._name)
        cut = self._chance.randrange(len(body) + 1)
        upload.append(body[:cut])
        upload.append(body[cut:])
        self._registry.uploads.finish(upload, self._name, digest, self._registry.author())

    def _begin_upload(self) -> None:
        if len(self._uploads) < 3:
            body = self._chance.choice(self._world.bodies)
            upload = self._registry.uploads.begin(self._name)
            upload.append(body[: self._chance.randrange(len(body))])
            if self._chance.random() < 0.5:
                upload.release()
                upload = self._registry.uploads.resume(self._name, upload.id)
            self._uploads.append((upload, body))

    def _end_upload(self) -> None:
        if self._uploads:
            upload, body = self._uploads.pop(self._chance.randrange(len(self._uploads)))
            upload.append(body[upload.offset :])
            digest = Digest.of_bytes(body)
            self._registry.uploads.finish(upload, self._name, digest, self._registry.author())

    def _place_without_link(self) -> None:
        """Act as a process that ends between the two steps of a push, and whose upload expired."""
        body = self._chance.choice(self._world.bodies)
        upload = self._world.store.blobs.begin(self._name.text)
        upload.append(body)
        with self._world.store.blobs.commit(upload, Digest.of_bytes(body)) as placed:
            placed.settle()
        upload.cancel()

    # ---- deleting and restoring ----------------------------------------------------------------
    def _delete_image(self) -> None:
        if not self._images:
            return
        tag = self._chance.choice(sorted(self._images))
        digest, blobs = self._images[tag]
        self._registry.manifests.delete(self._name, digest, self._registry.author())
        self._images = {t: image for t, image in self._images.items() if image[0] != digest}
        self._deleted.append((tag, digest, blobs, self._world.clock()))

    def _restore_image(self) -> None:
        if not self._deleted:
            return
        tag, digest, blobs, deleted_at = self._deleted.pop()
        if tag in self._images or any(image[0] == digest for image in self._images.values()):
            return
        is_due = self._world.clock() - deleted_at < 14 * 86_400 - 10
        try:
            self._registry.trash.restore_manifest(self._name, digest)
        except ManifestUnknown:
            assert not is_due, f"{digest} left the trash too early"
            return
        except ManifestBlobUnknown:
            return  # one of its blobs was deleted
        except Conflict:
            return  # it was pushed again since, and its tag moved on
        if self._registry.manifests.get(self._name, digest).digest == digest:
            self._note_restored(tag, digest, blobs)

    def _delete_blob(self) -> None:
        """Delete a blob that none of the images has, if its grace has not ended yet."""
        needed = {blob for _, blobs in self._images.values() for blob in blobs}
        digest = self._chance.choice(list(self._world.by_digest))
        if digest not in needed:
            with suppress(BlobUnknown):
                self._registry.blobs.delete(self._name, digest, self._registry.author())

    def _note_restored(self, tag: str, digest: Digest, blobs: list[Digest]) -> None:
        try:
            found = self._registry.manifests.get(self._name, Tag(tag))
        except ManifestUnknown:
            return
        if found.digest == digest:
            self._images[tag] = (digest, blobs)

    # ---- pulling -------------------------------------------------------------------------------
    def _pull(self) -> None:
        if self._images:
            self._check(self._chance.choice(sorted(self._images)))

    def _check(self, tag: str) -> None:
        digest, blobs = self._images[tag]
        assert self._registry.manifests.get(self._name, Tag(tag)).digest == digest
        for blob in blobs:
            with self._registry.blobs.open_range(self._name, blob) as reader:
                assert _read(reader) == self._world.by_digest[blob]

    def _look_anywhere(self) -> None:
        """Look for a blob that may be missing: it has its own bytes, or does not exist."""
        digest = self._chance.choice(list(self._world.by_digest))
        try:
            self._registry.blobs.stat(self._name, digest)
            with self._registry.blobs.open_range(self._name, digest) as reader:
                assert _read(reader) == self._world.by_digest[digest]
        except BlobUnknown:
            return

    def _hold_reader(self) -> None:
        if self._images and len(self._readers) < 3:
            _, blobs = self._images[self._chance.choice(sorted(self._images))]
            blob = self._chance.choice(blobs)
            reader = self._registry.blobs.open_range(self._name, blob)
            self._readers.append((reader, self._world.by_digest[blob]))

    def _end_reader(self) -> None:
        """Read a blob that was opened before. It is whole or cut off, but never wrong."""
        if not self._readers:
            return
        reader, body = self._readers.pop(0)
        with reader:
            try:
                found = _read(reader)
            except Corrupt:
                return
            assert found == body


def _read(reader: BlobReader) -> bytes:
    return b"".join(
        s if isinstance(s, bytes) else os.pread(s.descriptor, s.length, s.offset) for s in reader
    )


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tier convert layers of some kilobytes."""
    # The values are put back after the test.
    monkeypatch.setattr(candidates, "SIZE_MIN", candidates.SIZE_MIN)
    monkeypatch.setattr(encoding, "SEGMENT_SIZE", encoding.SEGMENT_SIZE)
    tiering.use_small_limits()


def new_seed() -> int:
    given = os.environ.get("LIFECYCLE_SEED")
    return int(given) if given else random.SystemRandom().randrange(1 << 32)


def finish(world: World, clients: list[Client]) -> None:
    for client in clients:
        client.end()
    for _ in range(4):
        world.keep_house()
    assert verifying.findings(world.store) == []
    for client in clients:
        client.end()
    world.store.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "run"),
    [
        ("one", 0),
        *(pytest.param("one", run, marks=pytest.mark.long) for run in range(1, _RUNS)),
        *(pytest.param("two", run, marks=pytest.mark.long) for run in range((_RUNS + 1) // 2)),
    ],
)
def test_in_turns(tmp_path: Path, engine: str, run: int) -> None:
    seed = new_seed() + run
    try:
        world = World(tmp_path / "data", seed, engine)
        clients = [Client(world, f"{seed} {number}", number) for number in range(CLIENTS)]
        chance = random.Random(seed)
        for _ in range(_STEPS * CLIENTS):
            if chance.random() < 0.3:
                world.clock.advance(chance.choice(_LEAPS))
                world.keep_house()
            if chance.random() < 0.1:
                world.convert(chance)
            chance.choice(clients).step()
        finish(world, clients)
    except BaseException as error:
        error.add_note(f"LIFECYCLE_SEED={seed - run}")
        raise


class Crowd:
    """Threads that work at once. The failures of all of them are kept."""

    def __init__(self) -> None:
        self._failures: list[BaseException] = []
        self._stop = threading.Event()

    def run(self, works: list[Callable[[], None]], services: list[Callable[[], None]]) -> None:
        """Run `works` to their ends, and `services` again and again meanwhile."""
        threads = [threading.Thread(target=self._noted, args=(work,)) for work in works]
        others = [threading.Thread(target=self._repeated, args=(one,)) for one in services]
        for thread in [*others, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
        self._stop.set()
        for thread in others:
            thread.join()
        for failure in self._failures:
            raise failure

    def _noted(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failures.append(error)

    def _repeated(self, service: Callable[[], None]) -> None:
        while not self._stop.is_set() and not self._failures:
            self._noted(service)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["one", pytest.param("two", marks=pytest.mark.long)])
def test_at_once(tmp_path: Path, engine: str) -> None:
    seed = new_seed()
    world = World(tmp_path / "data", seed, engine)
    clients = [Client(world, f"{seed} {number}", number) for number in range(CLIENTS)]
    chance, tier_chance = random.Random(seed), random.Random(f"{seed} tier")

    def work(client: Client) -> None:
        for _ in range(_STEPS):
            client.step()

    def keep_house() -> None:
        world.clock.advance(chance.choice(_LEAPS[:2]))
        world.keep_house()

    try:
        Crowd().run(
            [partial(work, client) for client in clients],
            [keep_house, lambda: world.convert(tier_chance)],
        )
        assert world.converted, "the tier changed no layer"
        finish(world, clients)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
