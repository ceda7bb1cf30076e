"""Images: tags with what they are, one image in full, and two beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from dtrfast.api.v0 import image_objects as objects
from dtrfast.api.v0.lists import MANIFESTS_LIMIT_MAX, Columns, ListQuery, scanned
from dtrfast.api.v0.manifests import image_use
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.api.v0.repositories import require
from dtrfast.errors import ManifestUnknown
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci import images as oci_images
from dtrfast.oci.digests import Digest, parse_reference
from dtrfast.oci.images import ImageConfig, Layer
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import deletion, pulls, repositories, tags
from dtrfast.registry.configs import Configs
from dtrfast.registry.images import (
    ABSENT,
    LAYERS_MAX,
    Child,
    Detail,
    Images,
    Platform,
    Referrer,
    Summary,
)
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.outlines import Outline
from dtrfast.registry.pages import LOOKED_AT_MAX, Bounded
from dtrfast.registry.permits import Action
from dtrfast.registry.records import TagRecord, set_at
from dtrfast.times import rfc3339

operations = Operations("images")

_REPOSITORY = "/repositories/{namespace}/{repository}"
_USERS_MAX = 20


class ImagesQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """`filter`: a part of the tag. `pushed` is when the tag was set."""

    sort: Literal["name", "-name", "pushed", "-pushed"] = "name"

    @property
    def count(self) -> int:
        return min(self.limit, MANIFESTS_LIMIT_MAX)


# A tag and its record, which is decoded where it is shown.
_Row = tuple[str, bytes]
_COLUMNS: Columns[_Row] = {"name": lambda row: row[0], "pushed": lambda row: set_at(row[1])}


@operations.add(
    "GET",
    f"{_REPOSITORY}/images",
    answer=objects.Images,
    query=ImagesQuery,
    refusals=(404,),
    audience="everyone",
)
def list_images(call: ApiCall) -> objects.Images:
    """List the tags of a repository, with what they point at."""
    query: ImagesQuery = call.query
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        number = repositories.get(transaction, name)
        source = Bounded(tags.rows(transaction, number, query.first))
        rows, more = scanned(source, query, _COLUMNS)
        count = _count(transaction, number, query)
        known = Images(transaction, number)
        tagged = [
            _tagged(transaction, number, known, tag, TagRecord.decode(data)) for tag, data in rows
        ]
    configs = Configs(call.registry.acting_for(call.permits), name)
    found = [_image(configs, one, call.shown_name(one.record.set_by)) for one in tagged]
    is_exact = query.is_by_name or not source.is_cut
    return objects.Images(images=found, count=count, next_page_start=more, is_exact=is_exact)


def _count(transaction: ReadTransaction, number: RepositoryId, query: ImagesQuery) -> int:
    """How many tags pass the filter."""
    part = query.filter.strip().lower()
    found = islice(tags.names(transaction, number), LOOKED_AT_MAX)
    return sum(1 for name in found if part in name.lower())


@dataclass(frozen=True, slots=True)
class _Tagged:
    """A row of the list, as the index has it."""

    tag: str
    record: TagRecord
    pulled_at: int
    summary: Summary


def _tagged(
    transaction: ReadTransaction, number: RepositoryId, known: Images, tag: str, record: TagRecord
) -> _Tagged:
    summary = known.summary(record.digest) or ABSENT
    return _Tagged(tag, record, _pulled_at(transaction, number, tag, record.digest), summary)


def _image(configs: Configs, one: _Tagged, set_by: str) -> objects.Image:
    record, summary = one.record, one.summary
    described = configs.describe(summary)
    return objects.Image(
        tag=one.tag,
        digest=str(record.digest),
        set_at=rfc3339(record.set_at),
        set_by=set_by,
        pulled_at=_time(one.pulled_at),
        kind=oci_images.kind_of_tag(one.tag) or summary.kind,
        media_type=summary.media_type,
        size=summary.size,
        platforms=described.platforms,
        created=described.created,
        layers=summary.layers,
        fault=summary.fault,
        is_exact=described.is_exact,
    )


def _pulled_at(transaction: ReadTransaction, number: RepositoryId, tag: str, digest: Digest) -> int:
    """Docker asks what a tag points at, and pulls that: either is a pull of the tag."""
    of_tag = pulls.of_tag(transaction, number, tag)
    return max(of_tag, pulls.of_manifest(transaction, number, digest))


def _time(seconds: int) -> str:
    return rfc3339(seconds) if seconds else ""


# ---- one image -------------------------------------------------------------------------------
@operations.add(
    "GET",
    f"{_REPOSITORY}/manifests/{{reference}}",
    answer=objects.ImageDetail,
    refusals=(404, 400),
    audience="everyone",
)
def get_image(call: ApiCall) -> objects.ImageDetail:
    """Show what a tag or a digest points at: config, layers, platforms, and what refers to it."""
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        number = repositories.get(transaction, name)
        digest, record = _resolve(transaction, name, number, call.path["reference"])
        known = Images(transaction, number)
        found = known.detail(digest)
        if found is None:
            raise ManifestUnknown(f"there is no manifest {digest} in {name}")
        times = [pulls.of_tag(transaction, number, tag) for tag in found.tags]
        text = call.path["reference"]
        extra = {
            "pulled_at": max(pulls.of_manifest(transaction, number, digest), *times, 0),
            "tag_pulled_at": _pulled_at(transaction, number, text, digest) if record else 0,
        }
        users = [
            image_use(transaction, number, user, digest)
            for user in deletion.users(transaction, number, digest, _USERS_MAX)
        ]
        only = {
            child.digest
            for child in found.children
            if child.is_there
            and deletion.is_only_in(transaction, number, Digest.parse(child.digest), digest)
        }
    configs = Configs(call.registry.acting_for(call.permits), name)
    children = [_child(configs, child, child.digest in only) for child in found.children]
    return replace(
        _detail(found, configs.read(found.outline.config_digest), record),
        **{field: _time(seconds) for field, seconds in extra.items()},
        is_exact=known.is_exact and not configs.is_spent and found.is_whole,
        platforms=children,
        used_by=users,
        set_by=call.shown_name(record.set_by if record else ""),
    )


def _resolve(
    transaction: ReadTransaction, name: RepositoryName, number: RepositoryId, text: str
) -> tuple[Digest, TagRecord | None]:
    reference = parse_reference(text)
    if isinstance(reference, Tag):
        record = tags.get(transaction, number, name, reference)
        return record.digest, record
    return reference, None


def _detail(found: Detail, config: ImageConfig, record: TagRecord | None) -> objects.ImageDetail:
    outline = found.outline
    layers = oci_images.with_commands(outline.bare_layers(), outline.count, config)[:LAYERS_MAX]
    subject = outline.subject_digest
    return objects.ImageDetail(
        digest=str(found.digest),
        media_type=found.stored.media_type,
        kind=found.summary.kind,
        size=found.summary.size,
        manifest_size=len(found.stored.body),
        pushed_at=rfc3339(found.stored.pushed_at),
        pulled_at="",
        tag_pulled_at="",
        set_at=rfc3339(record.set_at) if record else "",
        set_by=record.set_by if record else "",
        tags=list(found.tags),
        artifact_type=outline.artifact_type,
        subject="" if subject is None else str(subject),
        annotations=outline.annotations,
        platform=config.platform,
        created=config.created,
        author=config.author,
        env=list(config.env),
        entrypoint=list(config.entrypoint),
        cmd=list(config.cmd),
        working_dir=config.working_dir,
        user=config.user,
        exposed_ports=list(config.exposed_ports),
        volumes=list(config.volumes),
        stop_signal=config.stop_signal,
        healthcheck=config.healthcheck,
        labels=dict(config.labels),
        layers=[_layer(layer) for layer in layers],
        platforms=[],
        referrers=[_referrer(referrer) for referrer in found.referrers],
        used_by=[],
        fault=outline.fault,
    )


def _layer(layer: Layer) -> objects.ImageLayer:
    return objects.ImageLayer(
        command=layer.command,
        created=layer.created,
        digest=layer.digest,
        size=layer.size,
        media_type=layer.media_type,
        title=layer.title,
    )


def _child(configs: Configs, child: Child, is_only_here: bool) -> objects.ImagePlatform:
    return objects.ImagePlatform(
        digest=child.digest,
        media_type=child.media_type,
        platform=", ".join(configs.platforms(child.platforms)),
        kind=child.kind,
        size=child.size,
        is_there=child.is_there,
        is_only_here=is_only_here,
        title=child.title,
    )


def _referrer(referrer: Referrer) -> objects.ImageReferrer:
    return objects.ImageReferrer(
        digest=referrer.digest,
        kind=referrer.kind,
        artifact_type=referrer.artifact_type,
        size=referrer.size,
        annotations=referrer.annotations,
        tag=referrer.tag,
    )


# ---- two images ------------------------------------------------------------------------------
class CompareQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Tags or digests. `platform`: which images of two indexes; else the first that both have."""

    before: Annotated[str, Meta(max_length=255)] = msgspec.field(name="from")
    after: Annotated[str, Meta(max_length=255)] = msgspec.field(name="to")
    platform: Annotated[str, Meta(max_length=255)] = ""


