"""What the registry can tell of its images: functions over a transaction, and configs beside it.

Configs are blobs, which may lie on disk, be absent or be damaged; then their fields are empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import msgspec

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import MANIFESTS, REFERRERS
from dtrfast.oci import images
from dtrfast.oci.digests import Digest
from dtrfast.oci.images import ImageConfig, Layer
from dtrfast.oci.manifests import Descriptor, Manifest, parse_manifest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import keys, tags
from dtrfast.registry.manifests import stored_manifest
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import RepositoryId, Segment

# Configs of images take a few kilobytes; what is longer is no config that a page could show.
_CONFIG_SIZE_MAX = 256 << 10
_CONFIGS_KEPT = 2048
_REFERRERS_MAX = 200
# A manifest may name tens of thousands of things; so many are looked at, for a list and for a page.
_CHILDREN_LISTED_MAX = 50
_CHILDREN_MAX = 500
_LAYERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Summary:
    """An image in a list. `size` is of its layers and config; of an index, of all its images."""

    kind: str
    media_type: str
    size: int
    platforms: tuple[str, ...]
    created: str
    layers: int


@dataclass(frozen=True, slots=True)
class Child:
    """An image of an index. `is_there`: it has not been deleted."""

    digest: str
    media_type: str
    platform: str
    kind: str
    size: int
    is_there: bool


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that is about another."""

    digest: str
    kind: str
    artifact_type: str
    size: int
    annotations: dict[str, str]
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Detail:
    """All there is to say about a manifest."""

    digest: Digest
    stored: StoredManifest
    manifest: Manifest
    summary: Summary
    config: ImageConfig
    layers: tuple[Layer, ...]
    children: tuple[Child, ...]
    tags: tuple[str, ...]
    referrers: tuple[Referrer, ...]


class _Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _IndexEntry(msgspec.Struct, frozen=True):
    digest: str = ""
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None


class _Index(msgspec.Struct, frozen=True):
    manifests: list[_IndexEntry] | None = None


class _ReferrerRow(msgspec.Struct, frozen=True):
    artifactType: str | None = None
    size: int = 0
    annotations: dict[str, str] | None = None


_indexes = msgspec.json.Decoder(_Index)
_referrers = msgspec.json.Decoder(_ReferrerRow)


