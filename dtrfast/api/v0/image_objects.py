"""What the management API sends of images."""

from __future__ import annotations

from dtrfast.api.v0.objects import Sent


class Image(Sent, frozen=True, kw_only=True):
    """A tag, and what it points at. `size`: of layers and config, of an index of all its images."""

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


class Images(Sent, frozen=True, kw_only=True):
    """`count`: how many tags pass the filter, as far as 20,000."""

    images: list[Image]
    count: int
    next_page_start: str = ""


class ImageLayer(Sent, frozen=True, kw_only=True):
    """A layer and the command that made it; a step that made none has no digest."""

    command: str
    created: str
    digest: str
    size: int
    media_type: str


class ImagePlatform(Sent, frozen=True, kw_only=True):
    """An entry of an index. `isThere`: it has not been deleted."""

    digest: str
    media_type: str
    platform: str
    kind: str
    size: int
    is_there: bool


class ImageReferrer(Sent, frozen=True, kw_only=True):
    """A manifest about this one: a signature, an SBOM … `tag`: where cosign keeps it, if there."""

    digest: str
    kind: str
    artifact_type: str
    size: int
    annotations: dict[str, str]
    tag: str


class ImageDetail(Sent, frozen=True, kw_only=True):
    """What a manifest and its config say. Fields that it has not are empty."""

    digest: str
    media_type: str
    kind: str
    size: int
    manifest_size: int
    pushed_at: str
    pulled_at: str
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
    labels: dict[str, str]
    layers: list[ImageLayer]
    platforms: list[ImagePlatform]
    referrers: list[ImageReferrer]


class ImageChange(Sent, frozen=True, kw_only=True):
    field: str
    before: str
    after: str


class ImageComparison(Sent, frozen=True, kw_only=True):
    """Two images. `platform`: of which of two indexes' images, where they are such."""

    platform: str
    common: list[ImageLayer]
    removed: list[ImageLayer]
    added: list[ImageLayer]
    changes: list[ImageChange]
    size_before: int
    size_after: int
