"""Stores of any size for measurements, written directly into the index, without the blobs' bytes.

They look like the images that CI pushes. An image has its own config, which is in the index, its
own chunked layer, and four loose layers that several images share. The files of blobs are missing.
So a store can serve manifests, configs, lists and HEAD of all blobs, and accept pushes, but it
cannot send those layers.

The registry's own functions write the rows, image after image. So the counters agree, and keys come
in the order of pushes: random digests and hashes, ascending numbers. A store depends only on its
scale, and the names of all objects follow from their numbers.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import xxhash

from dtrfast.config import StoreConfig
from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CHANGES,
    CONTENTS,
    FILES,
    PACKS,
    RECIPES,
    STORE,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import parse_manifest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import links, manifests, repositories
from dtrfast.registry.holdings import Push, PushResult
from dtrfast.registry.manifests import Rules
from dtrfast.registry.permits import EVERYBODY
from dtrfast.registry.writing import Author, TargetRepository
from dtrfast.store import contents, packs, recipes, records, statistics
from dtrfast.store.parts import UploadPart
from dtrfast.store.records import LOOSE_FILE, PACK_FILE, Content, ContentKind, Pack
from dtrfast.store.store import Store
from dtrfast.store.upload_state import new_file_id

T = TypeVar("T")

# A part of the store's name, so that stores of an older generator are not used.
_VERSION = 2
_IMAGES_IN_TRANSACTION = 5_000
_REPOSITORIES_OF_A_BASE = 100
# On average 65,536 bytes, as the chunker cuts.
_CHUNK_SIZE_MIN = 16_384
_CHUNK_SIZE_SPREAD = 98_304


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a store. Each repository has at least one tag; one has `largest` tags."""

    repositories: int
    tags: int
    chunks: int
    largest: int

    @property
    def name(self) -> str:
        return "-".join(map(str, ("store", _VERSION, *astuple(self))))


