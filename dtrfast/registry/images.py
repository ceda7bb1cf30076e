"""What the registry can tell of its images: functions over a transaction, and configs beside it.

Configs are blobs, which may lie on disk, be absent or be damaged; then their fields are empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import REFERRERS
from dtrfast.oci import images
from dtrfast.oci.digests import Digest
from dtrfast.oci.images import ImageConfig, Layer
from dtrfast.oci.manifests import Descriptor, Manifest, read_manifest
from dtrfast.oci.media_types import MANIFEST_TYPES
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import keys, tags
from dtrfast.registry.manifests import stored_manifest
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.registry import Registry
from dtrfast.store import links
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
# Configs that one answer reads for indexes that name no platforms: about 0.1 ms each.
_CONFIGS_READ_MAX = 2000
# Blobs of indexes that one answer adds up: about 0.1 s. Beyond, what images share counts for each.
_BLOBS_ADDED_MAX = 500_000
# An index may list indexes; tools make one level of them.
_INDEX_DEPTH_MAX = 3
# Blobs and manifests that the kept outlines name, together; each takes some 200 bytes.
_OUTLINE_PARTS_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Summary:
    """An image in a list. `size` is of its layers and config, each blob once; of an index, of all
    that is listed with it. `fault`: what keeps clients from reading the manifest.
    """

    kind: str
    media_type: str
    size: int
    platforms: tuple[str, ...]
    created: str
    layers: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """An image of an index, or a blob of a build cache. `is_there`: it has not been deleted.
    `title`: the name of a file.
    """

    digest: str
    media_type: str
    platform: str
    kind: str
    size: int
    is_there: bool
    title: str


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


class _ReferrerRow(msgspec.Struct, frozen=True):
    artifactType: str | None = None
    size: int = 0
    annotations: dict[str, str] | None = None


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
        self._configs_left = _CONFIGS_READ_MAX
        self._blobs_left = _BLOBS_ADDED_MAX
        self._parts: dict[_Listed, _Part] = {}

    def summary(self, digest: Digest) -> Summary | None:
        """What a list shows; None where the manifest is not there."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        if stored is None:
            return None
        outline = self._outline(digest, stored)
        if outline is None:
            return Summary("artifact", stored.media_type, 0, (), "", 0)
        if outline.is_index:
            return self._summary_of_index(stored, outline)
        platform, created = _platform_of(self._registry, self._name, outline.config)
        platforms = (platform,) if platform else ()
        return Summary(
            outline.kind,
            stored.media_type,
            outline.size,
            platforms,
            created,
            outline.count,
            outline.fault,
        )

    def detail(self, digest: Digest) -> Detail | None:
        """What a page of its own shows; None where the manifest is not there."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        summary = self.summary(digest)
        if stored is None or summary is None:
            return None
        manifest = read_manifest(stored.body, stored.media_type)
        config = self.config(manifest)
        names = islice(tags.tags_of(self._transaction, self._repository, digest), _TAGS_MAX)
        return Detail(
            digest,
            stored,
            manifest,
            summary,
            config,
            images.layers_of(manifest, config, images.titles_of(stored.body))[:LAYERS_MAX],
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
        manifest = read_manifest(stored.body, stored.media_type)
        if manifest.kind != "index":
            return {self.config(manifest).platform: digest}
        entries = _listed(manifest)
        found = ((self._part(entry), entry.digest) for entry in entries)
        return {part.platforms[0]: digest for part, digest in found if part.is_image}

    # ---- parts --------------------------------------------------------------------------------
    def _outline(self, digest: Digest, stored: StoredManifest) -> _Outline | None:
        """None where this answer has parsed enough."""
        key = (digest, stored.media_type)
        known = _outlines.get(key)
        if known is None:
            if len(stored.body) > self._parsed_size_left:
                return None
            self._parsed_size_left -= len(stored.body)
            known = _outline_of(stored)
            _outlines.put(key, known)
        return known

    def _summary_of_index(self, stored: StoredManifest, outline: _Outline) -> Summary:
        whole = self._whole(outline.children[:_CHILDREN_LISTED_MAX], 0)
        platforms = tuple(dict.fromkeys(whole.platforms))
        return Summary(
            outline.kind,
            stored.media_type,
            whole.size,
            platforms,
            "",
            outline.count,
            outline.fault,
        )

    def _children(self, entries: Sequence[_Listed]) -> Iterator[Child]:
        for entry in entries:
            part = self._part(entry)
            yield Child(
                str(entry.digest),
                entry.media_type,
                ", ".join(dict.fromkeys(filter(None, part.platforms))),
                part.kind,
                part.size,
                part.is_there,
                entry.title,
            )

    def _whole(self, entries: Sequence[_Listed], depth: int) -> _Part:
        """All that an index lists: its size has each blob once."""
        parts = {entry: self._part(entry, depth + 1) for entry in entries}
        shown = [p for part in parts.values() if part.is_shown for p in part.platforms if p]
        self._blobs_left -= sum(len(part.blobs) for part in parts.values())
        blobs: dict[Digest, int] = {}
        if self._blobs_left < 0:
            blobs = {entry.digest: part.size for entry, part in parts.items()}
        else:
            for part in parts.values():
                blobs.update(part.blobs)
        return _Part("index", tuple(shown), blobs, sum(blobs.values()))

    def _part(self, entry: _Listed, depth: int = 1) -> _Part:
        """An entry of an index, as far as it is there."""
        if entry not in self._parts:
            self._parts[entry] = self._find_part(entry, depth)
        return self._parts[entry]

    def _find_part(self, entry: _Listed, depth: int) -> _Part:
        stored = stored_manifest(self._transaction, self._repository, entry.digest)
        outline = None if stored is None else self._outline(entry.digest, stored)
        if stored is None:
            return self._blob(entry)
        if outline is None:
            return _Part(entry.kind, (entry.platform,))
        if outline.is_index:
            if depth >= _INDEX_DEPTH_MAX:
                return _Part(outline.kind, ())
            whole = self._whole(outline.children[:_CHILDREN_LISTED_MAX], depth)
            return _Part(outline.kind, whole.platforms, whole.blobs, whole.size)
        kind = entry.kind if entry.kind == "attestation" else outline.kind
        return _Part(kind, (self._platform(entry, outline),), outline.blobs, outline.size)

    def _blob(self, entry: _Listed) -> _Part:
        """An entry without a manifest: a blob of a build cache, or an image that is not there."""
        if entry.media_type in MANIFEST_TYPES or not entry.media_type:
            return _Part(entry.kind, (entry.platform,), is_there=False)
        if links.get(self._transaction, self._repository, entry.digest) is None:
            return _Part("blob", (entry.platform,), is_there=False)
        return _Part("blob", (entry.platform,), {entry.digest: entry.size}, entry.size)

    def _platform(self, entry: _Listed, outline: _Outline) -> str:
        """As the index says, else as the image's own config does."""
        if entry.platform or entry.kind == "attestation" or self._configs_left <= 0:
            return entry.platform
        self._configs_left -= 1
        return _platform_of(self._registry, self._name, outline.config)[0]

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
    """An entry of an index, as the index describes it."""

    digest: Digest
    size: int
    media_type: str
    platform: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class _Part:
    """The present part of an entry. `blobs`: all that it brings, with sizes; `size`: summed."""

    kind: str
    platforms: tuple[str, ...]
    blobs: Mapping[Digest, int] = field(default_factory=dict)
    size: int = 0
    is_there: bool = True

    @property
    def is_image(self) -> bool:
        """True if it runs on one platform."""
        return self.kind not in ("index", "attestation", "blob") and len(self.platforms) == 1

    @property
    def is_shown(self) -> bool:
        """True if its platforms are those of the index."""
        return self.kind not in ("attestation", "blob")


