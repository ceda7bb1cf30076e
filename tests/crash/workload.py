"""The program that loses power: clients that push, resume, cancel, tag and delete at once.

Run with a seed, the name of an engine and a root. Bodies follow from the seed and their name, so
that the test can make them again. Every acknowledgement is marked.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import DtrfastError
from dtrfast.jobs.tasks import content_tasks
from dtrfast.machine import bytes_in_flight
from dtrfast.machine.bytes_in_flight import BytesInFlight
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.bodies import AnnouncedBody, HeldUpload
from dtrfast.registry.registry import Registry
from dtrfast.store import recipes
from dtrfast.store.blobs import Upload
from dtrfast.store.store import Store
from tests import tiering
from tests.crash.facts import ENDED, mark_known, mark_trying
from tests.two_environments import ENGINES

CLIENTS = 3
_IMAGES = 3
# Makes the store index blobs of half a megabyte in several transactions.
_SLICE_PARTS_MAX = 2
_BLOCK_SIZE = 150_000
# Makes the store write bodies of a hundred kilobytes back early, and wait for them.
_PIECE_SIZE = 16_384


def _now() -> int:
    return int(time.time())


def make_body(seed: int, name: str) -> bytes:
    """Return the content called `name`: `inline-…`, `loose-…` or `chunked-…`.

    Most loose ones are gzip layers that the tier converts.
    """
    chance = random.Random(f"{seed} {name}")
    if name.startswith("inline"):
        return chance.randbytes(chance.randrange(1, 8192))
    if name.startswith("loose") and chance.random() < 0.6:
        return tiering.gzip_layer([*_blocks(seed, chance), b"small" * 900], chance.randrange(9))
    if name.startswith("loose"):
        return b"\x1f\x8b" + chance.randbytes(chance.randrange(9_000, 120_000))
    return b"".join(_blocks(seed, chance))


def _blocks(seed: int, chance: random.Random) -> Iterator[bytes]:
    """Yield blocks: two that other bodies have too, one that compresses, and one of its own."""
    shared = random.Random(seed)
    yield shared.randbytes(_BLOCK_SIZE)
    yield chance.randbytes(chance.randrange(_BLOCK_SIZE))
    yield b"the same again and again" * chance.randrange(9_000)
    yield shared.randbytes(_BLOCK_SIZE)


def open_registry(store: Store, data: Path, clock: Callable[[], int] = _now) -> Registry:
    """Return the registry over a store whose disk is never full."""
    config = Config(store=StoreConfig(data=data))
    return Registry(store.engine, store.blobs, config, clock=clock, fullness=lambda: 0.0)


class Client:
    """A client that pushes images to its own repository, and blobs that all clients push."""

    def __init__(self, registry: Registry, seed: int, number: int) -> None:
        self._registry = registry
        self._seed = seed
        self._chance = random.Random(f"{seed} client {number}")
        self._number = number
        self._name = RepositoryName.parse(f"team/client{number}")

    def run(self) -> None:
        older: list[tuple[Digest, list[str]]] = []
        for image in range(_IMAGES):
            older.append(self._push_image(image))
            if self._chance.random() < 0.5:
                self._delete_image(*older.pop(0))

    def _push_image(self, image: int) -> tuple[Digest, list[str]]:
        own = f"{self._number}-{image}"
        layers = [f"loose-{image}", f"chunked-{image}", f"loose-{own}", f"chunked-{own}"]
        self._chance.shuffle(layers)
        names = [f"inline-{own}", *layers[:3]]
        for name in names:
            if self._chance.random() < 0.3 and self._mount_blob(name):
                continue
            if self._chance.random() < 0.6:
                self._push_blob(name)
            else:
                self._push_blob_again(name)
        self._abandon_blob(f"chunked-left-{own}")
        return self._push_manifest(image, names), names

    def _push_blob(self, name: str) -> None:
        body = make_body(self._seed, name)
        digest = Digest.of_bytes(body)
        upload_id = self._send(body, name, requests=self._chance.randrange(1, 4))
        key = (self._name.text, str(digest))
        upload_key = (self._name.text, upload_id, name)
        mark_trying("blob", key, name)
        mark_trying("upload", upload_key, ENDED)
        uploads = self._registry.uploads
        upload = uploads.resume(self._name, upload_id)
        uploads.finish(upload, self._name, digest, self._registry.author())
        mark_known("blob", key, name)
        mark_known("upload", upload_key, ENDED)

    def _mount_blob(self, name: str) -> bool:
        """Mount the blob from any repository, even during its deletion; False if none has it."""
        digest = Digest.of_bytes(make_body(self._seed, name))
        key = (self._name.text, str(digest))
        mark_trying("blob", key, name)
        author = self._registry.author()
        if self._registry.blobs.mount(self._name, digest, None, author) is None:
            return False
        mark_known("blob", key, name)
        return True

    def _push_blob_again(self, name: str) -> None:
        """Push a blob whose body breaks off once or twice. The closing request sends it whole."""
        body = make_body(self._seed, name)
        digest = Digest.of_bytes(body)
        uploads = self._registry.uploads
        upload = uploads.begin(self._name)
        upload.release()
        upload_key = (self._name.text, upload.id, name)
        mark_known("upload", upload_key, 0)
        for _ in range(self._chance.randrange(1, 3)):
            end = self._chance.randrange(len(body))
            mark_trying("upload", upload_key, 0)
            mark_trying("upload", upload_key, end)
            mark_trying("upload", upload_key, ENDED)  # write-back may fail
            upload = self._hold(upload.id, AnnouncedBody(None, len(body), is_last=False))
            upload.append(body[:end])
            upload.release()
            mark_known("upload", upload_key, end)
        key = (self._name.text, str(digest))
        mark_trying("blob", key, name)
        mark_trying("upload", upload_key, ENDED)
        upload = self._hold(upload.id, AnnouncedBody(None, len(body), is_last=True))
        upload.append(body)
        uploads.finish(upload, self._name, digest, self._registry.author())
        mark_known("blob", key, name)
        mark_known("upload", upload_key, ENDED)

    def _hold(self, upload_id: str, announced: AnnouncedBody) -> Upload:
        """Hold the upload. Only the housekeeper competes for it, and only for a moment."""
        held = self._registry.uploads.hold(self._name, upload_id, announced, wait_seconds=20)
        assert isinstance(held, HeldUpload)
        return held.upload

    def _abandon_blob(self, name: str) -> None:
        body = make_body(self._seed, name)
        upload_id = self._send(body[: self._chance.randrange(len(body))], name, requests=2)
        if self._chance.random() < 0.5:
            key = (self._name.text, upload_id, name)
            mark_trying("upload", key, ENDED)
            self._registry.uploads.resume(self._name, upload_id).cancel()
            mark_known("upload", key, ENDED)

    def _send(self, body: bytes, name: str, requests: int) -> str:
        """Upload without closing; returns the upload's id."""
        uploads = self._registry.uploads
        upload = uploads.begin(self._name)
        key = (self._name.text, upload.id, name)
        mark_known("upload", key, 0)
        ends = sorted(self._chance.randrange(len(body) + 1) for _ in range(requests - 1))
        for end in [*ends, len(body)]:
            mark_trying("upload", key, end)
            try:
                self._append(upload, body, end)
            except DtrfastError:
                mark_trying("upload", key, ENDED)  # write-back failed
                raise
            mark_known("upload", key, end)
            upload = uploads.resume(self._name, upload.id)
        upload.release()
        return upload.id

    def _append(self, upload: Upload, body: bytes, end: int) -> None:
        while upload.offset < end:
            size = self._chance.randrange(1, 200_000)
            upload.append(body[upload.offset : min(end, upload.offset + size)])
        upload.release()

    def _push_manifest(self, image: int, names: list[str]) -> Digest:
        body = make_manifest(self._seed, names)
        digest = Digest.of_bytes(body)
        tags = [Tag.parse("latest"), Tag.parse(f"build-{image}")]
        manifest_key = (self._name.text, str(digest))
        tag_keys = [(self._name.text, tag.text) for tag in tags]
        mark_trying("manifest", manifest_key, body.decode())
        for key in tag_keys:
            mark_trying("tag", key, str(digest))
        self._registry.manifests.put(
            self._name,
            tags[0],
            body,
            OCI_MANIFEST,
            extra_tags=(tags[1],),
            author=self._registry.author(),
        )
        mark_known("manifest", manifest_key, body.decode())
        for key in tag_keys:
            mark_known("tag", key, str(digest))
        return digest

    def _delete_image(self, digest: Digest, names: list[str]) -> None:
        repository = self._name.text
        tags = [
            (repository, tag)
            for tag in self._registry.tags.page(self._name, 100).entries
            if self._registry.manifests.get(self._name, Tag.parse(tag)).digest == digest
        ]
        self._delete_manifest(digest, tags)
        for name in names:
            blob = Digest.of_bytes(make_body(self._seed, name))
            mark_trying("blob", (repository, str(blob)), None)
            self._registry.blobs.delete(self._name, blob, self._registry.author())
            mark_known("blob", (repository, str(blob)), None)
        if self._chance.random() < 0.5:
            self._push_blob(self._chance.choice(names))  # while its content is being freed

    def _delete_manifest(self, digest: Digest, tags: list[tuple[str, str]]) -> None:
        key = (self._name.text, str(digest))
        mark_trying("manifest", key, None)
        for tag in tags:
            mark_trying("tag", tag, None)
        self._registry.manifests.delete(self._name, digest, self._registry.author())
        mark_known("manifest", key, None)
        for tag in tags:
            mark_known("tag", tag, None)