BASE = Scale(repositories=100, tags=1_000, chunks=10_000, largest=100)
TENFOLD = Scale(repositories=1_000, tags=10_000, chunks=100_000, largest=1_000)
THOUSANDFOLD = Scale(repositories=100_000, tags=1_000_000, chunks=10_000_000, largest=100_000)
# Stores for one list each. They take a small part of the time to make.
MANY_TAGS = Scale(repositories=1, tags=100_000, chunks=0, largest=100_000)
MANY_REPOSITORIES = Scale(repositories=100_000, tags=100_000, chunks=0, largest=1)


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a store: its names, and the bytes of its manifest and config."""

    repository: str
    tag: str
    manifest: bytes
    config: bytes
    layers: tuple[Digest, ...]  # the last one is not shared, and chunked
    sizes: tuple[int, ...]  # of the layers

    @property
    def digest(self) -> Digest:
        return Digest.of_bytes(self.manifest)

    @property
    def config_digest(self) -> Digest:
        return Digest.of_bytes(self.config)


_Images = list[tuple[Image, range]]  # each with the chunks of its last layer


@dataclass(frozen=True, slots=True)
class LargeStore:
    """A store in `data`, the only content of `home`. It can be opened like any other store."""

    home: Path
    scale: Scale

    @property
    def data(self) -> Path:
        return self.home / "data"

    def repository(self, number: int) -> str:
        """Return the name of repository `number`; 0 is the one with the most tags."""
        return f"team-{number % 97:02d}/app-{number:06d}"

    def tag(self, number: int) -> str:
        """Return the tag of image `number`, which looks like a commit's id."""
        return f"ci-{xxhash.xxh3_64_hexdigest(b'tag %d' % number)}"

    def image(self, number: int) -> Image:
        """Return image `number`, from 0 to the number of tags."""
        repository = self._repository_of(number)
        layers = (*self._shared(repository), _layer(b"own %d" % number))
        sizes = (*_SHARED_SIZES, sum(map(_chunk_length, self.chunks_of(number))) or _LOOSE_SIZE)
        config = _config(number, layers)
        manifest = _manifest(config, layers, sizes)
        name, tag = self.repository(repository), self.tag(number)
        return Image(name, tag, manifest, config, layers, sizes)

    def images(self, count: int, *, seed: int = 1) -> list[Image]:
        """Return `count` random images, the same ones for the same seed."""
        choice = random.Random(seed)
        return [self.image(choice.randrange(self.scale.tags)) for _ in range(count)]

    def repositories(self) -> list[str]:
        """Return all names of repositories in the order of the catalog."""
        return sorted(map(self.repository, range(self.scale.repositories)))

    def tags(self) -> list[str]:
        """Return the tags of repository 0 in the order of the list."""
        return sorted(map(self.tag, range(self.scale.largest)))

    def chunks_of(self, number: int) -> range:
        """Return the numbers of the chunks of an image's last layer."""
        tags, chunks = self.scale.tags, self.scale.chunks
        return range(number * chunks // tags, (number + 1) * chunks // tags)

    def _repository_of(self, number: int) -> int:
        others = self.scale.repositories - 1
        return 0 if number < self.scale.largest else 1 + (number - self.scale.largest) % others

    def _shared(self, repository: int) -> tuple[Digest, ...]:
        base = repository // _REPOSITORIES_OF_A_BASE
        return tuple(_layer(b"base %d %d" % (base, n)) for n in range(len(_SHARED_SIZES)))


def large_store(
    directory: Path, scale: Scale, *, progress: Callable[[float], object] = lambda part: None
) -> LargeStore:
    """Return the store of this scale below `directory`. Makes it if it is missing.

    `progress` is called with the finished part, from 0 to 1. The store and later pushes to it stay
    until a user removes it. An incomplete store has another name.
    """
    store = LargeStore(directory / scale.name, scale)
    if not store.home.exists():
        unfinished = store.home.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _make(LargeStore(unfinished, scale), progress)
        unfinished.rename(store.home)
    return store


# ---- the parts of an image -------------------------------------------------------------------
# Shared: a base system, a runtime, packages and dependencies. The application is not shared.
_SHARED_SIZES = (29_150_000, 12_400_000, 3_200_000, 48_700_000)
_LOOSE_SIZE = 640_000
_LAYER_TYPE = OCI_LAYER + "+gzip"
_COMMANDS = (
    "/bin/sh -c #(nop) ADD file:4ab3f1 in / ",
    "/bin/sh -c apt-get update && apt-get install -y --no-install-recommends ca-certificates",
    "/bin/sh -c pip install --no-cache-dir -r requirements.txt",
    "/bin/sh -c apt-get clean && rm -rf /var/lib/apt/lists/*",
    "COPY dist/ /app # buildkit",
)


def _layer(label: bytes) -> Digest:
    """Return a digest for a layer that has no bytes."""
    return Digest("sha256", hashlib.sha256(label).digest())


def _chunk_hash(number: int) -> bytes:
    return xxhash.xxh3_128_digest(number_key(number))


def _chunk_length(number: int) -> int:
    return _CHUNK_SIZE_MIN + int.from_bytes(_chunk_hash(number)[:4], "big") % _CHUNK_SIZE_SPREAD


def _config(number: int, layers: tuple[Digest, ...]) -> bytes:
    """Return a config as builders write it. The digests of layers stand for those of diffs."""
    created = f"2025-01-01T00:00:{number % 60:02d}Z"
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", f"BUILD={number}"],
            "Entrypoint": ["/app/serve"],
            "WorkingDir": "/app",
        },
        "history": [{"created": created, "created_by": command} for command in _COMMANDS],
        "rootfs": {"type": "layers", "diff_ids": [str(layer) for layer in layers]},
    }
    return msgspec.json.encode(document)


def _manifest(config: bytes, layers: tuple[Digest, ...], sizes: tuple[int, ...]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(OCI_CONFIG, Digest.of_bytes(config), len(config)),
        "layers": [
            _descriptor(_LAYER_TYPE, layer, size) for layer, size in zip(layers, sizes, strict=True)
        ],
    }
    return msgspec.json.encode(document)


def _descriptor(media_type: str, digest: Digest, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digest), "size": size}


# ---- into the index --------------------------------------------------------------------------
def _make(store: LargeStore, progress: Callable[[float], object]) -> None:
    opened = Store.open(store.data, StoreConfig(data=store.data))
    now = int(time.time())
    try:
        for first in range(0, store.scale.tags, _IMAGES_IN_TRANSACTION):
            end = min(first + _IMAGES_IN_TRANSACTION, store.scale.tags)
            images = [
                (store.image(number), store.chunks_of(number)) for number in range(first, end)
            ]
            place = partial(_place, images=images, now=now)
            opened.engine.write_both(place, partial(_link, images=images, now=now))
            progress(end / store.scale.tags)
    finally:
        opened.close()


def _place(transaction: WriteTransaction, images: _Images, now: int) -> None:
    made = _Contents(transaction, now)
    for image, chunks in images:
        *shared, own = zip(image.layers, image.sizes, strict=True)
        for layer, size in shared:
            made.add_loose(layer, size)
        if chunks:
            made.add_chunked(own[0], chunks)
        else:
            made.add_loose(*own)
        made.add_inline(image.config)


def _link(transaction: WriteTransaction, images: _Images, now: int) -> None:
    quiet = _UnloggedTransaction(transaction)
    for image, _ in images:
        _link_image(quiet, image, Author("anonymous", now))


