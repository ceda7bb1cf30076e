"""Operations on images and manifests: lists, one image in full, differences, and deletions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dtrfast.api.v0 import image_objects, views
from dtrfast.api.v0.lists import ListQuery
from dtrfast.api.v0.objects import BodyObject
from dtrfast.api.v0.operation import REPOSITORY, ApiCall, Operations
from dtrfast.errors import SettingsInvalid
from dtrfast.oci.digests import Reference, parse_reference
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.deletion import Deletion, DeletionPreview, ReferenceDeletion
from dtrfast.registry.images import ListedManifest, TaggedImage
from dtrfast.registry.restoring import Restoration
from dtrfast.times import rfc3339

operations = Operations("images")

# References that fit into an address, as digests or as the longest tags: three pages of a list.
_REFERENCES_MAX = 150
_REFERENCES_LENGTH_MAX = 20_500
_REFERENCE_LENGTH_MAX = 160


class ImagesQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """`filter`: a part of the tag. `pushed` is the time at which the tag was set. `version` sorts
    `v1.9` before `v1.10`, and `1.0-rc.1` before `1.0`. `folded`: without the tags of signatures,
    SBOMs and attestations whose image is in the repository.
    """

    sort: Literal["name", "-name", "version", "-version", "pushed", "-pushed"] = "name"
    folded: bool = False


@operations.add("GET", f"{REPOSITORY}/images", audience="everyone")
def list_images(call: ApiCall, query: ImagesQuery) -> image_objects.Images:
    """List the tags of a repository, with their images."""
    images, name = call.registry.images, call.repository
    found = images.page(name, query.request, is_folded=query.folded)
    counts = {
        "count": found.count,
        "folded": found.folded,
        "is_count_exact": found.is_count_exact,
    }
    return views.page(image_objects.Images, found.page, "images", partial(_image, call), **counts)


def _image(call: ApiCall, one: TaggedImage) -> image_objects.Image:
    set_by = call.shown_name(one.record.set_by)
    return views.show(
        image_objects.Image, one, one.description, one.record, one.summary, set_by=set_by
    )


class ManifestsQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """`filter`: a part of the digest, which is the name. `pushed` is the time of the push.
    `untagged`: only manifests that no tag, no index and no subject keeps.
    """

    sort: Literal["name", "-name", "pushed", "-pushed"] = "name"
    untagged: bool = False


@operations.add("GET", f"{REPOSITORY}/manifests", audience="everyone")
def list_manifests(call: ApiCall, query: ManifestsQuery) -> image_objects.Manifests:
    """List the manifests of a repository, by digest; or those without a tag."""
    images, name = call.registry.images, call.repository
    page = images.manifests(name, query.request, is_untagged=query.untagged)
    return views.page(image_objects.Manifests, page, "manifests", _manifest)


def _manifest(one: ListedManifest) -> image_objects.Manifest:
    records = (one.row, one.description, one, one.summary)
    return views.show(image_objects.Manifest, *records, image_size=one.summary.size)


# ---- one image -------------------------------------------------------------------------------
@operations.add("GET", f"{REPOSITORY}/manifests/{{reference}}", audience="everyone")
def get_image(call: ApiCall) -> image_objects.ImageDetail:
    """Show the image of a tag or a digest: config, layers, platforms, and its referrers."""
    reference = parse_reference(call.path["reference"])
    found = call.registry.images.get(call.repository, reference)
    tag, image, outline = found.tag, found.image, found.image.outline
    records = (found, image, image.summary, image.stored, outline, found.config)
    return views.show(
        image_objects.ImageDetail,
        *records,
        manifest_size=len(image.stored.body),
        set_at=rfc3339(tag.set_at) if tag else "",
        set_by=call.shown_name(tag.set_by) if tag else "",
        subject=str(outline.subject_digest or ""),
        platforms=found.entries,
        labels=dict(found.config.labels),
    )


# ---- two images ------------------------------------------------------------------------------
class CompareQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Tags or digests. `platform` selects the images of two indexes; by default the first that both
    have.
    """

    before: Annotated[str, Meta(max_length=255)] = msgspec.field(name="from")
    after: Annotated[str, Meta(max_length=255)] = msgspec.field(name="to")
    platform: Annotated[str, Meta(max_length=255)] = ""


@operations.add("GET", f"{REPOSITORY}/compare", audience="everyone")
def compare_images(call: ApiCall, query: CompareQuery) -> image_objects.ImageComparison:
    """Show the differences between two images: layers, config and size."""
    before, after = parse_reference(query.before), parse_reference(query.after)
    found = call.registry.images.compare(call.repository, before, after, query.platform)
    return views.show(image_objects.ImageComparison, found, found.differences)


# ---- deletions ---------------------------------------------------------------------------------
@operations.add("DELETE", f"{REPOSITORY}/manifests/{{reference}}", refusals=(405,))
def delete_manifest(call: ApiCall) -> None:
    """Delete a tag, or a manifest by its digest with all its tags."""
    name = call.repository
    reference = parse_reference(call.path["reference"])
    _note(call, name, call.registry.deletions.delete_one(name, reference))


def _note(call: ApiCall, name: RepositoryName, done: ReferenceDeletion) -> None:
    names = "" if isinstance(done.reference, Tag) else " ".join(done.tags)
    detail = {"reference": str(done.reference), "run": done.run, "tags": names}
    call.note("delete", name.text, detail={key: text for key, text in detail.items() if text})


class DeletionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`references`: tags and digests, separated by commas."""

    references: Annotated[
        str, Meta(min_length=1, max_length=_REFERENCES_LENGTH_MAX, pattern="^[A-Za-z0-9_.:,-]+$")
    ]


@operations.add("GET", f"{REPOSITORY}/deletion", audience="bounded")
def preview_deletion(call: ApiCall, query: DeletionQuery) -> DeletionPreview:
    """Show what deleting the images of some tags and digests deletes, breaks, and frees."""
    references = _references(query.references.split(","))
    return call.registry.deletions.preview(call.repository, references)


def _references(texts: Iterable[str]) -> list[Reference]:
    unique = dict.fromkeys(texts)
    if len(unique) > _REFERENCES_MAX:
        raise SettingsInvalid(f"references: give at most {_REFERENCES_MAX} of them")
    return [parse_reference(text) for text in unique]


class DeletionRequest(BodyObject, frozen=True, kw_only=True):
    """Tags, which leave their images; and digests, which go with all their tags and with the images
    of an index that nothing else names.
    """

    references: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=_REFERENCE_LENGTH_MAX)]],
        Meta(min_length=1, max_length=_REFERENCES_MAX),
    ]


@operations.add("POST", f"{REPOSITORY}/deletion", refusals=(405,))
def delete_references(call: ApiCall, body: DeletionRequest) -> Deletion:
    """Delete tags and images together; one call brings them back."""
    name = call.repository
    references = _references(body.references)
    return call.registry.deletions.delete(name, references, lambda one: _note(call, name, one))


@operations.add("POST", f"{REPOSITORY}/deletion/{{run}}/restore")
def restore_deletion(call: ApiCall) -> Restoration:
    """Restore the manifests and tags of one deletion from the trash."""
    name, run = call.repository, call.path["run"]
    found = call.registry.deletions.restore(name, run)
    kind = "manifest.restore" if found.manifests else "tag.restore"
    call.note(kind, name.text, detail={"run": run, "tags": " ".join(found.tags)})
    return found