@operations.add(
    "GET",
    f"{_REPOSITORY}/compare",
    answer=objects.ImageComparison,
    query=CompareQuery,
    refusals=(404, 400),
    audience="everyone",
)
def compare_images(call: ApiCall) -> objects.ImageComparison:
    """Show what differs between two images: layers, config and size."""
    query: CompareQuery = call.query
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        number = repositories.get(transaction, name)
        known = Images(transaction, number)
        named = [
            known.platforms_of(_resolve(transaction, name, number, text)[0])
            for text in (query.before, query.after)
        ]
    configs = Configs(call.registry.acting_for(call.permits), name)
    platforms = [_by_platform(configs, one) for one in named]
    platform = _common_platform(platforms, query.platform)
    with call.identity.engine.read() as transaction:
        require(call, transaction, Action.PULL)
        known = Images(transaction, number, known.budget)
        both = [_outline(known, one, platform) for one in platforms]
    sides = [_side(configs, outline) for outline in both]
    before, after = sides
    found = oci_images.compare(before.layers, after.layers, before.config, after.config)
    return objects.ImageComparison(
        platform=platform,
        platforms=[one for one in platforms[0] if one and one in platforms[1]],
        common=[_layer(layer) for layer in found.common[:LAYERS_MAX]],
        removed=[_layer(layer) for layer in found.removed[:LAYERS_MAX]],
        added=[_layer(layer) for layer in found.added[:LAYERS_MAX]],
        changes=[
            objects.ImageChange(field=c.field, before=c.before, after=c.after)
            for c in found.changes
        ],
        size_before=before.size,
        size_after=after.size,
        is_exact=known.is_exact and not configs.is_spent and all(side.is_whole for side in sides),
    )