def _link_image(transaction: _UnloggedTransaction, image: Image, author: Author) -> None:
    """Write the rows of an image's manifest, links and tag, as a push of the image would."""
    name, tag = RepositoryName(image.repository), Tag(image.tag)
    place = TargetRepository(
        repositories.ensure(transaction, name, author, EVERYBODY), name, author
    )
    blobs = zip(image.layers, image.sizes, strict=True)
    for digest, size in [*blobs, (image.config_digest, len(image.config))]:
        if links.get(transaction, place.id, digest) is None:
            links.put(transaction, place, digest, size)
    manifest = parse_manifest(image.manifest, OCI_MANIFEST)
    push = Push(EVERYBODY, name, tag, image.digest, (tag,), manifest, image.manifest, author)
    stored = manifests.put(transaction, push, Rules(True, True))
    assert isinstance(stored, PushResult), stored


class _Contents:
    """Writes the contents of images' blobs in one transaction."""

    def __init__(self, transaction: WriteTransaction, now: int) -> None:
        self._transaction = transaction
        self._now = now

    def add_loose(self, digest: Digest, size: int) -> None:
        if contents.find(self._transaction, digest) is None:
            number, file_id = self._take(b"number", 1), self._file_id()
            self._transaction.put(FILES, file_id, LOOSE_FILE + number_key(number))
            self._put_row(number, records.file_row(file_id))
            self._add(number, digest, size, "loose", file_id)

    def add_inline(self, body: bytes) -> None:
        number = self._take(b"number", 1)
        self._put_row(number, records.inline_row(body))
        self._add(number, Digest.of_bytes(body), len(body), "inline")

    def add_chunked(self, digest: Digest, chunks: range) -> None:
        """Write a layer of new chunks in its own pack."""
        number = self._take(b"number", 2)
        pack = number + 1
        parts = _parts(chunks, self._take(b"chunk_id", len(chunks)))
        self._add_pack(pack, parts[-1].offset + parts[-1].stored)
        target = recipes.RecipeTarget(number, pack, 0)
        size = recipes.add_slice(self._transaction, target, parts, self._now)
        self._add(number, digest, size, "chunked")

    def _add_pack(self, number: int, size: int) -> None:
        file_id = self._file_id()
        pack = Pack(version=1, file_id=file_id, size=size, live=0, created_at=self._now)
        self._transaction.put(PACKS, number_key(number), records.encode(pack))
        self._transaction.put(FILES, file_id, PACK_FILE + number_key(number))
        statistics.add(self._transaction, packs=1, pack_bytes=size)

    def _add(
        self,
        number: int,
        digest: Digest,
        size: int,
        kind: ContentKind,
        file_id: bytes | None = None,
    ) -> None:
        """Write the content and its name."""
        content = Content(
            version=1,
            kind=kind,
            size=size,
            stored=0 if kind == "chunked" else size,
            sha256=digest.raw,
            sha512=None,
            file_id=file_id,
            pushed_at=self._now,
        )
        self._transaction.put(CONTENTS, number_key(number), records.encode(content))
        self._transaction.put(BLOBS, digest.key(), number_key(number))
        statistics.add(self._transaction, **{f"{kind}_blobs": 1, f"{kind}_bytes": size})

    def _put_row(self, number: int, row: bytes) -> None:
        self._transaction.put(RECIPES, number_key(number) + number_key(0), row)

    def _take(self, name: bytes, count: int) -> int:
        return self._transaction.take(STORE, name, count)

    def _file_id(self) -> bytes:
        return new_file_id(self._now * 1000)


def _parts(chunks: range, first_id: int) -> list[UploadPart]:
    """Return the parts of uncompressed chunks in one record of a pack."""
    parts = []
    offset = packs.HEADER_SIZE + packs.record_size(len(chunks))
    for identifier, number in enumerate(chunks, first_id):
        length = _chunk_length(number)
        part = UploadPart(
            identifier, _chunk_hash(number), length, is_new=True, offset=offset, stored=length
        )
        parts.append(part)
        offset += length
    return parts


class _UnloggedTransaction:
    """A transaction that drops rows of the change log, as if the log's files had them already."""

    def __init__(self, transaction: WriteTransaction) -> None:
        self._transaction = transaction
        self.get = transaction.get
        self.delete = transaction.delete
        self.scan = transaction.scan
        self.get_many = transaction.get_many
        self.begun = transaction.begun
        self.put_all = transaction.put_all
        self.delete_all = transaction.delete_all
        self.pop = transaction.pop
        self.take = transaction.take
        self.add = transaction.add

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        if table is not CHANGES:
            self._transaction.put(table, key, value)
