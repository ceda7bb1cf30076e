"""The size that a deletion is predicted to free is the size that a real store frees.

Exceptions are the heads of packs, and chunks in packs that are too full to be rewritten.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.jobs.tasks import content_tasks, empty_trash
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import deletion, usage_scopes
from dtrfast.registry.permits import EVERYBODY
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.fakes.clock import Clock

APP = RepositoryName.parse("acme/app")
DAY = 86_400


class Shelf:
    """A store and its registry, with a clock that the test sets."""

    def __init__(self, data: Path) -> None:
        self.clock = Clock()
        self.store = Store.open(data, StoreConfig(), clock=self.clock)
        config = Config(store=StoreConfig(data=data))
        self.registry = Registry(
            self.store.engine, self.store.blobs, config, clock=self.clock, fullness=lambda: 0.0
        )

    def push(self, *layers: bytes, tag: str = "") -> bytes:
        author = self.registry.author("pusher")
        for blob in (b"{}", *layers):
            upload = self.registry.uploads.begin(APP)
            upload.append(blob)
            self.registry.uploads.finish(upload, APP, Digest.of_bytes(blob), author)
        return self.put(image_manifest(*layers), tag)

    def put(self, body: bytes, tag: str = "", media_type: str = OCI_MANIFEST) -> bytes:
        reference = Tag(tag) if tag else Digest.of_bytes(body)
        author = self.registry.author("pusher")
        self.registry.manifests.put(APP, reference, body, media_type, author=author)
        return body

    def put_index(self, *children: bytes, tag: str) -> bytes:
        entries = [descriptor(child, OCI_MANIFEST) for child in children]
        return self.put(index_manifest(*entries, annotations={"n": tag}), tag, OCI_INDEX)

    def freed_by(self, *manifests: bytes) -> tuple[int, int]:
        """Return the size that a deletion is predicted to free, and the size that it frees."""
        digests = [Digest.of_bytes(body) for body in manifests]
        said = self.registry.measure(usage_scopes.of_deletion(APP, digests)).freed_bytes
        before = self.keep_house()
        bodies = 0
        for digest in digests:
            author = self.registry.author("deleter")
            gone = deletion.delete(self.store.engine, EVERYBODY, APP, digest, author, "run")
            assert gone is not None  # no limit was given
            bodies += sum(self._sizes[one] for one in gone.manifests)
        self.clock.advance(15 * DAY)
        while empty_trash(self.store.engine, self.registry.holdings, self.clock()):
            pass
        return said, before - self.keep_house() + bodies

    def keep_house(self) -> int:
        """Free all that can be freed. Returns the size that is stored afterwards."""
        for _ in range(4):
            for task in content_tasks(self.store, self.registry.holdings):
                task.run()
        return self.store.statistics().stored_bytes

    def remember(self, *manifests: bytes) -> None:
        """The index has the manifests, so the store does not count them."""
        self._sizes = {Digest.of_bytes(body): len(body) for body in manifests}


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "data")
    yield shelf
    shelf.store.close()


def test_an_index_frees_its_own_images_and_no_others(shelf: Shelf) -> None:
    common = noise(1, 400_000)
    alone = shelf.push(common, noise(2, 700_000))
    tagged = shelf.push(common, noise(3, 500_000), tag="arm")
    shared = shelf.push(noise(4, 300_000))
    index = shelf.put_index(alone, tagged, shared, tag="multi")
    shelf.put_index(shared, tag="other")
    shelf.remember(alone, tagged, shared, index)
    said, freed = shelf.freed_by(index)
    assert freed == pytest.approx(said, rel=0.04)
    assert 700_000 <= freed < 710_000


def test_two_images_free_what_only_they_share(shelf: Shelf) -> None:
    common = noise(1, 400_000)
    one = shelf.push(common, noise(2, 200_000), tag="one")
    two = shelf.push(common, noise(3, 200_000), tag="two")
    shelf.push(noise(3, 200_000) + noise(5, 100_000), tag="three")
    shelf.remember(one, two)
    said, freed = shelf.freed_by(one, two)
    assert freed == pytest.approx(said, rel=0.04)
    assert 600_000 <= freed < 810_000
