"""Descriptions of images with the fields that the index has. `configs` adds the rest: the config of
an image is a blob, and no blob is read inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from dtrfast.index.engine import ReadTransaction
from dtrfast.oci import images
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import MANIFEST_TYPES
from dtrfast.registry import links, outlines, tags
from dtrfast.registry.attachments import Attachments, ImageReferrer
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.manifests import stored_manifest
from dtrfast.registry.outlines import Look, Outline, OutlineEntry
from dtrfast.registry.records import StoredManifest

# An index may name tens of thousands of images; a list looks at the first of them.
_CHILDREN_LISTED_MAX = 50
LAYERS_MAX = outlines.LISTED_MAX
_TAGS_MAX = 500
# Indexes with an image that an answer names, and the tags that it names of each.
USES_MAX = 20
# Bytes of manifests that one answer parses: 0.02 s a MiB. Most manifests take 2 KiB, and outlines
# of large ones are kept.
_PARSED_SIZE_MAX = 1 << 20
# Entries of indexes that one answer looks at: about 10 µs each.
_ENTRIES_MAX = 3000
# Blobs of indexes that one answer adds up: about 0.02 s. Beyond that, a blob counts once for each
# image that has it.
_BLOBS_ADDED_MAX = 30_000
# An index may list indexes; tools make one level of them.
_INDEX_DEPTH_MAX = 3

# A platform, or the digest of the config that names it.
Platform = str | Digest


@dataclass(frozen=True, slots=True)
class Summary:
    """An image in a list.

    `size` is the sum of its layers and its config in bytes, and for an index the sum of all that
    the index lists; each blob counts once. An index has no `config`. `fault` is the reason why
    clients cannot read the manifest, if there is one. `is_exact` is False if the answer's budget
    was too small for all of it. `has_attestation` is True for an index with an attestation in it,
    as BuildKit makes them.
    """

    kind: str
    media_type: str
    size: int
    platforms: tuple[Platform, ...]
    config: Digest | None
    layers: int
    fault: str = ""
    is_exact: bool = True
    has_attestation: bool = False


# In place of a missing manifest.
ABSENT = Summary("artifact", "", 0, (), None, 0)


@dataclass(frozen=True, slots=True)
class Child:
    """An entry of an index: an image, or a blob of a build cache. `is_there` is False if it was
    deleted. `title` is the name of a file.
    """

    digest: str
    media_type: str
    platforms: tuple[Platform, ...]
    kind: str
    size: int
    is_there: bool
    title: str


class ImageUse(msgspec.Struct, frozen=True, rename="camel"):
    """An index of a repository with its tags, and an image that it names."""

    digest: str
    tags: tuple[str, ...]
    image: str


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """The description of a manifest from the index alone, without its config."""

    digest: Digest
    stored: StoredManifest
    outline: Outline
    summary: Summary
    children: tuple[Child, ...]
    tags: tuple[str, ...]
    referrers: tuple[ImageReferrer, ...]

    @property
    def is_whole(self) -> bool:
        """True if no layer, image or annotation was left out."""
        return self.outline.is_whole and self.outline.count <= LAYERS_MAX


class Descriptions:
    """Describes the images of one repository, in one snapshot. The caller has checked permits.

    Use a new instance for each answer. It does a bounded amount of work; beyond that, images have
    no size.
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
        self.attachments = Attachments(transaction, repository, self.budget)
        self._blobs_left = _BLOBS_ADDED_MAX
        self._parts: dict[OutlineEntry, _Part] = {}

    @property
    def is_exact(self) -> bool:
        """True as long as the budget was large enough for all that was requested."""
        return not self.budget.is_spent

    def summaries(self, digests: Iterable[Digest]) -> dict[Digest, Summary]:
        """Return the summaries of manifests; that of a missing one is `ABSENT`."""
        return {digest: self.summary(digest) or ABSENT for digest in dict.fromkeys(digests)}

    def summary(self, digest: Digest) -> Summary | None:
        """Return a manifest's entry in a list; None if the manifest is missing."""
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

    def image(self, digest: Digest) -> IndexedImage | None:
        """Return the full description of a manifest; None if the manifest is missing."""
        stored = stored_manifest(self._transaction, self._repository, digest)
        found = self._look(digest)
        if stored is None or found is None:
            return None
        outline = found.outline or outlines.unknown(stored)
        return IndexedImage(
            digest,
            stored,
            outline,
            self._summary_of(outline),
            tuple(self._children(outline.listed)),
            self.tags(digest),
            tuple(self.attachments.of(digest)),
        )

    def tags(self, digest: Digest, limit: int = _TAGS_MAX) -> tuple[str, ...]:
        """Return the first tags of a manifest, by name."""
        found = tags.tags_of(self._transaction, self._repository, digest)
        return tuple(tag.text for tag in islice(found, limit))

    def use(self, index: Digest, image: Digest) -> ImageUse:
        """Describe an index of the repository that names an image."""
        return ImageUse(str(index), self.tags(index, USES_MAX), str(image))

    def outline(self, digest: Digest) -> Outline | None:
        """Return the outline of a manifest; None if it is missing, or if the budget is spent."""
        found = self._look(digest)
        return None if found is None else found.outline

    def platforms_of(self, digest: Digest) -> list[tuple[Platform, Digest]]:
        """Return the images of an index with their platforms; for an image, the image itself."""
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
        listed = outline.listed[:_CHILDREN_LISTED_MAX]
        whole = self._whole(listed, 0)
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
            any(self._part(entry).kind == "attestation" for entry in listed),
        )

    def _children(self, entries: Sequence[OutlineEntry]) -> Iterator[Child]:
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

    def _whole(self, entries: Sequence[OutlineEntry], depth: int) -> _Part:
        """Return all entries of an index as one part. Its size counts each blob once."""
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

    def _part(self, entry: OutlineEntry, depth: int = 1) -> _Part:
        """Return the part that an entry of an index stands for."""
        if entry not in self._parts:
            self._parts[entry] = self._find_part(entry, depth)
        return self._parts[entry]

    def _find_part(self, entry: OutlineEntry, depth: int) -> _Part:
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

    def _blob(self, entry: OutlineEntry) -> _Part:
        """Return an entry without a manifest: a blob of a build cache, or a missing image."""
        if entry.media_type in MANIFEST_TYPES or not entry.media_type:
            return _Part(entry.kind, (entry.platform,), is_there=False)
        if links.get(self._transaction, self._repository, entry.digest) is None:
            return _Part("blob", (entry.platform,), is_there=False)
        blobs = {entry.key: entry.size}
        return _Part("blob", (entry.platform,), lambda: blobs, 1, entry.size)


# ---- entries of an index -----------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Part:
    """The image, index or blob that an entry stands for. `blobs` returns the sizes in bytes of its
    `count` blobs by their digest keys, and `size` is their sum.
    """

    kind: str
    platforms: tuple[Platform, ...]
    blobs: Callable[[], Mapping[bytes, int]] = dict
    count: int = 0
    size: int = 0
    is_there: bool = True

    @property
    def is_image(self) -> bool:
        """True for an image of one platform."""
        return self.kind not in ("index", "attestation", "blob") and len(self.platforms) == 1

    @property
    def is_shown(self) -> bool:
        """True if its platforms are among the platforms of the index."""
        return self.kind not in ("attestation", "blob")


def _platform(entry: OutlineEntry, outline: Outline) -> Platform:
    """Return the platform that the index gives, else the digest of the image's config."""
    # Outlines that earlier versions stored may have the platform of attestations.
    if entry.platform == images.NO_PLATFORM or entry.kind == "attestation":
        return ""
    return entry.platform or outline.config_digest or ""
