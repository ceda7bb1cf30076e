from __future__ import annotations

import pytest

from dtrfast.errors import ManifestInvalid
from dtrfast.oci.media_types import (
    KINDS,
    OCI_MANIFEST,
    SCHEMA1_TYPES,
    is_foreign_type,
    manifest_kind,
    parse_media_type,
)


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        (OCI_MANIFEST, OCI_MANIFEST),
        (OCI_MANIFEST + "; charset=utf-8", OCI_MANIFEST),
        (f"\t {OCI_MANIFEST} ;x", OCI_MANIFEST),
        ("Application/VND.x+JSON", "application/vnd.x+json"),
        ("a/b", "a/b"),
        ("x!#$&-^_.+/9" + "a" * 126, "x!#$&-^_.+/9" + "a" * 126),
        ("a" * 127 + "/" + "b" * 127, "a" * 127 + "/" + "b" * 127),
        ("a/b;" + "p" * 1000, "a/b"),
    ],
)
def test_a_header_is_read_without_its_parameters(header: str, media_type: str) -> None:
    assert parse_media_type(header) == media_type


@pytest.mark.parametrize(
    "header",
    [
        "",
        ";",
        "json",
        "/",
        "a/",
        "/b",
        "a/b/c",
        "*/*",
        "a b/c",
        "a/b\n",
        "+a/b",
        "a/" + "b" * 128,
        "x" * 10_000,
        # The Kelvin sign, whose lower case is an ASCII letter.
        "application/doc\u212aer",
    ],
)
def test_what_is_no_media_type_is_refused(header: str) -> None:
    with pytest.raises(ManifestInvalid, match="is not a media type: write type/subtype") as caught:
        parse_media_type(header)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("application/vnd.docker.distribution.manifest.v2+json", "image"),
        ("application/vnd.docker.distribution.manifest.list.v2+json", "index"),
        ("application/vnd.oci.image.manifest.v1+json", "image"),
        ("application/vnd.oci.image.index.v1+json", "index"),
        ("application/vnd.oci.artifact.manifest.v1+json", "artifact"),
    ],
)
def test_the_manifest_types_of_the_protocol_are_accepted(media_type: str, kind: str) -> None:
    assert manifest_kind(media_type) == kind


@pytest.mark.parametrize("media_type", sorted(SCHEMA1_TYPES))
def test_schema_1_is_refused_with_its_cure(media_type: str) -> None:
    with pytest.raises(ManifestInvalid, match=r"push with Docker 1\.10 or later"):
        manifest_kind(media_type)


@pytest.mark.parametrize("media_type", ["application/json", "application/x-" + "y" * 200])
def test_another_type_is_refused_with_a_list_of_the_accepted(media_type: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        manifest_kind(media_type)
    assert all(accepted in str(caught.value) for accepted in KINDS)


@pytest.mark.parametrize(
    ("media_type", "foreign"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", True),
        ("application/vnd.oci.image.layer.v1.tar+gzip", False),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", False),
    ],
)
def test_only_foreign_layers_may_be_absent(media_type: str, foreign: bool) -> None:
    assert is_foreign_type(media_type) == foreign
