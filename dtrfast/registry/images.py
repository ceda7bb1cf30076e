"""Images as users see them: lists by tag and by digest, one image, and comparisons of two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from dtrfast.errors import ManifestUnknown
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.oci import images
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.images import Comparison, ImageConfig, Layer
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.oci.versions import version_key
from dtrfast.registry import (
    families,
    listing,
    manifests,
    outlines,
    pulls,
    repositories,
    tags,
    untagged,
)
from dtrfast.registry.attachments import Attachments, in_order
from dtrfast.registry.blobs import Blobs
from dtrfast.registry.budget import Budget
from dtrfast.registry.configs import Configs, Description
from dtrfast.registry.descriptions import (
    LAYERS_MAX,
    USES_MAX,
    Child,
    Descriptions,
    ImageUse,
    IndexedImage,
    Platform,
    Summary,
)
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.outlines import Outline
from dtrfast.registry.pages import LOOKED_AT_MAX, BoundedScan
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import TagRecord, set_order

# Entries of a page that describes manifests. Each takes about 0.1 ms.
_LIMIT_MAX = 300
# The platform that a comparison of two indexes prefers.
_PLATFORM = "linux/amd64"


@dataclass(frozen=True, slots=True)
class TaggedImage:
    """A tag and its image. `pulled_at` is in seconds since the epoch, 0 if unknown. `summary` has
    the fields that the index has, `description` those from the image's configs. `attached` are the
    kinds of the image's attachments.
    """

    tag: str
    record: TagRecord
    pulled_at: int
    summary: Summary
    description: Description
    attached: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The kind of the image. For a tag that cosign made, it depends on the tag's name."""
        return images.kind_of_tag(self.tag) or self.summary.kind


@dataclass(frozen=True, slots=True)
class TaggedImages:
    """A page of tags. `count` is the number of tags that pass the filter. `folded` is the number of
    those that the page leaves out, because they belong to an image. `is_count_exact` is False if
    there are more tags than the request counted.
    """

    page: Listing[TaggedImage]
    count: int
    folded: int
    is_count_exact: bool


class ManifestRow(msgspec.Struct, frozen=True, gc=False):
    """A manifest without its bytes. `size` is in bytes, `pushed_at` in seconds since the epoch."""

    digest: Digest
    media_type: str
    size: int
    pushed_at: int


@dataclass(frozen=True, slots=True)
class ListedManifest:
    """A manifest, its tags, and a description of its image."""

    row: ManifestRow
    tags: tuple[str, ...]
    summary: Summary
    description: Description
    attached: tuple[str, ...]


