"""Outlines: what lists and pages need to know of a manifest, without its bytes.

Parsing a manifest costs 0.02 s a MiB. So the outline of a large one is kept in a table when the
manifest is stored, and goes with it. Small ones are parsed by the request that needs them, within a
budget, and kept in memory. The housekeeper adds the rows of large manifests that earlier versions
stored; until then a request may not know them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, OUTLINES, digest_key_size
from dtrfast.oci import images
from dtrfast.oci.digests import Digest, keys_of
from dtrfast.oci.images import Layer
from dtrfast.oci.manifests import Descriptor, Manifest, read_manifest
from dtrfast.oci.media_types import MANIFEST_TYPES
from dtrfast.registry import keys
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.records import StoredManifest

# Another number makes all outlines anew.
_VERSION = 1
# Manifests up to this size have no row: most have 2 KiB, and a row would make each push dearer.
_PARSED_ALWAYS_SIZE_MAX = 4 << 10
# A manifest may name tens of thousands of things; so many are shown.
LISTED_MAX = 500
_ANNOTATIONS_MAX = 500
_ANNOTATIONS_LENGTH_MAX = 64 << 10
_TYPE_LENGTH_MAX = 255
_TEXT_LENGTH_MAX = 1024
# Blobs and manifests that the outlines in memory name, together; each takes some 200 bytes.
_PARTS_KEPT_MAX = 200_000
# Manifests that one step of the housekeeper looks at.
_STEP_MAX = 200


class Listed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of an index, as the index describes it."""

    key: bytes
    size: int
    media_type: str
    platform: str
    kind: str
    title: str

    @property
    def digest(self) -> Digest:
        return Digest.from_key(self.key)


