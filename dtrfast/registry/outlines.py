"""Outlines: the fields of a manifest that lists and pages need, without its bytes.

Parsing a manifest costs 0.02 s a MiB. So the transaction that stores a large manifest also stores
its outline, and the transaction that deletes it deletes both. A request that needs a small manifest
parses it, within a budget, and keeps the outline in memory. The housekeeper adds outlines of large
manifests that earlier versions stored. Until then, a request whose budget is too small for such a
manifest does without its outline.
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

# With another number, all stored outlines count as missing and are made again.
_VERSION = 1
# Manifests up to this size in bytes have no row: most have 2 KiB, and a row would slow each push.
_PARSED_ALWAYS_SIZE_MAX = 4 << 10
# Entries or layers of a manifest that an outline contains. A manifest may name tens of thousands.
LISTED_MAX = 500
_ANNOTATIONS_MAX = 500
_ANNOTATIONS_LENGTH_MAX = 64 << 10
_TYPE_LENGTH_MAX = 255
_TEXT_LENGTH_MAX = 1024
# Blobs and manifests that the outlines in memory name, together; each takes some 200 bytes.
_PARTS_KEPT_MAX = 200_000
# Manifests that one step of the housekeeper looks at.
_STEP_MAX = 200


class OutlineEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry of an index, as the index describes it. `key` is the digest's key."""

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
    """The outline of a manifest. Sizes are in bytes.

    `blobs`, `children` and `strangers` are joined digest keys, each once: the blobs, the manifests
    of an index, and the entries of an index that are no manifests. `sizes` are those of `blobs`,
    eight bytes each, and `size` is their sum. `count` is the number of layers, or of entries of an
    index. `listed` and `layers` are the first `LISTED_MAX` of these. `fault` is the reason why
    clients cannot read the manifest; empty if there is none. `is_whole` is False if annotations
    were left out.
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
    listed: list[OutlineEntry] = []
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
        """The number of blobs and manifests that the manifest names, or a little more."""
        return self.blob_count + len(self.children) // digest_key_size(1)

    def sizes_by_blob(self) -> Mapping[bytes, int]:
        """Return the sizes in bytes of the blobs that the manifest names, by their digest keys."""
        sizes = struct.unpack(f"<{self.blob_count}Q", self.sizes)
        return dict(zip(split(self.blobs), sizes, strict=True))

    def bare_layers(self) -> list[Layer]:
        """Return the first layers, without the fields that a config has of them."""
        return [
            Layer("", "", str(Digest.from_key(key)), size, media_type, title)
            for key, size, media_type, title in self.layers
        ]


def split(joined: bytes) -> Iterator[bytes]:
    """Yield the digest keys in `joined`."""
    position = 0
    while position < len(joined):
        end = position + digest_key_size(joined[position])
        yield joined[position:end]
        position = end


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outline)


# ---- outlines of manifests ---------------------------------------------------------------------
def outline_of(manifest: Manifest, size: int) -> Outline:
    """Return the outline of a manifest of `size` bytes."""
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
        listed=[_entry(one) for one in manifest.manifests[:LISTED_MAX]],
        layers=[_layer(one) for one in content[:LISTED_MAX]],
        fault=manifest.fault,
        is_whole=is_whole,
    )


def unknown(stored: StoredManifest) -> Outline:
    """Return an outline for a manifest that the budget is too small to parse."""
    size = len(stored.body)
    return Outline(_VERSION, stored.media_type, "artifact", False, size, is_whole=False)


def _joined(digests: Iterable[Digest]) -> bytes:
    return b"".join(keys_of(digests))


def _cut(annotations: dict[str, str]) -> tuple[dict[str, str], bool]:
    """Return the first annotations, as many as a page shows, and True if these are all."""
    length = 0
    found: dict[str, str] = {}
    for name, text in annotations.items():
        length += len(name) + len(text)
        if len(found) == _ANNOTATIONS_MAX or length > _ANNOTATIONS_LENGTH_MAX:
            return found, False
        found[name] = text
    return found, True


def _entry(entry: Descriptor) -> OutlineEntry:
    notes = entry.annotations or {}
    platform, kind = "", "image"
    if notes.get("vnd.docker.reference.type") == "attestation-manifest":
        kind = "attestation"
    elif entry.platform is not None:
        fields = entry.platform
        parts = [images.plain(part) for part in (fields.os, fields.architecture, fields.variant)]
        platform = images.platform(*parts)[: images.PLATFORM_LENGTH_MAX]
    title = images.title_in(notes)[:_TEXT_LENGTH_MAX]
    media_type = entry.media_type[:_TYPE_LENGTH_MAX]
    return OutlineEntry(entry.digest.key(), entry.size, media_type, platform, kind, title)


def _layer(layer: Descriptor) -> tuple[bytes, int, str, str]:
    title = images.title_in(layer.annotations)[:_TEXT_LENGTH_MAX]
    return layer.digest.key(), layer.size, layer.media_type[:_TYPE_LENGTH_MAX], title


# ---- stored outlines ---------------------------------------------------------------------------
def put(
    transaction: WriteTransaction,
    repository: RepositoryId,
    digest: Digest,
    manifest: Manifest,
    size: int,
) -> None:
    """Store the outline of a manifest of `size` bytes that is being stored, if it is large."""
    if size > _PARSED_ALWAYS_SIZE_MAX:
        data = _encoder.encode(outline_of(manifest, size))
        transaction.put(OUTLINES, keys.manifest_key(repository, digest), data)


def remove(transaction: WriteTransaction, repository: RepositoryId, digest: Digest) -> None:
    """Delete the outline of a manifest that is being deleted."""
    transaction.delete(OUTLINES, keys.manifest_key(repository, digest))


def kept(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> Outline | None:
    """Return the stored outline; None if there is none. The manifest may exist all the same."""
    return _decode(transaction.get(OUTLINES, keys.manifest_key(repository, digest)))


def _decode(data: bytes | None) -> Outline | None:
    """Return a stored outline; None if there is none, or if another version stored it."""
    try:
        found = None if data is None else _decoder.decode(data)
    except ValueError:
        return None
    return found if found is not None and found.version == _VERSION else None


_Key = tuple[Digest, str]


class Outlines:
    """Outlines of small manifests in memory, by digest and media type. They hold in all
    repositories. All are dropped before they name more than `_PARTS_KEPT_MAX` things together.
    """

    def __init__(self) -> None:
        self._kept: dict[_Key, Outline] = {}
        self._parts_left = _PARTS_KEPT_MAX

    def get(self, key: _Key) -> Outline | None:
        return self._kept.get(key)

    def put(self, key: _Key, outline: Outline) -> None:
        """Keep an outline, unless it names more than a tenth of `_PARTS_KEPT_MAX` things."""
        parts = 1 + outline.blob_count + len(outline.listed)
        if parts > _PARTS_KEPT_MAX // 10:
            return
        if parts > self._parts_left:
            self._kept, self._parts_left = {}, _PARTS_KEPT_MAX
        self._kept[key] = outline
        self._parts_left -= parts


_outlines = Outlines()


# ---- look-ups ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Look:
    """A manifest that exists. `outline` is None if the budget was too small to make it."""

    outline: Outline | None


def look(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, budget: Budget
) -> Look | None:
    """Look a manifest up, within the budget. Returns None if it does not exist."""
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
    """Return the outline of a manifest that is being changed, at any cost."""
    return kept(transaction, repository, digest) or _read(stored)


def _read(stored: StoredManifest) -> Outline:
    return outline_of(read_manifest(stored.body, stored.media_type), len(stored.body))


# ---- housekeeping ------------------------------------------------------------------------------
class OutlineBacklog:
    """Large manifests that another version stored without this version's outline. One pass over all
    manifests finds them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._after: bytes | None = b""

    def step(self) -> int:
        """Look at some manifests, up to the first without an outline, and store that one's outline.
        Returns the number of manifests that it looked at; 0 at the end of the pass.
        """
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
            self._engine.write(partial(_put_missing, key=key))
        self._after = last if count else None
        return count


def _put_missing(transaction: WriteTransaction, key: bytes) -> None:
    data = transaction.get(MANIFESTS, key)
    if data is None:
        return
    stored = StoredManifest.decode(data)
    if len(stored.body) > _PARSED_ALWAYS_SIZE_MAX:
        transaction.put(OUTLINES, key, _encoder.encode(_read(stored)))
