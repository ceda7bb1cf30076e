"""Descriptions of images, as far as the index has them. `configs` has the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import REFERRERS
from dtrfast.oci import images
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import MANIFEST_TYPES
from dtrfast.oci.names import Tag
from dtrfast.registry import keys, links, outlines, tags
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.manifests import stored_manifest
from dtrfast.registry.outlines import Listed, Look, Outline
from dtrfast.registry.records import StoredManifest

_REFERRERS_MAX = 200
# An index may name tens of thousands of images; so many are looked at for a list.
_CHILDREN_LISTED_MAX = 50
LAYERS_MAX = outlines.LISTED_MAX
_TAGS_MAX = 500
# Manifests that one answer parses, together: 0.02 s a MiB. Most take 2 KiB; of large ones, outlines
# are kept.
_PARSED_SIZE_MAX = 1 << 20
# Entries of indexes that one answer looks at: about 10 µs each.
_ENTRIES_MAX = 3000
# Blobs of indexes that one answer adds up: about 0.02 s. Beyond, what images share counts for each.
_BLOBS_ADDED_MAX = 30_000
# Bytes of annotations of referrers that one answer shows.
_REFERRERS_SIZE_MAX = 256 << 10
# An index may list indexes; tools make one level of them.
_INDEX_DEPTH_MAX = 3

# A platform, or the digest of the config that names it.
Platform = str | Digest


@dataclass(frozen=True, slots=True)
class Summary:
    """An image in a list. `size` is of its layers and config, each blob once; of an index, of all
    that is listed with it. `config`: of an image alone. `fault`: what keeps clients from reading
    the manifest. `is_exact`: False where something was left out, because an answer does only so
    much work.
    """

    kind: str
    media_type: str
    size: int
    platforms: tuple[Platform, ...]
    config: Digest | None
    layers: int
    fault: str = ""
    is_exact: bool = True


# In place of a manifest that is not there.
ABSENT = Summary("artifact", "", 0, (), None, 0)


@dataclass(frozen=True, slots=True)
class Child:
    """An image of an index, or a blob of a build cache. `is_there`: it has not been deleted.
    `title`: the name of a file.
    """

    digest: str
    media_type: str
    platforms: tuple[Platform, ...]
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
    """All that the index says of a manifest."""

    digest: Digest
    stored: StoredManifest
    outline: Outline
    summary: Summary
    children: tuple[Child, ...]
    tags: tuple[str, ...]
    referrers: tuple[Referrer, ...]

    @property
    def is_whole(self) -> bool:
        """True if layers, images and annotations are all that the manifest has."""
        return self.outline.is_whole and self.outline.count <= LAYERS_MAX


class _ReferrerRow(msgspec.Struct, frozen=True):
    artifactType: str | None = None
    size: int = 0
    annotations: dict[str, str] | None = None


_referrers = msgspec.json.Decoder(_ReferrerRow)


class Images:
    """The images of one repository, in one snapshot. The caller has checked that its user may pull.

    One for each answer: it parses and adds up a bounded amount, and the rest has no size.
    `is_exact` is False if something was left out so far.
    """

    def __init__(
        self,
        transaction: ReadTransaction,
        repository: RepositoryId,
        budget: Budget | None = None,
    ) -> None:
        self._transaction = transaction
        self._repository = repository
        self.budget = budget or Budget(_PARSED_SIZE_MAX, _ENTRIES_MAX)
        self._blobs_left = _BLOBS_ADDED_MAX
        self._parts: dict[Listed, _Part] = {}

    @property
    def is_exact(self) -> bool:
        return not self.budget.is_spent

    def summary(self, digest: Digest) -> Summary | None:
        """What a list shows; None where the manifest is not there."""
        found = self._look(digest)
        if found is None:
            return None
        if found.outline is None:
            return Summary("artifact", "", 0, (), None, 0, is_exact=False)
        return self._summary_of(found.outline)

    def _summary_of(self, outline: Outline) -> Summary:
        if outline.is_index:
            return self._summary_of_index(outline)
        config = outline.config_digest
        return Summary(
            outline.kind,
            outline.media_type,
            outline.size,
            () if config is None else (config,),
            config,
            outline.count,
            outline.fault,
        )

    def detail(self, digest: Digest) -> Detail | None:
        """What a page of its own shows; None where the manifest is not there."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        found = self._look(digest)
        if stored is None or found is None:
            return None
        outline = found.outline or outlines.unknown(stored)
        names = islice(tags.tags_of(self._transaction, self._repository, digest), _TAGS_MAX)
        return Detail(
            digest,
            stored,
            outline,
            self._summary_of(outline),
            tuple(self._children(outline.listed)),
            tuple(tag.text for tag in names),
            tuple(self.about(digest)),
        )

    def outline(self, digest: Digest) -> Outline | None:
        """The outline of a manifest; None where it is not there, or the answer did enough."""
        found = self._look(digest)
        return None if found is None else found.outline

    def platforms_of(self, digest: Digest) -> list[tuple[Platform, Digest]]:
        """The images of an index with their platforms; of an image, itself."""
        outline = self.outline(digest)
        if outline is None:
            return []
        if not outline.is_index:
            return [(outline.config_digest or "", digest)]
        found = ((self._part(entry), entry.digest) for entry in outline.listed)
        return [(part.platforms[0], digest) for part, digest in found if part.is_image]

    # ---- parts --------------------------------------------------------------------------------
    def _look(self, digest: Digest) -> Look | None:
        return outlines.look(self._transaction, self._repository, digest, self.budget)

    def _summary_of_index(self, outline: Outline) -> Summary:
        spent_before, self.budget.is_spent = self.budget.is_spent, False
        whole = self._whole(outline.listed[:_CHILDREN_LISTED_MAX], 0)
        is_exact = not self.budget.is_spent and outline.count <= _CHILDREN_LISTED_MAX
        self.budget.is_spent |= spent_before
        return Summary(
            outline.kind,
            outline.media_type,
            whole.size,
            tuple(dict.fromkeys(whole.platforms)),
            None,
            outline.count,
            outline.fault,
            is_exact,
        )

    def _children(self, entries: Sequence[Listed]) -> Iterator[Child]:
        for entry in entries:
            part = self._part(entry)
            yield Child(
                str(entry.digest),
                entry.media_type,
                part.platforms,
                part.kind,
                part.size,
                part.is_there,
                entry.title,
            )

    def _whole(self, entries: Sequence[Listed], depth: int) -> _Part:
        """All that an index lists: its size has each blob once."""
        parts = {entry: self._part(entry, depth + 1) for entry in entries}
        shown = [p for part in parts.values() if part.is_shown for p in part.platforms if p]
        self._blobs_left -= sum(part.count for part in parts.values())
        blobs: dict[bytes, int] = {}
        if self._blobs_left < 0:
            self.budget.is_spent = True
            blobs = {entry.key: part.size for entry, part in parts.items()}
        else:
            for part in parts.values():
                blobs.update(part.blobs())
        return _Part("index", tuple(shown), lambda: blobs, len(blobs), sum(blobs.values()))

    def _part(self, entry: Listed, depth: int = 1) -> _Part:
        """An entry of an index, as far as it is there."""
        if entry not in self._parts:
            self._parts[entry] = self._find_part(entry, depth)
        return self._parts[entry]

    def _find_part(self, entry: Listed, depth: int) -> _Part:
        found = self._look(entry.digest) if self.budget.take() else Look(None)
        if found is None:
            return self._blob(entry)
        outline = found.outline
        if outline is None:
            return _Part(entry.kind, (entry.platform,))
        if outline.is_index:
            if depth >= _INDEX_DEPTH_MAX:
                return _Part(outline.kind, ())
            whole = self._whole(outline.listed[:_CHILDREN_LISTED_MAX], depth)
            return replace(whole, kind=outline.kind)
        kind = entry.kind if entry.kind == "attestation" else outline.kind
        platforms = (_platform(entry, outline),)
        count = outline.blob_count
        return _Part(kind, platforms, outline.sizes_by_blob, count, outline.size)

    def _blob(self, entry: Listed) -> _Part:
        """An entry without a manifest: a blob of a build cache, or an image that is not there."""
        if entry.media_type in MANIFEST_TYPES or not entry.media_type:
            return _Part(entry.kind, (entry.platform,), is_there=False)
        if links.get(self._transaction, self._repository, entry.digest) is None:
            return _Part("blob", (entry.platform,), is_there=False)
        blobs = {entry.key: entry.size}
        return _Part("blob", (entry.platform,), lambda: blobs, 1, entry.size)

    def about(self, digest: Digest) -> Iterator[Referrer]:
        """Manifests with this subject, and what cosign keeps under tags."""
        prefix = keys.manifest_key(self._repository, digest)
        left = _REFERRERS_SIZE_MAX
        for key, data in self._transaction.scan(REFERRERS, prefix, limit=_REFERRERS_MAX):
            left -= len(data)
            if left < 0:
                self.budget.is_spent = True
                break
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


# ---- entries of an index -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Part:
    """The present part of an entry. `blobs` gives all `count` that it brings, with sizes, by their
    digest keys; `size`: summed.
    """

    kind: str
    platforms: tuple[Platform, ...]
    blobs: Callable[[], Mapping[bytes, int]] = dict
    count: int = 0
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


def _platform(entry: Listed, outline: Outline) -> Platform:
    """As the index says, else as the image's own config does."""
    if entry.platform or entry.kind == "attestation":
        return entry.platform
    return outline.config_digest or ""
