"""What the registry can tell of its images: functions over a transaction, and configs beside it.

Configs are blobs, which may lie on disk, be absent or be damaged; then their fields are empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import REFERRERS
from dtrfast.oci import images
from dtrfast.oci.digests import Digest
from dtrfast.oci.images import ImageConfig, Layer
from dtrfast.oci.manifests import Manifest, parse_manifest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import keys, tags
from dtrfast.registry.manifests import stored_manifest
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import RepositoryId, Segment

# Configs of images take a few kilobytes; what is longer is no config that a page could show.
_CONFIG_SIZE_MAX = 256 << 10
_PLATFORMS_KEPT = 16_384
_PLATFORM_LENGTH_MAX = 128
_REFERRERS_MAX = 200
# A manifest may name tens of thousands of things; so many are looked at, for a list and for a page.
_CHILDREN_LISTED_MAX = 50
_CHILDREN_MAX = 500
LAYERS_MAX = 500
_TAGS_MAX = 500
# Manifests that one answer parses, together: 0.03 s a MiB. Most take 2 KiB, and 4 MiB are allowed.
_PARSED_SIZE_MAX = 32 << 20
_OUTLINES_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Summary:
    """An image in a list. `size` is of its layers and config; of an index, of the images that are
    listed with it.
    """

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


class _Index(msgspec.Struct, frozen=True):
    manifests: list[msgspec.Raw] | None = None


class _Entry(msgspec.Struct, frozen=True):
    """What an index says of one of its manifests. Its pusher may have written anything there."""

    platform: Any = None
    annotations: Any = None


class _ReferrerRow(msgspec.Struct, frozen=True):
    artifactType: str | None = None
    size: int = 0
    annotations: dict[str, str] | None = None


_indexes = msgspec.json.Decoder(_Index)
_entries = msgspec.json.Decoder(_Entry)
_referrers = msgspec.json.Decoder(_ReferrerRow)


class Images:
    """The images of one repository, for who may pull from it: whoever asks has checked that.

    One for each answer: what it parses is bounded, and what is beyond that has no size.
    """

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
        self._parsed_size_left = _PARSED_SIZE_MAX
        self._sizes: dict[Digest, int | None] = {}

    def summary(self, digest: Digest) -> Summary | None:
        """What a list shows; None where the manifest is not there."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        if stored is None:
            return None
        outline = self._outline(digest, stored)
        if outline is None:
            return Summary("artifact", stored.media_type, 0, (), "", 0)
        if outline.kind == "index":
            return self._summary_of_index(stored, outline)
        platform, created = _platform_of(self._registry, self._name, outline.config)
        platforms = (platform,) if platform else ()
        return Summary(
            outline.kind, stored.media_type, outline.size, platforms, created, outline.count
        )

    def detail(self, digest: Digest) -> Detail | None:
        """What a page of its own shows; None where the manifest is not there."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        summary = self.summary(digest)
        if stored is None or summary is None:
            return None
        manifest = parse_manifest(stored.body, stored.media_type)
        config = self.config(manifest)
        names = islice(tags.tags_of(self._transaction, self._repository, digest), _TAGS_MAX)
        return Detail(
            digest,
            stored,
            manifest,
            summary,
            config,
            images.layers_of(manifest, config)[:LAYERS_MAX],
            tuple(self._children(_outline_of(stored).children)),
            tuple(tag.text for tag in names),
            tuple(self.about(digest)),
        )

    def config(self, manifest: Manifest) -> ImageConfig:
        """What the manifest's config says."""
        if manifest.config is None:
            return ImageConfig()
        return _read_config(self._registry, self._name, manifest.config.digest)

    def platforms_of(self, digest: Digest) -> dict[str, Digest]:
        """The images of an index by platform; of an image, itself."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        if stored is None:
            return {}
        manifest = parse_manifest(stored.body, stored.media_type)
        if manifest.kind != "index":
            return {self.config(manifest).platform: digest}
        entries = _listed(stored, manifest)
        return {entry.platform: entry.digest for entry in entries if entry.kind == "image"}

    # ---- parts --------------------------------------------------------------------------------
    def _outline(self, digest: Digest, stored: StoredManifest) -> _Outline | None:
        """None where this answer has parsed enough."""
        known = _outlines.get(digest)
        if known is None:
            if len(stored.body) > self._parsed_size_left:
                return None
            self._parsed_size_left -= len(stored.body)
            known = _outline_of(stored)
            if len(_outlines) >= _OUTLINES_KEPT:
                _outlines.clear()
            if len(known.children) <= _CHILDREN_LISTED_MAX:
                _outlines[digest] = known
        return known

    def _summary_of_index(self, stored: StoredManifest, outline: _Outline) -> Summary:
        children = list(self._children(outline.children[:_CHILDREN_LISTED_MAX]))
        shown = [child for child in children if child.kind == "image"]
        platforms = tuple(dict.fromkeys(child.platform for child in shown if child.platform))
        size = sum(child.size for child in children)
        return Summary("index", stored.media_type, size, platforms, "", outline.count)

    def _children(self, entries: Sequence[_Listed]) -> Iterator[Child]:
        for entry in entries:
            size = self._size(entry.digest)
            yield Child(
                str(entry.digest),
                entry.media_type,
                entry.platform,
                entry.kind,
                size or 0,
                size is not None,
            )

    def _size(self, digest: Digest) -> int | None:
        """The size of an image that an index names; None where it is not there."""
        if digest not in self._sizes:
            stored = stored_manifest(self._transaction, self._repository, digest)
            outline = None if stored is None else self._outline(digest, stored)
            size = 0 if outline is None else outline.size
            self._sizes[digest] = None if stored is None else size
        return self._sizes[digest]

    def about(self, digest: Digest) -> Iterator[Referrer]:
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


# ---- outlines ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Listed:
    """A manifest of an index."""

    digest: Digest
    media_type: str
    platform: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Outline:
    """What a list needs of a manifest. `count`: layers, or manifests of an index."""

    kind: str
    size: int
    count: int
    config: Digest | None
    children: tuple[_Listed, ...]


# By digest, so they hold for whoever may see the manifest; a page of a list reads a hundred.
_outlines: dict[Digest, _Outline] = {}


def _outline_of(stored: StoredManifest) -> _Outline:
    manifest = parse_manifest(stored.body, stored.media_type)
    config = manifest.config
    content = (*manifest.layers, *manifest.blobs)
    return _Outline(
        images.kind_of(manifest),
        (0 if config is None else config.size) + sum(one.size for one in content),
        len(manifest.manifests) or len(manifest.layers),
        None if config is None else config.digest,
        _listed(stored, manifest) if manifest.manifests else (),
    )


def _listed(stored: StoredManifest, manifest: Manifest) -> tuple[_Listed, ...]:
    found = _indexes.decode(stored.body).manifests or []
    rows = islice(zip(manifest.manifests, found, strict=False), _CHILDREN_MAX)
    return tuple(
        _Listed(descriptor.digest, descriptor.media_type, *_told(raw)) for descriptor, raw in rows
    )


def _told(raw: msgspec.Raw) -> tuple[str, str]:
    """Platform and kind of an entry of an index."""
    entry = _entries.decode(raw)
    notes = entry.annotations if isinstance(entry.annotations, dict) else {}
    if notes.get("vnd.docker.reference.type") == "attestation-manifest":
        return "", "attestation"
    said = entry.platform if isinstance(entry.platform, dict) else {}
    parts = [images.plain(said.get(name)) for name in ("os", "architecture", "variant")]
    return images.platform(*parts)[:_PLATFORM_LENGTH_MAX], "image"


# ---- configs -----------------------------------------------------------------------------------
def _read_config(registry: Registry, name: RepositoryName, digest: Digest) -> ImageConfig:
    """Empty where it is not there, or damaged: the manifest is worth showing all the same."""
    try:
        with registry.blobs.open_range(name, digest) as reader:
            # What a manifest says of its config's size is whatever its pusher liked.
            if reader.stat.size > _CONFIG_SIZE_MAX:
                return ImageConfig()
            return images.parse_config(b"".join(_bytes(segment) for segment in reader))
    except (DtrfastError, OSError):
        return ImageConfig()


def _platform_of(
    registry: Registry, name: RepositoryName, digest: Digest | None
) -> tuple[str, str]:
    """For what it runs, and when it was made, as far as its config says."""
    if digest is None:
        return "", ""
    key = (name.text, digest)
    known = _platforms.get(key)
    if known is None:
        config = _read_config(registry, name, digest)
        known = config.platform[:_PLATFORM_LENGTH_MAX], config.created[:_PLATFORM_LENGTH_MAX]
        if len(_platforms) >= _PLATFORMS_KEPT:
            _platforms.clear()
        if config != ImageConfig():
            _platforms[key] = known
    return known


_platforms: dict[tuple[str, Digest], tuple[str, str]] = {}


def _bytes(segment: Segment) -> bytes:
    if isinstance(segment, bytes):
        return segment
    return os.pread(segment.descriptor, segment.length, segment.offset)