class Outline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A manifest. `blobs` and `children` are digest keys one after the other, each once; `sizes`
    are those of `blobs`, eight bytes each. `strangers`: entries of an index that are no manifests.
    `count`: layers, or entries of an index. `size`: the sum of `sizes`. `listed` and `layers` are
    the first `LISTED_MAX`. `fault`: what keeps clients from reading the manifest. `is_whole`: the
    annotations are all.
    """

    version: int
    media_type: str
    kind: str
    is_index: bool
    manifest_size: int
    blobs: bytes = b""
    sizes: bytes = b""
    children: bytes = b""
    strangers: bytes = b""
    count: int = 0
    size: int = 0
    config: bytes = b""
    subject: bytes = b""
    artifact_type: str = ""
    annotations: dict[str, str] = {}
    listed: list[Listed] = []
    layers: list[tuple[bytes, int, str, str]] = []
    fault: str = ""
    is_whole: bool = True

    @property
    def config_digest(self) -> Digest | None:
        return Digest.from_key(self.config) if self.config else None

    @property
    def subject_digest(self) -> Digest | None:
        return Digest.from_key(self.subject) if self.subject else None

    @property
    def blob_count(self) -> int:
        return len(self.sizes) // 8

    @property
    def parts(self) -> int:
        """The number of blobs and manifests that it names, or a little more."""
        return self.blob_count + len(self.children) // digest_key_size(1)

    def sizes_by_blob(self) -> Mapping[bytes, int]:
        """The sizes of the blobs that the manifest names, by their digest keys."""
        sizes = struct.unpack(f"<{self.blob_count}Q", self.sizes)
        return dict(zip(split(self.blobs), sizes, strict=True))

    def bare_layers(self) -> list[Layer]:
        """The first layers, without what a config says of them."""
        return [
            Layer("", "", str(Digest.from_key(key)), size, media_type, title)
            for key, size, media_type, title in self.layers
        ]


def split(joined: bytes) -> Iterator[bytes]:
    """The digest keys in `joined`."""
    position = 0
    while position < len(joined):
        end = position + digest_key_size(joined[position])
        yield joined[position:end]
        position = end


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outline)


# ---- making them -------------------------------------------------------------------------------
def outline_of(manifest: Manifest, size: int) -> Outline:
    """Summarize a manifest of so many bytes."""
    sizes = images.content_of(manifest)
    content = manifest.layers or manifest.blobs
    strangers = [one for one in manifest.manifests if one.media_type not in MANIFEST_TYPES]
    annotations, is_whole = _cut(manifest.annotations)
    return Outline(
        version=_VERSION,
        media_type=manifest.media_type,
        kind=images.kind_of(manifest),
        is_index=manifest.kind == "index",
        manifest_size=size,
        blobs=_joined(sizes),
        sizes=struct.pack(f"<{len(sizes)}Q", *sizes.values()),
        children=_joined(manifest.children()),
        strangers=_joined(dict.fromkeys(one.digest for one in strangers)),
        count=len(manifest.manifests) or len(content),
        size=sum(sizes.values()),
        config=b"" if manifest.config is None else manifest.config.digest.key(),
        subject=b"" if manifest.subject is None else manifest.subject.digest.key(),
        artifact_type=(manifest.artifact_type or "")[:_TYPE_LENGTH_MAX],
        annotations=annotations,
        listed=[_listed(one) for one in manifest.manifests[:LISTED_MAX]],
        layers=[_layer(one) for one in content[:LISTED_MAX]],
        fault=manifest.fault,
        is_whole=is_whole,
    )


def unknown(stored: StoredManifest) -> Outline:
    """In place of an outline that there was no budget to make."""
    size = len(stored.body)
    return Outline(_VERSION, stored.media_type, "artifact", False, size, is_whole=False)


def _joined(digests: Iterable[Digest]) -> bytes:
    return b"".join(keys_of(digests))


def _cut(annotations: dict[str, str]) -> tuple[dict[str, str], bool]:
    """As many annotations as a page shows, and True if they are all."""
    length = 0
    found: dict[str, str] = {}
    for name, text in annotations.items():
        length += len(name) + len(text)
        if len(found) == _ANNOTATIONS_MAX or length > _ANNOTATIONS_LENGTH_MAX:
            return found, False
        found[name] = text
    return found, True


def _listed(entry: Descriptor) -> Listed:
    notes = entry.annotations or {}
    platform, kind = "", "image"
    if notes.get("vnd.docker.reference.type") == "attestation-manifest":
        kind = "attestation"
    elif entry.platform is not None:
        said = entry.platform
        parts = [images.plain(part) for part in (said.os, said.architecture, said.variant)]
        platform = images.platform(*parts)[: images.PLATFORM_LENGTH_MAX]
    title = images.title_in(notes)[:_TEXT_LENGTH_MAX]
    media_type = entry.media_type[:_TYPE_LENGTH_MAX]
    return Listed(entry.digest.key(), entry.size, media_type, platform, kind, title)


def _layer(layer: Descriptor) -> tuple[bytes, int, str, str]:
    title = images.title_in(layer.annotations)[:_TEXT_LENGTH_MAX]
    return layer.digest.key(), layer.size, layer.media_type[:_TYPE_LENGTH_MAX], title


# ---- keeping them ------------------------------------------------------------------------------
def put(
    transaction: WriteTransaction,
    repository: RepositoryId,
    digest: Digest,
    manifest: Manifest,
    size: int,
) -> None:
    """Keep the outline of a manifest that is being stored, if it is large."""
    if size > _PARSED_ALWAYS_SIZE_MAX:
        data = _encoder.encode(outline_of(manifest, size))
        transaction.put(OUTLINES, keys.manifest_key(repository, digest), data)


def remove(transaction: WriteTransaction, repository: RepositoryId, digest: Digest) -> None:
    """The manifest is gone."""
    transaction.delete(OUTLINES, keys.manifest_key(repository, digest))


def kept(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> Outline | None:
    """The outline in the table. A manifest without one may be there all the same."""
    return _decode(transaction.get(OUTLINES, keys.manifest_key(repository, digest)))


def _decode(data: bytes | None) -> Outline | None:
    """None for an outline of another version."""
    try:
        found = None if data is None else _decoder.decode(data)
    except ValueError:
        return None
    return found if found is not None and found.version == _VERSION else None


_Known = tuple[Digest, str]


class Outlines:
    """Outlines of small manifests in memory, by digest and type, so that they hold for all who may
    see the manifest. All are dropped before they name more than `_PARTS_KEPT_MAX` things.
    """

    def __init__(self) -> None:
        self._kept: dict[_Known, Outline] = {}
        self._parts_left = _PARTS_KEPT_MAX

    def get(self, key: _Known) -> Outline | None:
        return self._kept.get(key)

    def put(self, key: _Known, outline: Outline) -> None:
        """Keep an outline, unless it takes a large part of the room by itself."""
        parts = 1 + outline.blob_count + len(outline.listed)
        if parts > _PARTS_KEPT_MAX // 10:
            return
        if parts > self._parts_left:
            self._kept, self._parts_left = {}, _PARTS_KEPT_MAX
        self._kept[key] = outline
        self._parts_left -= parts


_outlines = Outlines()


# ---- reading them ------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Look:
    """A manifest that is there. `outline` is None if there was no budget left to make it."""

    outline: Outline | None


def look(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, budget: Budget
) -> Look | None:
    """A manifest as far as the budget goes; None if it is not there."""
    row = keys.manifest_key(repository, digest)
    if budget.outline_bytes_left <= 0:
        budget.is_spent = True
        return Look(None) if transaction.begun(MANIFESTS, [row])[0] else None
    outline = transaction.get(OUTLINES, row)
    found = _decode(outline)
    if outline is not None and found is not None:
        budget.outline_bytes_left -= len(outline)
        return Look(found)
    data = transaction.get(MANIFESTS, row)
    if data is None:
        return None
    stored = StoredManifest.decode(data)
    key = (digest, stored.media_type)
    known = _outlines.get(key)
    if known is None:
        if not budget.parse(len(stored.body)):
            return Look(None)
        known = _read(stored)
        _outlines.put(key, known)
    return Look(known)


def of(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, stored: StoredManifest
) -> Outline:
    """The outline of a manifest that is about to change, whatever it costs."""
    return kept(transaction, repository, digest) or _read(stored)


def _read(stored: StoredManifest) -> Outline:
    return outline_of(read_manifest(stored.body, stored.media_type), len(stored.body))


# ---- the housekeeper's part --------------------------------------------------------------------
class Backlog:
    """Outlines of large manifests that another version stored; looked for once, from the start."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._after: bytes | None = b""

    def step(self) -> int:
        """Look at some manifests, up to the first without an outline; returns how many."""
        if self._after is None:
            return 0
        last = b""
        count = 0
        with self._engine.read() as transaction:
            for key, data in transaction.scan(MANIFESTS, after=self._after, limit=_STEP_MAX):
                last, count = key, count + 1
                is_large = len(data) > _PARSED_ALWAYS_SIZE_MAX
                if is_large and _decode(transaction.get(OUTLINES, key)) is None:
                    break
            else:
                key = b""
        if count and key:
            self._engine.write(partial(_keep, key=key))
        self._after = last if count else None
        return count


def _keep(transaction: WriteTransaction, key: bytes) -> None:
    data = transaction.get(MANIFESTS, key)
    if data is None:
        return
    stored = StoredManifest.decode(data)
    if len(stored.body) > _PARSED_ALWAYS_SIZE_MAX:
        transaction.put(OUTLINES, key, _encoder.encode(_read(stored)))