class Images:
    """The images of one repository, for who may pull from it: whoever asks has checked that."""

    def __init__(
        self,
        transaction: ReadTransaction,
        registry: Registry,
        name: RepositoryName,
        repository: RepositoryId,
    ) -> None:
        self._transaction = transaction
        self._registry = registry
        self._name = name
        self._repository = repository

    def summary(self, digest: Digest) -> Summary | None:
        """What a list shows; None where the manifest is not there."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        if stored is None:
            return None
        manifest = parse_manifest(stored.body, stored.media_type)
        if manifest.kind == "index":
            return self._summary_of_index(stored, manifest)
        config = self.config(manifest)
        return Summary(
            images.kind_of(manifest),
            stored.media_type,
            _size(manifest),
            (config.platform,) if config.platform else (),
            config.created,
            len(manifest.layers),
        )

    def detail(self, digest: Digest) -> Detail | None:
        """What a page of its own shows; None where the manifest is not there."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        summary = self.summary(digest)
        if stored is None or summary is None:
            return None
        manifest = parse_manifest(stored.body, stored.media_type)
        config = self.config(manifest)
        names = tags.tags_of(self._transaction, self._repository, digest)
        return Detail(
            digest,
            stored,
            manifest,
            summary,
            config,
            images.layers_of(manifest, config)[:_LAYERS_MAX],
            tuple(islice(self._children(stored, manifest), _CHILDREN_MAX)),
            tuple(tag.text for tag in names),
            tuple(self._about(digest)),
        )

    def config(self, manifest: Manifest) -> ImageConfig:
        """What the manifest's config says."""
        descriptor = manifest.config
        if descriptor is None or descriptor.size > _CONFIG_SIZE_MAX:
            return ImageConfig()
        return _read_config(_Asked(self._registry, self._name, descriptor))

    def platforms_of(self, digest: Digest) -> dict[str, Digest]:
        """The images of an index by platform; of an image, itself."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        if stored is None:
            return {}
        manifest = parse_manifest(stored.body, stored.media_type)
        if manifest.kind != "index":
            return {self.config(manifest).platform: digest}
        rows = zip(manifest.manifests, _entries(stored), strict=False)
        return {p: d.digest for d, (p, kind) in rows if kind == "image"}

    # ---- parts --------------------------------------------------------------------------------
    def _summary_of_index(self, stored: StoredManifest, manifest: Manifest) -> Summary:
        children = list(islice(self._children(stored, manifest), _CHILDREN_LISTED_MAX))
        shown = [child for child in children if child.kind == "image"]
        platforms = tuple(dict.fromkeys(child.platform for child in shown if child.platform))
        return Summary(
            images.kind_of(manifest),
            stored.media_type,
            sum(child.size for child in children),
            platforms,
            "",
            len(manifest.manifests),
        )

    def _children(self, stored: StoredManifest, manifest: Manifest) -> Iterator[Child]:
        rows = zip(manifest.manifests, _entries(stored), strict=False)
        for descriptor, (platform, kind) in rows:
            key = keys.manifest_key(self._repository, descriptor.digest)
            data = self._transaction.get(MANIFESTS, key)
            size = 0 if data is None else _size_of(data)
            yield Child(
                str(descriptor.digest),
                descriptor.media_type,
                platform,
                kind,
                size,
                data is not None,
            )

    def _about(self, digest: Digest) -> Iterator[Referrer]:
        """Manifests with this subject, and what cosign keeps under tags."""
        prefix = keys.manifest_key(self._repository, digest)
        for key, data in self._transaction.scan(REFERRERS, prefix, limit=_REFERRERS_MAX):
            row = _referrers.decode(data)
            annotations = row.annotations or {}
            kind = images.kind_of_referrer(row.artifactType or "", annotations)
            referrer = str(keys.referrer_of(key))
            yield Referrer(referrer, kind, row.artifactType or "", row.size, annotations)
        for end in ("sig", "att", "sbom"):
            tag = f"sha256-{digest.hex}.{end}"
            record = tags.resolve(self._transaction, self._repository, Tag(tag))
            if record is not None:
                found = stored_manifest(self._transaction, self._repository, record.digest)
                size = 0 if found is None else len(found.body)
                kind = images.kind_of_tag(tag)
                yield Referrer(str(record.digest), kind, "", size, {}, tag)


def _entries(stored: StoredManifest) -> list[tuple[str, str]]:
    """Platform and kind of each entry of an index."""
    try:
        entries = _indexes.decode(stored.body).manifests or []
    except msgspec.DecodeError:
        return []
    return [_entry(entry) for entry in entries]


def _entry(entry: _IndexEntry) -> tuple[str, str]:
    annotations = entry.annotations or {}
    if annotations.get("vnd.docker.reference.type") == "attestation-manifest":
        return "", "attestation"
    found = entry.platform or _Platform()
    return images.platform(found.os, found.architecture, found.variant), "image"


def _size_of(data: bytes) -> int:
    stored = StoredManifest.decode(data)
    return _size(parse_manifest(stored.body, stored.media_type))


def _size(manifest: Manifest) -> int:
    config = 0 if manifest.config is None else manifest.config.size
    return config + sum(one.size for one in (*manifest.layers, *manifest.blobs))


# ---- configs -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A config that is wanted: told from others by where it is, and its digest."""

    registry: Registry
    name: RepositoryName
    descriptor: Descriptor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, Digest]:
        return self.name.text, self.descriptor.digest


def _read_config(asked: _Asked) -> ImageConfig:
    try:
        return _parsed(asked)
    except (DtrfastError, OSError):
        return ImageConfig()  # not there, or damaged: the manifest is worth showing all the same


@lru_cache(_CONFIGS_KEPT)
def _parsed(asked: _Asked) -> ImageConfig:
    with asked.registry.blobs.open_range(asked.name, asked.descriptor.digest) as reader:
        return images.parse_config(b"".join(_bytes(segment) for segment in reader))


def _bytes(segment: Segment) -> bytes:
    if isinstance(segment, bytes):
        return segment
    return os.pread(segment.descriptor, segment.length, segment.offset)
