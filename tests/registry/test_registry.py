"""The domain's rules that no answer shows: rows, references, counts, changes, races."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dtrfast.config import Config
from dtrfast.errors import (
    BlobUnknown,
    Corrupt,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestUnknown,
    RepositoryUnknown,
    UploadUnknown,
)
from dtrfast.index import changes, tables
from dtrfast.index.changes import ChangeRecord
from dtrfast.index.engine import Table
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import links, records, repositories
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.permits import EVERYBODY
from dtrfast.registry.records import RepositoryRecord, StoredManifest, TagRecord
from dtrfast.registry.registry import Registry
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine

NAME = RepositoryName("team/app")
OTHER = RepositoryName("other")


def push_blob(registry: Registry, content: bytes, name: RepositoryName = NAME) -> Digest:
    upload = registry.uploads.begin(name)
    upload.append(content)
    digest = Digest.of_bytes(content)
    registry.uploads.finish(upload, name, digest, registry.author())
    return digest


def push_image(
    registry: Registry, tag: str, layer: bytes = b"layer", name: RepositoryName = NAME
) -> Digest:
    for content in (b"{}", layer):
        push_blob(registry, content, name)
    body = image_manifest(layer)
    author = registry.author()
    return registry.manifests.put(name, Tag(tag), body, OCI_MANIFEST, author=author).digest


def rows(engine: MemoryEngine, table: Table) -> list[tuple[bytes, bytes]]:
    with engine.read() as transaction:
        return list(transaction.scan(table))


def recorded(engine: MemoryEngine) -> Iterator[ChangeRecord]:
    for _, value in rows(engine, tables.CHANGES):
        yield changes.decode(value)


# ---- repositories -----------------------------------------------------------------------------
def ensure(engine: MemoryEngine, name: RepositoryName, registry: Registry) -> RepositoryId:
    change = partial(repositories.ensure, name=name, author=registry.author(), permits=EVERYBODY)
    return engine.write(change)


def find(engine: MemoryEngine, name: RepositoryName) -> RepositoryId | None:
    with engine.read() as transaction:
        return repositories.find(transaction, name)


def test_a_repository_keeps_its_number(registry: Registry, engine: MemoryEngine) -> None:
    first, second = ensure(engine, NAME, registry), ensure(engine, OTHER, registry)
    assert (first, second) == (1, 2)
    assert ensure(engine, NAME, registry) == first
    assert find(engine, NAME) == first
    assert find(engine, RepositoryName("unknown")) is None


def test_a_number_leads_back_to_the_name(registry: Registry, engine: MemoryEngine) -> None:
    number = ensure(engine, NAME, registry)
    assert rows(engine, tables.REPOSITORY_NAMES) == [(tables.number_key(number), b"team/app")]


def test_a_repository_that_holds_nothing_is_not_shown(
    registry: Registry, engine: MemoryEngine
) -> None:
    ensure(engine, NAME, registry)
    assert registry.catalog.page(10).entries == []
    assert registry.search.find("team", 10) == []
    with pytest.raises(RepositoryUnknown):
        registry.tags.page(NAME, 10)


def test_many_at_once_make_one_repository(registry: Registry, engine: MemoryEngine) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = set(pool.map(lambda _: ensure(engine, NAME, registry), range(50)))
    assert len(numbers) == 1
    assert registry.statistics().repositories == 1


# ---- uploads ----------------------------------------------------------------------------------
def test_a_bad_push_leaves_nothing(registry: Registry, engine: MemoryEngine) -> None:
    upload = registry.uploads.begin(NAME)
    upload.append(b"content")
    wrong = Digest.of_bytes(b"other")
    with pytest.raises(DigestInvalid):
        registry.uploads.finish(upload, NAME, wrong, registry.author())
    assert rows(engine, tables.REPOSITORIES) == []
    assert list(recorded(engine)) == []
    with pytest.raises(UploadUnknown):
        registry.uploads.resume(NAME, upload.id)


@pytest.mark.parametrize("upload_id", ["", "x", "../x", "A" * 36, "0" * 36])
def test_what_cannot_be_an_id_does_not_reach_the_store(
    engine: MemoryEngine, clock: Clock, upload_id: str
) -> None:
    blobs = MemoryBlobs(clock)  # these accept any id that they know
    registry = Registry(engine, blobs, Config(), clock=clock)
    blobs.uploads[upload_id] = blobs.begin(NAME.text)  # type: ignore[assignment]
    with pytest.raises(UploadUnknown):
        registry.uploads.resume(NAME, upload_id)
    with pytest.raises(UploadUnknown):
        registry.uploads.offset(NAME, upload_id)
    assert registry.uploads.finished(NAME, upload_id) is None


def test_a_mount_of_nothing_makes_no_repository(registry: Registry, engine: MemoryEngine) -> None:
    author, digest = registry.author(), Digest.of_bytes(b"x")
    push_blob(registry, b"another", OTHER)
    for source in (None, OTHER, RepositoryName("unknown")):
        assert registry.blobs.mount(NAME, digest, source, author) is None
    assert find(engine, NAME) is None


def test_a_mount_names_the_blob(registry: Registry) -> None:
    digest = push_blob(registry, b"abc", OTHER)
    mounted = registry.blobs.mount(NAME, digest, OTHER, registry.author())
    assert mounted is not None
    assert (mounted.digest, mounted.size) == (digest, 3)


def test_blobs_of_an_unknown_repository(registry: Registry) -> None:
    digest = push_blob(registry, b"abc", OTHER)
    for ask in (registry.blobs.stat, registry.blobs.open_range):
        with pytest.raises(BlobUnknown):
            ask(NAME, digest)
    with pytest.raises(BlobUnknown):
        registry.blobs.delete(NAME, digest, registry.author())


# ---- references -------------------------------------------------------------------------------
def is_referenced(engine: MemoryEngine, digest: Digest) -> bool:
    with engine.read() as transaction:
        return links.is_referenced(transaction, RepositoryId(1), digest)


def unreferenced_since(engine: MemoryEngine, digest: Digest) -> int:
    with engine.read() as transaction:
        link = links.get(transaction, RepositoryId(1), digest)
    assert link is not None
    return link.unreferenced_since


def test_blobs_are_referenced_while_a_manifest_names_them(
    registry: Registry, engine: MemoryEngine, clock: Clock
) -> None:
    first = push_image(registry, "a", b"one")
    second = push_image(registry, "b", b"two")
    config, one, two = (Digest.of_bytes(content) for content in (b"{}", b"one", b"two"))
    clock.advance(100)
    registry.manifests.delete(NAME, first, registry.author())
    assert [is_referenced(engine, d) for d in (config, one, two)] == [True, False, True]
    assert unreferenced_since(engine, one) == clock()
    assert unreferenced_since(engine, config) == clock() - 100
    registry.manifests.delete(NAME, second, registry.author())
    assert [is_referenced(engine, d) for d in (config, one, two)] == [False] * 3
    assert rows(engine, tables.REFERENCES) == []


def test_a_blob_that_is_the_child_of_an_index_is_referenced(
    registry: Registry, engine: MemoryEngine
) -> None:
    digest = push_blob(registry, b"cache")
    index = index_manifest(descriptor(b"cache", "application/x"))
    registry.manifests.put(NAME, Tag("cache"), index, OCI_INDEX, author=registry.author())
    assert is_referenced(engine, digest)


def test_deletes_leave_no_rows(registry: Registry, engine: MemoryEngine) -> None:
    subject = descriptor(b"subject", OCI_MANIFEST)
    push_blob(registry, b"{}")
    body = image_manifest(fields={"subject": subject})
    tags = tuple(Tag(f"t{n}") for n in range(5))
    digest = Digest.of_bytes(body)
    put = registry.manifests.put
    put(NAME, digest, body, OCI_MANIFEST, extra_tags=tags, author=registry.author())
    assert len(rows(engine, tables.MANIFEST_TAGS)) == 5
    assert len(rows(engine, tables.REFERRERS)) == 1
    registry.manifests.delete(NAME, digest, registry.author())
    for table in (
        *(tables.MANIFESTS, tables.TAGS, tables.MANIFEST_TAGS),
        *(tables.REFERRERS, tables.REFERENCES),
    ):
        assert rows(engine, table) == []


def test_a_moved_tag_belongs_to_one_manifest(registry: Registry, engine: MemoryEngine) -> None:
    first = push_image(registry, "a", b"one")
    second = push_image(registry, "a", b"two")
    (row,) = rows(engine, tables.MANIFEST_TAGS)
    assert row[0] == tables.number_key(1) + second.key() + b"a"
    registry.manifests.delete(NAME, first, registry.author())
    assert registry.tags.page(NAME, 10).entries == ["a"]


def test_tags_whose_digests_share_a_beginning(registry: Registry) -> None:
    """The rows of a manifest's tags have its whole digest."""
    body = image_manifest(b"layer")
    push_image(registry, "usual")
    strong = Digest.of_bytes(body, "sha512")
    put = registry.manifests.put
    put(NAME, strong, body, OCI_MANIFEST, extra_tags=(Tag("strong"),), author=registry.author())
    registry.manifests.delete(NAME, Digest.of_bytes(body), registry.author())
    assert registry.tags.page(NAME, 10).entries == ["strong"]


