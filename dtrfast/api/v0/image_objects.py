"""Objects that the management API sends about images and manifests."""

from __future__ import annotations

from dtrfast.api.v0.objects import ApiObject, ListPage
from dtrfast.oci.images import FieldChange
from dtrfast.registry.attachments import ImageReferrer
from dtrfast.registry.descriptions import ImageUse
from dtrfast.registry.images import ImagePlatform


class Image(ApiObject, frozen=True, kw_only=True):
    """A tag and its image. `size` is in bytes: of layers and config, and for an index of all that
    it lists; each blob counts once. `created` is empty if the image has no date. `fault` is the
    reason why clients cannot read the manifest, and its place; empty if they can. `isExact` is
    false if the image is too large for one request: `size` and `platforms` are then a part.
    `attached` has the kinds of manifests about the image, such as `signature`, `SBOM` and
    `attestation`, as far as one request reads. The registry does not verify signatures.
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
    attached: list[str]


class Images(ListPage, frozen=True, kw_only=True):
    """`count` is the number of tags that pass the filter, among the first 20,000; `isCountExact` is
    false if there are more. `folded` is the number of those that the list leaves out, because they
    belong to an image. `isExact` is false if there are more tags than one request sorts: later
    names are missing.
    """

    images: list[Image]
    count: int
    folded: int = 0
    is_exact: bool = True
    is_count_exact: bool = True


class ImageLayer(ApiObject, frozen=True, kw_only=True):
    """A layer and the command that made it. A step that made no layer has no digest. `title` is the
    name of a file, from the annotations of artifacts.
    """

    command: str
    created: str
    digest: str
    size: int
    media_type: str
    title: str = ""


class ImageDetail(ApiObject, frozen=True, kw_only=True):
    """A manifest with its config. Fields that it does not have are empty. `usedBy` has up to 20
    indexes of the repository that name it. `pulledAt` is the last pull by any name; `tagPulledAt`,
    as in lists, the last pull by the requested tag or by digest. `fault` is the reason why clients
    cannot read the manifest, and its place: an older version stored it. `isExact` is false if a
    list is longer, or the size greater, than shown.
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


class ImageComparison(ApiObject, frozen=True, kw_only=True):
    """The differences between two images. For two indexes, their images of `platform` are compared;
    `platforms` are those that both have. Sizes are of layers and config, in bytes; each blob counts
    once. `isExact` is false if an image has more than 500 layers: the first ones are compared.
    """

    platform: str
    platforms: list[str]
    common: list[ImageLayer]
    removed: list[ImageLayer]
    added: list[ImageLayer]
    changes: list[FieldChange]
    size_before: int
    size_after: int
    is_exact: bool = True


# ---- manifests ---------------------------------------------------------------------------------
class Manifest(ApiObject, frozen=True, kw_only=True):
    """A manifest. `size` is its own size in bytes, `imageSize` that of its image. `fault`,
    `isExact` and `attached` are as in `Image`.
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
    attached: list[str]


class Manifests(ListPage, frozen=True, kw_only=True):
    """`isExact` is false if there are more than one request sorts: later digests are missing."""

    manifests: list[Manifest]
    is_exact: bool = True