def make_manifest(seed: int, names: list[str]) -> bytes:
    """Return the manifest of an image of the named bodies. The first one is its config."""
    bodies = [make_body(seed, name) for name in names]
    config, *layers = [
        {"mediaType": kind, "digest": str(Digest.of_bytes(body)), "size": len(body)}
        for kind, body in zip([OCI_CONFIG] + [OCI_LAYER] * len(bodies), bodies, strict=False)
    ]
    image = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    return json.dumps(image).encode()


def be_on_a_slow_disk() -> None:
    """Limit the bytes on their way to the disk, for this process only."""
    account = BytesInFlight(None)
    values = {"LIMIT_MIN": 2 * _PIECE_SIZE, "PIECE_SIZE_MIN": _PIECE_SIZE}
    rates = {"RATE_MAX": _PIECE_SIZE, "RATE_UNKNOWN": _PIECE_SIZE}
    vars(bytes_in_flight).update(values, **rates, of_device=lambda device: account)


def _keep_house(store: Store, registry: Registry, stop: threading.Event) -> None:
    tasks = content_tasks(store, registry.holdings)
    while not stop.wait(0.01):
        for task in tasks:
            task.run()


def _convert(store: Store, chance: random.Random, stop: threading.Event) -> None:
    """Convert, evict and expand layers, as `dtrfast tier` does beside a server."""
    while not stop.wait(0.01):
        tiering.work(store, chance)


def main(seed: int, engine: str, root: Path) -> None:
    tiering.use_small_limits()
    recipes.SLICE_PARTS_MAX = _SLICE_PARTS_MAX
    be_on_a_slow_disk()
    store = Store.open(root / "data", StoreConfig(), open_index=ENGINES[engine])
    registry = open_registry(store, root)
    failures: list[threading.ExceptHookArgs] = []
    threading.excepthook = failures.append
    stop = threading.Event()
    tier_chance = random.Random(f"{seed} tier")
    others = [
        threading.Thread(target=_keep_house, args=(store, registry, stop)),
        threading.Thread(target=_convert, args=(store, tier_chance, stop)),
    ]
    clients = [
        threading.Thread(target=Client(registry, seed, number).run) for number in range(CLIENTS)
    ]
    for thread in [*others, *clients]:
        thread.start()
    for thread in clients:
        thread.join()
    stop.set()
    for thread in others:
        thread.join()
    store.close()
    for failure in failures:
        sys.__excepthook__(
            failure.exc_type, failure.exc_value or Exception(), failure.exc_traceback
        )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
