"""Generated stores contain the same rows as stores that got pushes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import scale_pages
from benchmarks.scale import LargeStore, Scale, large_store
from dtrfast.config import Config, StoreConfig
from dtrfast.index.tables import CHANGES, CHUNK_HASHES, CHUNKS, LINKS_UNREFERENCED, RECIPES, TABLES
from dtrfast.jobs.tasks import content_tasks
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.registry import Registry
from dtrfast.store import records
from dtrfast.store.store import Store

SCALE = Scale(repositories=4, tags=30, chunks=100, largest=12)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> LargeStore:
    return large_store(tmp_path_factory.mktemp("stores"), SCALE)


@pytest.fixture
def store(large: LargeStore) -> Iterator[Store]:
    opened = Store.open(large.data, StoreConfig(data=large.data))
    yield opened
    opened.close()


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store.engine, store.blobs, Config())


def rows(store: Store, name: str) -> list[tuple[bytes, bytes]]:
    (table,) = (table for table in TABLES if table.name == name)
    with store.engine.read() as transaction:
        return list(transaction.scan(table))


def test_lists_are_those_that_it_names(large: LargeStore, registry: Registry) -> None:
    assert registry.catalog.page(1000).entries == large.repositories()
    assert len(large.tags()) == SCALE.largest
    listed = registry.tags.page(RepositoryName(large.repository(0)), 1000)
    assert listed.entries == large.tags()


def test_every_image_can_be_asked_for(large: LargeStore, registry: Registry) -> None:
    for image in map(large.image, range(SCALE.tags)):
        name = RepositoryName.parse(image.repository)
        found = registry.manifests.get(name, Tag.parse(image.tag))
        assert (found.digest, found.body) == (image.digest, image.manifest)
        assert registry.manifests.get(name, image.digest).body == image.manifest
        assert b"".join(read(registry, name, image.config_digest)) == image.config
        for layer in image.layers:
            assert str(layer) in image.manifest.decode()
            size = registry.blobs.stat(name, layer).size
            assert f'"digest":"{layer}","size":{size}' in image.manifest.decode()


def read(registry: Registry, name: RepositoryName, digest: Digest) -> Iterator[bytes]:
    with registry.blobs.open_range(name, digest) as reader:
        for segment in reader:
            assert isinstance(segment, bytes), "a config lies in the index"
            yield segment


def test_counters_agree_with_the_rows(store: Store, registry: Registry) -> None:
    held, named = store.statistics(), registry.statistics()
    assert (named.repositories, named.tags, named.manifests) == (4, 30, 30)
    assert named.links == len(rows(store, "links")) == len(rows(store, "holders"))
    assert held.blobs == len(rows(store, "blobs")) == len(rows(store, "contents"))
    assert held.packs == len(rows(store, "packs")) == held.chunked_blobs == 30
    assert held.packs + held.loose_blobs == len(rows(store, "files"))
    assert held.chunks == len(rows(store, "chunks")) == len(rows(store, "chunk_hashes")) == 100
    packs = [records.decode_pack(data) for _, data in rows(store, "packs")]
    assert held.pack_bytes == sum(pack.size for pack in packs)
    assert held.chunk_bytes == held.chunked_bytes == sum(pack.live for pack in packs)


def test_recipes_lead_to_chunks_that_are_found_by_their_hash(store: Store) -> None:
    recipes = [row for _, row in rows(store, RECIPES.name) if row[0] == records.CHUNKS]
    parts = [part for row in recipes for part in records.row_parts(row)]
    chunks = dict(rows(store, CHUNKS.name))
    hashes = {key for key, _ in rows(store, CHUNK_HASHES.name)}
    assert len(parts) == SCALE.chunks
    for identifier, length in parts:
        key = identifier.to_bytes(8, "big")
        chunk = records.Chunk.decode(chunks[key])
        assert (chunk.length, chunk.references) == (length, 1)
        assert chunk.hash + key in hashes


def test_nothing_waits_for_the_housekeeper(store: Store, registry: Registry) -> None:
    assert not rows(store, CHANGES.name)
    assert not rows(store, LINKS_UNREFERENCED.name)
    for task in content_tasks(store, registry.holdings):
        # Scrub reads all data once a month.
        assert task.name == "scrub" or not task.run(), task.name


def test_a_store_is_made_once(large: LargeStore) -> None:
    made = (large.data / "format").read_text()
    parts: list[float] = []
    again = large_store(large.home.parent, SCALE, progress=parts.append)
    assert again == large
    assert (again.data / "format").read_text() == made
    assert not parts


def test_a_store_that_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    scale = Scale(repositories=1, tags=2, chunks=0, largest=2)
    unfinished = tmp_path / f"{scale.name}.part" / "data"
    unfinished.mkdir(parents=True)
    (unfinished / "half").touch()
    large = large_store(tmp_path, scale)
    assert not (large.data / "half").exists()
    assert [path.name for path in tmp_path.iterdir()] == [scale.name]


def test_random_images_are_the_same_for_the_same_seed(large: LargeStore) -> None:
    assert large.images(5) == large.images(5)
    assert large.images(5) != large.images(5, seed=2)


def test_pages_are_counted_for_each_table(large: LargeStore, tmp_path: Path) -> None:
    opened = Store.open(large.data, StoreConfig(data=large.data))
    expected = {table.name: len(rows(opened, table.name)) for table in TABLES}
    size = opened.index_size()
    opened.close()
    index = scale_pages.read(large.data)
    assert {pages.table: pages.rows for pages in index.tables} == expected
    assert index.file_bytes == size
    assert 0 < index.bytes_of("chunks", "tags") < size - index.free_bytes
    packed = scale_pages.repack(large.data, tmp_path / "index")
    assert {pages.table: pages.rows for pages in packed.tables} == expected
    assert packed.file_bytes < size