def _by_platform(configs: Configs, named: list[tuple[Platform, Digest]]) -> dict[str, Digest]:
    return {next(iter(configs.platforms([one])), ""): digest for one, digest in named}


def _common_platform(platforms: list[dict[str, Digest]], wanted: str) -> str:
    """Which platform to compare. Raises `ManifestUnknown`."""
    common = [platform for platform in platforms[0] if platform in platforms[1]]
    if wanted:
        common = [platform for platform in common if platform == wanted]
    if not common and not wanted and all(len(one) == 1 for one in platforms):
        return ""  # two images, each of a platform of its own
    if not common:
        raise ManifestUnknown("the two have no platform in common")
    return "linux/amd64" if "linux/amd64" in common else common[0]


@dataclass(frozen=True, slots=True)
class _Side:
    """One of two images. `size`: as lists have it. `is_whole`: the layers are all."""

    layers: tuple[Layer, ...]
    config: ImageConfig
    size: int
    is_whole: bool


def _outline(known: Images, platforms: dict[str, Digest], platform: str) -> Outline:
    digest = platforms.get(platform) or next(iter(platforms.values()))
    outline = known.outline(digest)
    if outline is None:
        raise ManifestUnknown(f"the image {digest} of the index is not there")
    return outline


def _side(configs: Configs, outline: Outline) -> _Side:
    config = configs.read(outline.config_digest)
    layers = oci_images.with_commands(outline.bare_layers(), outline.count, config)
    return _Side(layers, config, outline.size, outline.count <= LAYERS_MAX)
