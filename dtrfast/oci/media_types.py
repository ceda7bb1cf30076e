"""Media types: the accepted manifests, the layers that may be absent, and the parser of headers.

Media types of configs, layers and artifacts are opaque. Only the types of manifests and of foreign
layers change what the registry does.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from dtrfast.errors import ManifestInvalid

Kind: TypeAlias = Literal["image", "index", "artifact"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT_MANIFEST = "application/vnd.oci.artifact.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

OCTET_STREAM = "application/octet-stream"

KINDS: dict[str, Kind] = {
    OCI_MANIFEST: "image",
    DOCKER_MANIFEST: "image",
    OCI_INDEX: "index",
    DOCKER_MANIFEST_LIST: "index",
    OCI_ARTIFACT_MANIFEST: "artifact",
}
MANIFEST_TYPES = frozenset(KINDS)
SCHEMA1_TYPES = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
# Clients get the bytes of these layers from other servers, so a manifest may name them without a
# push.
FOREIGN_TYPES = frozenset(
    {
        DOCKER_LAYER_FOREIGN,
        OCI_LAYER_NONDISTRIBUTABLE,
        OCI_LAYER_NONDISTRIBUTABLE + "+gzip",
        OCI_LAYER_NONDISTRIBUTABLE + "+zstd",
    }
)

MEDIA_TYPE_LENGTH_MAX = 255

# RFC 6838 section 4.2: restricted names of at most 127 characters.
_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_match_media_type = re.compile(f"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}").fullmatch

# Messages repeat at most this much of a refused text.
_SHOWN_LENGTH_MAX = 80


def parse_media_type(header: str) -> str:
    """Return type and subtype in lower case, without parameters. Raises `ManifestInvalid`."""
    if header in MANIFEST_TYPES:
        return header
    text = header.partition(";")[0].strip(" \t")
    if len(text) > MEDIA_TYPE_LENGTH_MAX or _match_media_type(text) is None:
        raise ManifestInvalid(
            f"{text[:_SHOWN_LENGTH_MAX]!r} is not a media type: write type/subtype, as in"
            f" {OCI_MANIFEST}"
        )
    return text.lower()


def is_foreign_type(media_type: str) -> bool:
    return media_type in FOREIGN_TYPES


def manifest_kind(media_type: str) -> Kind:
    """Return the kind of manifests of this type. Raises `ManifestInvalid` if it is not accepted."""
    kind = KINDS.get(media_type)
    if kind is not None:
        return kind
    if media_type in SCHEMA1_TYPES:
        raise schema1_refusal()
    raise ManifestInvalid(
        f"manifests of type {media_type[:_SHOWN_LENGTH_MAX]!r} are not accepted: use one of"
        f" {', '.join(KINDS)}"
    )


def schema1_refusal() -> ManifestInvalid:
    # Old Docker clients show this message after their second attempt.
    return ManifestInvalid(
        "manifests of schema 1 are not accepted: push with Docker 1.10 or later, or any OCI client"
    )