@dataclass(frozen=True, slots=True)
class _Outline:
    """A manifest, as lists need it. `count`: layers, or entries of an index. `blobs`: their
    sizes; `size`: the sum of these.
    """

    kind: str
    is_index: bool
    blobs: Mapping[Digest, int]
    size: int
    count: int
    config: Digest | None
    children: tuple[_Listed, ...]
    fault: str


_Known = tuple[Digest, str]


class Outlines:
    """Outlines by digest and type, so that they hold for all who may see the manifest; a page of a
    list reads a hundred. All are dropped before they name more than `_OUTLINE_PARTS_KEPT` things.
    """

    def __init__(self) -> None:
        self._kept: dict[_Known, _Outline] = {}
        self._parts_left = _OUTLINE_PARTS_KEPT

    def get(self, key: _Known) -> _Outline | None:
        return self._kept.get(key)

    def put(self, key: _Known, outline: _Outline) -> None:
        """Keep an outline, unless it takes a large part of the room by itself."""
        parts = 1 + len(outline.blobs) + len(outline.children)
        if parts > _OUTLINE_PARTS_KEPT // 10:
            return
        if parts > self._parts_left:
            self._kept, self._parts_left = {}, _OUTLINE_PARTS_KEPT
        self._kept[key] = outline
        self._parts_left -= parts


_outlines = Outlines()


def _outline_of(stored: StoredManifest) -> _Outline:
    manifest = read_manifest(stored.body, stored.media_type)
    blobs = images.content_of(manifest)
    return _Outline(
        images.kind_of(manifest),
        manifest.kind == "index",
        blobs,
        sum(blobs.values()),
        len(manifest.manifests) or len(manifest.layers) or len(manifest.blobs),
        None if manifest.config is None else manifest.config.digest,
        _listed(manifest),
        manifest.fault,
    )


def _listed(manifest: Manifest) -> tuple[_Listed, ...]:
    return tuple(
        _Listed(one.digest, one.size, one.media_type, *_told(one))
        for one in manifest.manifests[:_CHILDREN_MAX]
    )


def _told(entry: Descriptor) -> tuple[str, str, str]:
    """Platform, kind and title of an entry of an index."""
    notes = entry.annotations or {}
    title = images.title_in(notes)
    if notes.get("vnd.docker.reference.type") == "attestation-manifest":
        return "", "attestation", title
    said = entry.platform
    if said is None:
        return "", "image", title
    parts = [images.plain(part) for part in (said.os, said.architecture, said.variant)]
    return images.platform(*parts)[:_PLATFORM_LENGTH_MAX], "image", title


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