# ---- changes and counts -----------------------------------------------------------------------
def test_every_change_is_recorded_once(
    registry: Registry, engine: MemoryEngine, clock: Clock
) -> None:
    digest = push_image(registry, "a")
    push_image(registry, "b")
    registry.tags.delete(NAME, Tag("a"), registry.author("alice"))
    registry.manifests.delete(NAME, digest, registry.author("bob"))
    found = list(recorded(engine))
    assert [change.kind for change in found] == [
        "repository.create",
        "blob.link",
        "blob.link",
        "manifest.put",
        "tag.set",
        "tag.set",
        "tag.delete",
        "tag.delete",
        "manifest.delete",
    ]
    assert [change.sequence for change in found] == list(range(1, 10))
    assert {change.repository for change in found} == {"team/app"}
    assert {change.time for change in found} == {clock()}
    assert [change.actor for change in found[-3:]] == ["alice", "bob", "bob"]
    assert found[3].payload == {
        "digest": str(digest),
        "media_type": OCI_MANIFEST,
        "body": image_manifest(b"layer"),
    }
    assert found[4].payload == {"tag": "a", "digest": str(digest), "previous": None}


def test_a_moved_tag_names_what_it_pointed_at(registry: Registry, engine: MemoryEngine) -> None:
    first = push_image(registry, "a", b"one")
    push_image(registry, "a", b"two")
    assert list(recorded(engine))[-1].payload["previous"] == str(first)


