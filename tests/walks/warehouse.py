"""The contents of a city's repository: large manifests, and many small ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import CHEAP_DESCRIPTORS_MAX, DESCRIPTORS_MAX, read_manifest
from dtrfast.oci.media_types import FOREIGN_TYPES, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import manifests, repositories, tags
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, TargetRepository
from dtrfast.store.blobs import BlobStore
from tests.api.managed.town import Town
from tests.fakes.client import descriptor, index_manifest

NAME = RepositoryName("acme/app")
# The layers of the largest manifests that can be pushed; the config is a descriptor as well.
DESCRIPTORS = DESCRIPTORS_MAX - 1
# The number of layers in 4 MiB.
_FOREIGN = CHEAP_DESCRIPTORS_MAX - 1_000
_FOREIGN_TYPE = min(FOREIGN_TYPES, key=len)
_LARGE_IMAGES = 24
_MANY_IMAGES = 6
_TAGS = 20_000
_REFERRERS = 500
_TRASHED = 2_000
_BATCH = 1_000
_THREADS = 16
_CONFIG = json.dumps({"os": "linux", "architecture": "amd64"}).encode()


@dataclass(frozen=True, slots=True)
class Stock:
    """Facts for requests, and large manifests that are ready to be pushed."""

    facts: dict[str, str]
    manifests: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Repository:
    """The repository that is filled, and the means to fill it."""

    town: Town
    blobs: BlobStore
    id: RepositoryId
    author: Author

    @property
    def place(self) -> TargetRepository:
        return TargetRepository(self.id, NAME, self.author)

    def push(self, tag: str, body: bytes, media_type: str = OCI_MANIFEST) -> str:
        """Push a manifest under a tag; returns its digest."""
        put = self.town.registry.manifests.put
        return str(put(NAME, Tag(tag), body, media_type, author=self.author).digest)

    def in_batches(
        self, change: Callable[[WriteTransaction, int], None], count: int, first: int = 0
    ) -> None:
        """Run a change for each of `count` numbers, some in one transaction."""
        for begin in range(first, first + count, _BATCH):
            numbers = range(begin, min(begin + _BATCH, first + count))
            self.town.engine.write(partial(_each, change=change, numbers=numbers))


def _each(
    transaction: WriteTransaction,
    change: Callable[[WriteTransaction, int], None],
    numbers: Sequence[int],
) -> None:
    for number in numbers:
        change(transaction, number)


def fill(town: Town, blobs: BlobStore) -> Stock:
    """Fill acme/app of a scene. Its tags v1 and v2 become large images."""
    with town.engine.read() as transaction:
        number = repositories.get(transaction, NAME)
    here = _Repository(town, blobs, number, Author("owen", town.clock()))
    _add_blobs(here)
    images = [
        here.push(tag, _large_image(tag))
        for tag in ("v1", "v2", "trashed", *(f"a{n}" for n in range(_LARGE_IMAGES)))
    ]
    children = [_small_image(n) for n in range(DESCRIPTORS)]
    here.in_batches(partial(_add_small, place=here.place, bodies=children), DESCRIPTORS)
    index = here.push("index", _large_index(children), OCI_INDEX)
    here.push("wide", _wide_index(here), OCI_INDEX)
    many = [here.push(f"many{n}", _image_of_many(str(n))) for n in range(_MANY_IMAGES)]
    here.push("told", _told_image(), OCI_MANIFEST)
    here.push("old", _old_image(here), OCI_MANIFEST)
    here.in_batches(partial(_add_tag, place=here.place, bodies=children), _TAGS)
    here.in_batches(partial(_add_referrer, place=here.place, subject=images[0]), _REFERRERS)
    _add_trash(here)
    return Stock(
        {
            "image": images[0],
            "other": images[1],
            "trashed": images[2],
            "index": index,
            "many": many[0],
            "blob": str(Digest.of_bytes(_layer(0))),
            "run": _delete(here, images[2], "a0"),
        },
        {"large": _large_image("new"), "many": _image_of_many("new")},
    )


def _layer(number: int) -> bytes:
    return b"layer %d" % number


def _add_blobs(here: _Repository) -> None:
    contents = [_CONFIG, *(_layer(number) for number in range(DESCRIPTORS))]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(partial(_add_blob, here), contents))


def _add_blob(here: _Repository, content: bytes) -> None:
    uploads = here.town.registry.uploads
    upload = uploads.begin(NAME)
    upload.append(content)
    uploads.finish(upload, NAME, Digest.of_bytes(content), here.town.registry.author())


# ---- manifests -------------------------------------------------------------------------------
def _image(layers: Sequence[int], **fields: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(_CONFIG, OCI_CONFIG),
        "layers": [descriptor(_layer(number), OCI_LAYER) for number in layers],
        **fields,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _large_image(title: str) -> bytes:
    return _image(range(DESCRIPTORS), annotations={"title": title})


def _image_of_many(title: str) -> bytes:
    """Return an image with as many layers as a push may have, all of them foreign."""
    document = json.loads(_image([]))
    document["layers"] = [
        {
            "mediaType": _FOREIGN_TYPE,
            "digest": str(Digest.of_bytes(f"{title} {number}".encode())),
            "size": 1,
        }
        for number in range(_FOREIGN)
    ]
    return json.dumps(document, separators=(",", ":")).encode()


def _small_image(number: int) -> bytes:
    return _image([number], annotations={"number": str(number)})


def _large_index(children: Sequence[bytes]) -> bytes:
    platform = {"os": "linux", "architecture": "amd64"}
    first = [descriptor(children[0], OCI_MANIFEST, platform=platform)]
    rest = (descriptor(body, OCI_MANIFEST) for body in children[1:])
    return index_manifest(*first, *rest).replace(b'": ', b'":').replace(b", ", b",")


def _wide_index(here: _Repository) -> bytes:
    """Return an index of pushed indexes of large images, each as wide as a list reads."""
    large = [_large_image(f"a{n}") for n in range(_LARGE_IMAGES)]
    entries = [descriptor(body, OCI_MANIFEST) for body in large]
    inner = [index_manifest(*entries, entries[number]) for number in range(_LARGE_IMAGES)]
    for body in inner:
        here.push("inner", body, OCI_INDEX)
    return index_manifest(*(descriptor(body, OCI_INDEX) for body in inner))


def _told_image() -> bytes:
    """Return an image whose annotations fill most of the 4 MiB that a manifest may have."""
    return _image([0], annotations={f"org.example.{n}": "x" * 20 for n in range(80_000)})


def _old_image(here: _Repository) -> bytes:
    """Return an image with a long history, after storing its config, the largest a page reads."""
    step = {"created": "2024-01-01T00:00:00Z", "created_by": '/bin/sh -c #(nop) X ["' + "x" * 300}
    texts = [f"N{n}={'y' * 100}" for n in range(400)]
    labels = {f"l{n}": "z" * 100 for n in range(400)}
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Env": texts, "Labels": labels},
            "history": [step] * 400,
        }
    ).encode()
    _add_blob(here, config)
    document = json.loads(_image(range(400)))
    return json.dumps({**document, "config": descriptor(config, OCI_CONFIG)}).encode()


def _enter(transaction: WriteTransaction, place: TargetRepository, body: bytes) -> Digest:
    digest = Digest.of_bytes(body)
    stored = StoredManifest(OCI_MANIFEST, body, place.author.now)
    manifest = read_manifest(body, OCI_MANIFEST)
    manifests.enter(transaction, place, digest, stored, manifest)
    return digest


def _add_small(
    transaction: WriteTransaction, number: int, place: TargetRepository, bodies: Sequence[bytes]
) -> None:
    _enter(transaction, place, bodies[number])


def _add_tag(
    transaction: WriteTransaction, number: int, place: TargetRepository, bodies: Sequence[bytes]
) -> None:
    digest = Digest.of_bytes(bodies[number % len(bodies)])
    tags.put(transaction, place, Tag(f"t{number:05}"), digest)


def _add_referrer(
    transaction: WriteTransaction, number: int, place: TargetRepository, subject: str
) -> None:
    about = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 1}
    body = _image([number], subject=about, annotations={"signature": "x" * 200})
    _enter(transaction, place, body)


# ---- the trash -------------------------------------------------------------------------------
def _add_trash(here: _Repository) -> None:
    """Add small images, and delete each with its tag."""

    def change(transaction: WriteTransaction, number: int) -> None:
        digest = _enter(transaction, here.place, _small_image(number))
        tags.put(transaction, here.place, Tag(f"gone{number:05}"), digest)
        stored = _stored(transaction, here.id, digest)
        manifests.remove(transaction, here.place, digest, stored)

    here.in_batches(change, _TRASHED, first=DESCRIPTORS)


def _stored(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest
) -> StoredManifest:
    found = manifests.stored_manifest(transaction, repository, digest)
    assert found is not None
    return found


def _delete(here: _Repository, *references: str) -> str:
    """Delete tags and images in one deletion; returns its run."""
    body = {"references": list(references)}
    path = "repositories/acme/app/deletion"
    return str(here.town.api("owen", "POST", path, body)["run"])
