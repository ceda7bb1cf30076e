"""The catalog lists exactly the repositories that hold something, after any sequence of changes."""

from __future__ import annotations

import random

import pytest

from dtrfast.errors import BlobUnknown, ManifestUnknown
from dtrfast.index import tables
from dtrfast.index.tables import number_of
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.registry import Registry
from tests.fakes.engine import MemoryEngine

NAMES = [RepositoryName(text) for text in ("a", "b/c", "b/d")]
CONTENTS = (b"one", b"two")
# It has no blobs, so that a repository can hold a manifest and nothing else.
MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)


def holding(engine: MemoryEngine) -> list[str]:
    """Return the names of repositories that own a row of a blob or a manifest."""
    with engine.read() as transaction:
        owned = [tables.LINKS, tables.MANIFESTS]
        numbers = {number_of(key) for table in owned for key, _ in transaction.scan(table)}
        rows = list(transaction.scan(tables.REPOSITORY_NAMES))
    return sorted(name.decode() for key, name in rows if number_of(key) in numbers)


def push(registry: Registry, name: RepositoryName, content: bytes) -> None:
    upload = registry.uploads.begin(name)
    upload.append(content)
    registry.uploads.finish(upload, name, Digest.of_bytes(content), registry.author())


def change_something(registry: Registry, choice: random.Random) -> None:
    name, content = choice.choice(NAMES), choice.choice(CONTENTS)
    kind = choice.randrange(5)
    if kind == 0:
        push(registry, name, content)
    elif kind == 1:
        registry.blobs.mount(name, Digest.of_bytes(content), None, registry.author())
    elif kind == 2:
        registry.manifests.put(name, Tag("t"), MANIFEST, None, author=registry.author())
    elif kind == 3:
        registry.blobs.delete(name, Digest.of_bytes(content), registry.author())
    else:
        registry.manifests.delete(name, Digest.of_bytes(MANIFEST), registry.author())


@pytest.mark.parametrize("seed", range(10))
def test_the_catalog_after_any_changes(registry: Registry, engine: MemoryEngine, seed: int) -> None:
    choice = random.Random(seed)
    sizes = set()
    for _ in range(60):
        try:
            change_something(registry, choice)
        except (BlobUnknown, ManifestUnknown):
            continue
        listed = registry.catalog.page(10).entries
        assert listed == holding(engine)
        assert [match.name for match in registry.search.find("", 10)] == listed
        sizes.add(len(listed))
    assert len(sizes) > 2, "repositories came and went"