class ImagePlatform(msgspec.Struct, frozen=True, rename="camel"):
    """An entry of an index. Its `kind` is `blob` in the index of a build cache. `platform` comes
    from the index, or else from the image. `isThere` is false if it was deleted. `isOnlyHere` is
    true if no tag and no other index of the repository names it: deleting the index then deletes
    it, too. `title` is the name of a file.
    """

    digest: str
    media_type: str
    platform: str
    kind: str
    size: int
    is_there: bool
    is_only_here: bool
    title: str


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image in full. `tag` is None if the image was requested by digest.

    `pulled_at` is the last pull by any name, `tag_pulled_at` the last one by the requested tag;
    both in seconds since the epoch, 0 if unknown. `used_by` are up to 20 indexes that name the
    image. `is_exact` is False if something was left out.
    """

    image: IndexedImage
    config: ImageConfig
    layers: tuple[Layer, ...]
    tag: TagRecord | None
    pulled_at: int
    tag_pulled_at: int
    entries: tuple[ImagePlatform, ...]
    used_by: tuple[ImageUse, ...]
    is_exact: bool


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """The differences between two images of one platform. `platforms` are those that both have.
    Sizes are in bytes. `is_exact` is False if something was left out.
    """

    platform: str
    platforms: tuple[str, ...]
    differences: Comparison
    size_before: int
    size_after: int
    is_exact: bool


# Records of tags are decoded for the entries of a page only.
_TAGS: Columns[tuple[str, bytes]] = {
    "name": lambda row: row[0],
    "version": lambda row: version_key(row[0]),
    "pushed": lambda row: set_order(row[1]),
}
_MANIFESTS: Columns[ManifestRow] = {
    "name": lambda row: str(row.digest),
    "pushed": lambda row: row.pushed_at,
}


class Images:
    """The images of a registry's repositories, for one caller. All methods raise what
    `Permits.check` does.
    """

    def __init__(self, engine: Engine, blobs: Blobs, permits: Permits) -> None:
        self._engine = engine
        self._blobs = blobs
        self._permits = permits

    # ---- lists -------------------------------------------------------------------------------
    def page(
        self, name: RepositoryName, request: ListRequest, *, is_folded: bool = False
    ) -> TaggedImages:
        """Return a page of the tags of a repository, with their images. With `is_folded` it leaves
        out the tags of signatures, SBOMs and attestations whose image is in the repository.
        """
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PULL)
            rows = tags.rows(transaction, number, request.first)
            # It has a budget of its own: a repository with many lists of referrers spends it.
            folding = Attachments(transaction, number)
            is_shown = folding.is_shown if is_folded else None
            page = listing.by_name(rows, _limited(request), _TAGS, is_shown)
            found, is_whole = _matching(transaction, number, request.filter)
            folded = folding.count_folded(found) if is_folded else 0
            records = {tag: TagRecord.decode(data) for tag, data in page.entries}
            digests = [(tag, record.digest) for tag, record in records.items()]
            pulled = pulls.of_tags(transaction, number, digests)
            summaries = Descriptions(transaction, number).summaries(d for _, d in digests)
            attached = _attached(Attachments(transaction, number), summaries)
        described = _described(Configs(self._blobs, name), summaries)
        tagged = [
            TaggedImage(tag, record, at, *described[record.digest], attached[record.digest])
            for (tag, record), at in zip(records.items(), pulled, strict=True)
        ]
        shown = Listing(tagged, page.next_start, page.is_exact)
        return TaggedImages(shown, len(found), folded, is_whole)

    def manifests(
        self, name: RepositoryName, request: ListRequest, *, is_untagged: bool = False
    ) -> Listing[ListedManifest]:
        """Return a page of the manifests of a repository, by digest; with `is_untagged` only those
        that no tag, no index and no subject keeps. Raises `DigestInvalid`.
        """
        budget = Budget()
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PULL)
            is_inside = request.start and request.is_by_name
            first = Digest.parse(request.start) if is_inside else None
            stored = manifests.stored_from(transaction, number, first)
            all_rows = (
                ManifestRow(digest, one.media_type, len(one.body), one.pushed_at)
                for digest, one in stored
            )
            rows = BoundedScan(all_rows, are_dear=True)
            wanted = _untagged(transaction, number, rows, budget) if is_untagged else rows
            page = listing.by_name(wanted, _limited(request), _MANIFESTS)
            described = Descriptions(transaction, number)
            summaries = described.summaries(row.digest for row in page.entries)
            named = [(row, described.tags(row.digest)) for row in page.entries]
            attached = _attached(Attachments(transaction, number), summaries)
        complete = _described(Configs(self._blobs, name), summaries)
        found = [
            ListedManifest(row, names, *complete[row.digest], attached[row.digest])
            for row, names in named
        ]
        next_start = page.next_start
        if rows.is_cut and request.is_by_name and request.count:
            next_start = next_start or str(rows.rest[0].digest)
        is_whole = page.is_exact and (request.is_by_name or not rows.is_cut)
        return Listing(found, next_start, is_exact=is_whole and not budget.is_spent)

    # ---- one image ---------------------------------------------------------------------------
    def get(self, name: RepositoryName, reference: Reference) -> ImageView:
        """Return the image of a tag or a digest. Raises `ManifestUnknown`."""
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PULL)
            digest, record = _resolve(transaction, name, number, reference)
            described = Descriptions(transaction, number)
            found = described.image(digest)
            if found is None:
                raise ManifestUnknown(f"there is no manifest {digest} in {name}")
            by_tag = [(str(reference), digest)] if record else []
            tag_pulled_at = max(pulls.of_tags(transaction, number, by_tag), default=0)
            by_names = pulls.of_tags(transaction, number, [(tag, digest) for tag in found.tags])
            pulled_at = max(pulls.of_manifest(transaction, number, digest), *by_names, 0)
            uses = _uses(transaction, number, described, digest)
            own = {
                one.digest for one in found.children if _is_own(transaction, number, one, digest)
            }
        configs = Configs(self._blobs, name)
        config = configs.read(found.outline.config_digest)
        entries = tuple(_entry(configs, one, one.digest in own) for one in found.children)
        return ImageView(
            image=found,
            config=config,
            layers=_layers(found.outline, config)[:LAYERS_MAX],
            tag=record,
            pulled_at=pulled_at,
            tag_pulled_at=tag_pulled_at,
            entries=entries,
            used_by=uses,
            is_exact=described.is_exact and not configs.is_spent and found.is_whole,
        )

    # ---- two images --------------------------------------------------------------------------
    def compare(
        self, name: RepositoryName, before: Reference, after: Reference, platform: str = ""
    ) -> ImageComparison:
        """Return the differences between two images, and for two indexes those between their images
        of a platform; without one, of the first that both have. Raises `ManifestUnknown`.
        """
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PULL)
            described = Descriptions(transaction, number)
            named = [
                described.platforms_of(_resolve(transaction, name, number, one)[0])
                for one in (before, after)
            ]
        configs = Configs(self._blobs, name)
        platforms = [_by_platform(configs, one) for one in named]
        platform = _common_platform(platforms, platform)
        # Configs are blobs, which are read between snapshots. So two snapshots share one budget.
        with self._engine.read() as transaction:
            repositories.require(transaction, self._permits, name, Action.PULL)
            described = Descriptions(transaction, number, described.budget)
            outlines_found = [_outline(described, one, platform) for one in platforms]
        old, new = ((one, configs.read(one.config_digest)) for one in outlines_found)
        whole = described.is_exact and not configs.is_spent
        found = images.compare(_layers(*old), _layers(*new), old[1], new[1])
        return ImageComparison(
            platform,
            tuple(one for one in platforms[0] if one and one in platforms[1]),
            _cut(found),
            old[0].size,
            new[0].size,
            is_exact=whole and all(one.count <= LAYERS_MAX for one in outlines_found),
        )


# ---- lists -------------------------------------------------------------------------------------
def _limited(request: ListRequest) -> ListRequest:
    return replace(request, limit_max=_LIMIT_MAX)


def _described(
    configs: Configs, summaries: Mapping[Digest, Summary]
) -> dict[Digest, tuple[Summary, Description]]:
    """Complete the summaries of images. The config of an image with many tags is read once."""
    return {digest: (one, configs.describe(one)) for digest, one in summaries.items()}


def _attached(
    attachments: Attachments, summaries: Mapping[Digest, Summary]
) -> dict[Digest, tuple[str, ...]]:
    """Return the kinds of the attachments of images, with those that an index lists."""
    found = attachments.kinds(summaries)
    listed = {digest for digest, one in summaries.items() if one.has_attestation}
    return {
        digest: in_order([*kinds, "attestation"]) if digest in listed else kinds
        for digest, kinds in found.items()
    }


def _matching(
    transaction: ReadTransaction, repository: RepositoryId, filter_text: str
) -> tuple[list[tuple[str, bytes]], bool]:
    """Return the tags that pass the filter, as far as one request may read, with their records; and
    False if there are more tags.
    """
    part = filter_text.strip().lower()
    rows = iter(tags.rows(transaction, repository))
    found = [row for row in islice(rows, LOOKED_AT_MAX) if part in row[0].lower()]
    return found, next(rows, None) is None


def _untagged(
    transaction: ReadTransaction,
    repository: RepositoryId,
    rows: BoundedScan[ManifestRow],
    budget: Budget,
) -> Iterator[ManifestRow]:
    """Return the manifests that nothing keeps, without those whose subject the budget does not
    cover.
    """
    for row in rows:
        if untagged.is_named(transaction, repository, row.digest):
            continue
        found = outlines.look(transaction, repository, row.digest, budget)
        if found is None or found.outline is None:
            continue
        subject = found.outline.subject_digest
        if subject is None or not families.is_there(transaction, repository, subject):
            yield row


# ---- one image ---------------------------------------------------------------------------------
def _resolve(
    transaction: ReadTransaction,
    name: RepositoryName,
    repository: RepositoryId,
    reference: Reference,
) -> tuple[Digest, TagRecord | None]:
    if isinstance(reference, Tag):
        record = tags.get(transaction, repository, name, reference)
        return record.digest, record
    return reference, None


def _uses(
    transaction: ReadTransaction, repository: RepositoryId, described: Descriptions, digest: Digest
) -> tuple[ImageUse, ...]:
    users = families.users(transaction, repository, digest, USES_MAX)
    return tuple(described.use(user, digest) for user in users)


def _is_own(
    transaction: ReadTransaction, repository: RepositoryId, child: Child, index: Digest
) -> bool:
    digest = Digest.parse(child.digest)
    return child.is_there and families.is_only_in(transaction, repository, digest, index)


def _entry(configs: Configs, child: Child, is_only_here: bool) -> ImagePlatform:
    return ImagePlatform(
        digest=child.digest,
        media_type=child.media_type,
        platform=", ".join(configs.platforms(child.platforms)),
        kind=child.kind,
        size=child.size,
        is_there=child.is_there,
        is_only_here=is_only_here,
        title=child.title,
    )


def _layers(outline: Outline, config: ImageConfig) -> tuple[Layer, ...]:
    """Return the layers of an image with the commands that made them."""
    return images.with_commands(outline.bare_layers(), outline.count, config)


# ---- two images --------------------------------------------------------------------------------
def _by_platform(configs: Configs, named: list[tuple[Platform, Digest]]) -> dict[str, Digest]:
    return {next(iter(configs.platforms([one])), ""): digest for one, digest in named}


def _common_platform(platforms: list[dict[str, Digest]], wanted: str) -> str:
    """Return the platform to compare; empty for two images. Raises `ManifestUnknown`."""
    common = [platform for platform in platforms[0] if platform in platforms[1]]
    if wanted:
        common = [platform for platform in common if platform == wanted]
    if not common and not wanted and all(len(one) == 1 for one in platforms):
        return ""  # two images, each of a platform of its own
    if not common:
        raise ManifestUnknown("the two have no platform in common")
    return _PLATFORM if _PLATFORM in common else common[0]


def _outline(described: Descriptions, platforms: dict[str, Digest], platform: str) -> Outline:
    digest = platforms.get(platform) or next(iter(platforms.values()))
    outline = described.outline(digest)
    if outline is None:
        raise ManifestUnknown(f"the image {digest} of the index is missing")
    return outline


def _cut(found: Comparison) -> Comparison:
    return Comparison(
        found.common[:LAYERS_MAX],
        found.removed[:LAYERS_MAX],
        found.added[:LAYERS_MAX],
        found.changes,
    )
