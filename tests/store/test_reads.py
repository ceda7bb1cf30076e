"""Reads write nothing and wait for no write."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from dtrfast.config import Config
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.permits import Action
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from tests.fakes.client import descriptor, image_manifest
from tests.fakes.clock import Clock
from tests.store.conftest import read_all

NAME = RepositoryName("team/app")
TAG = Tag("latest")
BODIES = {
    "inline": b"config",
    "loose": b"\x1f\x8b" + random.Random(1).randbytes(300_000),
    "raw chunks": random.Random(2).randbytes(2_000_000),
    "compressed chunks": b"".join(b"line %d\n" % n for n in range(100_000)),
}


@pytest.fixture
def registry(store: Store, clock: Clock) -> Registry:
    """A registry with a blob of each kind and an image."""
    registry = Registry(store.engine, store.blobs, Config(), clock=clock)
    for body in [*BODIES.values(), b"{}", b"layer"]:
        upload = registry.uploads.begin(NAME)
        upload.append(body)
        registry.uploads.finish(upload, NAME, Digest.of_bytes(body), registry.author())
    manifest = image_manifest(b"layer", fields={"layers": [descriptor(b"layer", "a/b")]})
    registry.manifests.put(NAME, TAG, manifest, None, author=registry.author())
    return registry


@pytest.fixture
def sealed(registry: Registry) -> Iterator[Registry]:
    """A registry in which every write fails."""

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("something was written")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LmdbEngine, "write", fail)
        for name in ("fsync", "fdatasync", "write", "pwrite", "pwritev", "ftruncate", "unlink"):
            patch.setattr(os, name, fail)
        yield registry


def test_a_sealed_registry_cannot_be_written_to(sealed: Registry) -> None:
    with pytest.raises(AssertionError):
        sealed.uploads.begin(NAME)


@pytest.mark.parametrize("kind", BODIES)
def test_a_pull_writes_nothing(sealed: Registry, kind: str) -> None:
    body = BODIES[kind]
    digest = Digest.of_bytes(body)
    peek = sealed.blobs.peek(NAME, digest)
    assert peek is not None
    assert peek.stat == sealed.blobs.stat(NAME, digest)
    assert read_all(sealed.blobs.open_range(NAME, digest)) == body
    assert read_all(sealed.blobs.open_range(NAME, digest, 2, 3)) == body[2:5]


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.manifests.get(NAME, TAG).body,
        lambda r: r.tags.page(NAME, 10).entries,
        lambda r: r.catalog.page(10).entries,
        lambda r: r.catalog.check(NAME, Action.PULL) is None,
        lambda r: r.search.find("team", 10),
        lambda r: r.statistics().manifests,
    ],
    ids=["manifest", "tags", "catalog", "repository", "search", "statistics"],
)
def test_a_question_writes_nothing(sealed: Registry, ask: Callable[[Registry], object]) -> None:
    assert ask(sealed)


def test_a_referenced_blob_is_asked_for_long_after(sealed: Registry, clock: Clock) -> None:
    clock.advance(100 * 86_400)
    digest = Digest.of_bytes(b"layer")
    assert sealed.blobs.stat(NAME, digest).size == 5
    peek = sealed.blobs.peek(NAME, digest)
    assert peek is not None
    assert peek.body == b"layer"