def test_what_is_refused_is_not_recorded(registry: Registry, engine: MemoryEngine) -> None:
    author = registry.author()
    with pytest.raises(ManifestBlobUnknown):
        registry.manifests.put(NAME, Tag("a"), image_manifest(b"x"), OCI_MANIFEST, author=author)
    with pytest.raises(ManifestUnknown):
        registry.tags.delete(NAME, Tag("a"), author)
    with pytest.raises(ManifestUnknown):
        registry.manifests.delete(NAME, Digest.of_bytes(b"x"), author)
    assert list(recorded(engine)) == []


def test_counts(registry: Registry) -> None:
    digest = push_image(registry, "a")
    push_image(registry, "b")
    push_image(registry, "a", b"two")
    statistics = registry.statistics()
    assert (statistics.repositories, statistics.manifests, statistics.tags) == (1, 2, 2)
    registry.manifests.delete(NAME, digest, registry.author())
    registry.tags.delete(NAME, Tag("a"), registry.author())
    statistics = registry.statistics()
    assert (statistics.manifests, statistics.tags) == (1, 0)
    assert statistics.manifest_bytes == len(image_manifest(b"two"))


def test_a_type_sent_with_a_later_push_replaces_the_first(registry: Registry) -> None:
    document = json.loads(image_manifest())
    del document["mediaType"]
    body = json.dumps(document).encode()
    push_blob(registry, b"{}")
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    for media_type in (OCI_MANIFEST, docker):
        registry.manifests.put(NAME, Tag("a"), body, media_type, author=registry.author())
        assert registry.manifests.get(NAME, Tag("a")).media_type == media_type
    assert registry.statistics().manifests == 1


def test_pushes_of_one_tag_at_once(registry: Registry, engine: MemoryEngine) -> None:
    layers = [b"layer %d" % n for n in range(20)]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda layer: push_image(registry, "a", layer), layers))
    assert registry.manifests.get(NAME, Tag("a")).digest in digests
    assert len(rows(engine, tables.MANIFEST_TAGS)) == 1
    assert registry.statistics().tags == 1


# ---- records ----------------------------------------------------------------------------------
def test_golden_records() -> None:
    """Records on disk stay readable: a change here needs a new version."""
    digest = Digest("sha256", bytes(range(32)))
    assert TagRecord(digest, 5).encode().hex() == (
        "01002100000000000500000000000000" + "01" + bytes(range(32)).hex()
    )
    assert TagRecord(digest, 5, "al", (7 << 32) + 0x0102).encode().hex() == (
        "01002100020100000500000000000000" + "01" + bytes(range(32)).hex() + "616c"
    )
    assert StoredManifest("a/b", b"{}", 6).encode().hex() == (
        "01000300000000000600000000000000" + b"a/b{}".hex()
    )
    record = RepositoryRecord(version=1, id=2, created_at=3)
    assert records.encode_repository(record).hex() == "95010203a0c2"


def test_records_come_back() -> None:
    for algorithm in ("sha256", "sha512"):
        record = TagRecord(Digest.of_bytes(b"x", algorithm), 1 << 40, "alice", 0xFFFF_FFFF)
        assert TagRecord.decode(record.encode()) == record
    manifest = StoredManifest(OCI_MANIFEST, bytes(range(256)), 1 << 40)
    assert StoredManifest.decode(manifest.encode()) == manifest
    assert records.decode_repository(bytes.fromhex("93010203")).description == ""


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + bytes(60)])
def test_records_that_cannot_be_read(data: bytes) -> None:
    for decode in (TagRecord.decode, StoredManifest.decode, records.decode_repository):
        with pytest.raises(Corrupt):
            decode(data)


def test_a_repository_record_of_a_later_version() -> None:
    with pytest.raises(Corrupt, match="version 2"):
        records.decode_repository(bytes.fromhex("94020203a0"))


# ---- warnings ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("fullness", "count"), [(0.0, 0), (0.95, 0), (0.951, 1), (1.0, 1)])
def test_a_full_disk_is_a_warning(registry: Registry, fullness: float, count: int) -> None:
    registry._fullness = lambda: fullness
    assert len(registry.warnings()) == count
