"""What the management API sends of images."""

from __future__ import annotations

from dtrfast.api.v0.objects import Sent


class Image(Sent, frozen=True, kw_only=True):
    """A tag, and what it points at. `size`: of layers and config, of an index of all that it lists;
    each blob counts once. `created` is empty where the image has no date.
    `fault`: what keeps clients from reading the manifest, and where; empty if they can. `isExact`:
    false where more was to look at than one request does: `size` and `platforms` are then a part.
    """

    tag: str
    digest: str
    set_at: str
    set_by: str
    pulled_at: str
    kind: str
    media_type: str
    size: int
    platforms: list[str]
    created: str
    layers: int
    fault: str = ""
    is_exact: bool = True


class Images(Sent, frozen=True, kw_only=True):
    """`count`: how many tags pass the filter, as far as 20,000. `isExact`: false where there are
    more than one request sorts, so that later names are missing.
    """

    images: list[Image]
    count: int
    next_page_start: str = ""
    is_exact: bool = True


class ImageLayer(Sent, frozen=True, kw_only=True):
    """A layer and the command that made it; a step that made none has no digest. `title`: the name
    of the file that it is, as annotations of artifacts have it.
    """

    command: str
    created: str
    digest: str
    size: int
    media_type: str
    title: str = ""


class ImagePlatform(Sent, frozen=True, kw_only=True):
    """An entry of an index; its `kind` is `blob` in the index of a build cache. `platform`: as the
    index says, else as the image does. `isThere`: it has not been deleted. `isOnlyHere`: no tag and
    no other index of the repository names it, so that it goes when the index is deleted. `title`:
    the name of a file.
    """

    digest: str
    media_type: str
    platform: str
    kind: str
    size: int
    is_there: bool
    is_only_here: bool = False
    title: str = ""


class ImageUse(Sent, frozen=True, kw_only=True):
    """An index of the repository with its tags, and the image that it names."""

    digest: str
    tags: list[str]
    image: str


class ImageReferrer(Sent, frozen=True, kw_only=True):
    """A manifest about this one: a signature, an SBOM … `tag`: where cosign keeps it, if there."""

    digest: str
    kind: str
    artifact_type: str
    size: int
    annotations: dict[str, str]
    tag: str


class ImageDetail(Sent, frozen=True, kw_only=True):
    """What a manifest and its config say. Fields that it has not are empty. `usedBy`: up to 20
    indexes of the repository that name it. `pulledAt` is of the image by any name, `tagPulledAt` as
    lists have it: by the tag that was asked for, or by its digest. `fault`: what keeps clients from
    reading the manifest, and where: it was stored by a version that took more. `isExact`: false
    where a list is longer, or the size greater, than what is shown.
    """

    digest: str
    media_type: str
    kind: str
    size: int
    manifest_size: int
    pushed_at: str
    pulled_at: str
    tag_pulled_at: str
    set_at: str
    set_by: str
    tags: list[str]
    artifact_type: str
    subject: str
    annotations: dict[str, str]
    platform: str
    created: str
    author: str
    env: list[str]
    entrypoint: list[str]
    cmd: list[str]
    working_dir: str
    user: str
    exposed_ports: list[str]
    volumes: list[str]
    stop_signal: str
    healthcheck: str
    labels: dict[str, str]
    layers: list[ImageLayer]
    platforms: list[ImagePlatform]
    referrers: list[ImageReferrer]
    used_by: list[ImageUse]
    fault: str = ""
    is_exact: bool = True


class ImageChange(Sent, frozen=True, kw_only=True):
    field: str
    before: str
    after: str


class ImageComparison(Sent, frozen=True, kw_only=True):
    """Two images. `platform`: of which of two indexes' images, where they are such; `platforms`:
    those that both have. Sizes are of layers and config, each blob once. `isExact`: false where an
    image has more than 500 layers, of which the first are compared.
    """

    platform: str
    platforms: list[str]
    common: list[ImageLayer]
    removed: list[ImageLayer]
    added: list[ImageLayer]
    changes: list[ImageChange]
    size_before: int
    size_after: int
    is_exact: bool = True


# ---- manifests ---------------------------------------------------------------------------------
class Manifest(Sent, frozen=True, kw_only=True):
    """A manifest. `size` is of itself, `imageSize` of what it describes; `fault` and `isExact` are
    as in an image.
    """

    digest: str
    media_type: str
    size: int
    pushed_at: str
    tags: list[str]
    kind: str
    image_size: int
    platforms: list[str]
    fault: str = ""
    is_exact: bool = True


class Manifests(Sent, frozen=True, kw_only=True):
    """`isExact`: false where there are more than one request sorts: later digests are missing."""

    manifests: list[Manifest]
    next_page_start: str = ""
    is_exact: bool = True


class DeletionChoice(Sent, frozen=True, kw_only=True):
    """A tag or a digest that may be deleted, its image, and the other tags of that."""

    reference: str
    digest: str
    kind: str
    size: int
    other_tags: list[str]


class DeletionReferrer(Sent, frozen=True, kw_only=True):
    """A signature, an SBOM … of an image that may be deleted: it stays, and is about nothing."""

    digest: str
    kind: str


class DeletionPreview(Sent, frozen=True, kw_only=True):
    """What deleting the `images` of the chosen references does. `companions`: how many images of
    their indexes go with them, as nothing else names those. `usedBy`: indexes that stay and lose an
    image, and `referrers`: up to 20 of each. `freedBytes`: what is free once all of it has left the
    trash; with `isAtMost` without regard to what the caller may not see. `isExact`: false where
    something changed meanwhile, or more was to look at than one request does: all numbers are then
    those of a part.
    """

    chosen: list[DeletionChoice]
    images: list[str]
    companions: int
    used_by: list[ImageUse]
    referrers: list[DeletionReferrer]
    freed_bytes: int
    is_at_most: bool
    is_exact: bool


class Deletion(Sent, frozen=True, kw_only=True):
    """The deleted things, and the run that brings them back. `missing`: what was not there. `left`:
    what is still there, because one request deletes only so much: ask again for it.
    """

    run: str
    manifests: list[str]
    tags: list[str]
    missing: list[str]
    left: list[str]


class Restoration(Sent, frozen=True, kw_only=True):
    """The number of manifests that came back, and the tags; `tagsTaken` have another image by now.
    `left`: what is still in the trash, because one request restores only so much: ask again for it.
    """

    manifests: int
    tags: list[str]
    tags_taken: list[str]
    left: list[str]
