from __future__ import annotations

import json

import pytest

from dtrfast.errors import ManifestInvalid
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import (
    Descriptor,
    Manifest,
    parse_manifest,
    referrer_descriptor,
    referrers_index,
)
from dtrfast.oci.media_types import (
    DOCKER_LAYER_FOREIGN,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1,
    OCI_ARTIFACT_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)

CONFIG, LAYER, OTHER, SUBJECT = (Digest.of_bytes(bytes([i])) for i in range(4))


def descriptor(digest: Digest, media_type: str = OCI_LAYER, **fields: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digest), "size": 1, **fields}


def image(**fields: object) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "config": descriptor(CONFIG, OCI_CONFIG),
        "layers": [descriptor(LAYER)],
        **fields,
    }


def index(**fields: object) -> dict[str, object]:
    return {"schemaVersion": 2, "manifests": [descriptor(OTHER, OCI_MANIFEST)], **fields}


def parse(document: object, content_type: str | None = None) -> Manifest:
    return parse_manifest(json.dumps(document).encode(), content_type)


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_an_image_names_its_config_and_layers(media_type: str) -> None:
    manifest = parse(image(), media_type)
    assert manifest.media_type == media_type
    assert manifest.kind == "image"
    assert manifest.config == Descriptor(OCI_CONFIG, CONFIG, 1)
    assert manifest.layers == (Descriptor(OCI_LAYER, LAYER, 1),)
    assert manifest.required_blobs() == (CONFIG, LAYER)
    assert manifest.children() == ()


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_MANIFEST_LIST])
def test_an_index_names_its_children(media_type: str) -> None:
    manifest = parse(index(), media_type)
    assert manifest.kind == "index"
    assert manifest.children() == (OTHER,)
    assert manifest.required_blobs() == ()


def test_an_artifact_names_its_blobs() -> None:
    document = {
        "artifactType": "a/b",
        "blobs": [descriptor(LAYER)],
        "mediaType": OCI_ARTIFACT_MANIFEST,
    }
    manifest = parse(document)
    assert manifest.kind == "artifact"
    assert manifest.artifact_type == "a/b"
    assert manifest.required_blobs() == (LAYER,)


def test_content_that_lives_elsewhere_is_not_required() -> None:
    layers = [
        descriptor(LAYER, DOCKER_LAYER_FOREIGN),
        descriptor(OTHER, urls=["https://example.com/layer"]),
    ]
    manifest = parse(image(layers=layers))
    assert manifest.required_blobs() == (CONFIG,)
    assert manifest.referenced_blobs() == (CONFIG, LAYER, OTHER)


def test_an_empty_list_of_urls_does_not_excuse_a_layer() -> None:
    assert parse(image(layers=[descriptor(LAYER, urls=[])])).required_blobs() == (CONFIG, LAYER)


def test_what_is_named_twice_is_required_once() -> None:
    manifest = parse(image(layers=[descriptor(LAYER), descriptor(CONFIG), descriptor(LAYER)]))
    assert manifest.required_blobs() == (CONFIG, LAYER)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (image(), OCI_MANIFEST),
        (image(mediaType=""), OCI_MANIFEST),
        (image(layers=None), OCI_MANIFEST),
        (image(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST),
        (index(), OCI_INDEX),
        (index(manifests=[]), OCI_INDEX),
        (index(mediaType=DOCKER_MANIFEST_LIST), DOCKER_MANIFEST_LIST),
        ({"blobs": []}, OCI_ARTIFACT_MANIFEST),
    ],
)
@pytest.mark.parametrize("content_type", [None, ""])
def test_without_a_header_the_body_says_what_it_is(
    document: object, media_type: str, content_type: str | None
) -> None:
    assert parse(document, content_type).media_type == media_type


def test_parameters_of_the_header_are_ignored() -> None:
    header = OCI_MANIFEST + "; charset=utf-8"
    assert parse(image(mediaType=OCI_MANIFEST), header).media_type == OCI_MANIFEST


@pytest.mark.parametrize("field", ["manifests", "annotations", "subject", "artifactType"])
def test_a_null_is_an_absent_field(field: str) -> None:
    assert parse({**index(), field: None}, OCI_INDEX).annotations == {}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (b"\xef\xbb\xbf{", b""),
        (b"{", b"\r\n"),
        (b'{"layers":[],"layers":null,', b""),
        (b'{"unknown":{"deep":[1,null,"\xff"]},', b""),
    ],
)
def test_oddities_of_the_bytes_are_no_reason_to_refuse(start: bytes, end: bytes) -> None:
    body = start + json.dumps(image()).encode()[1:] + end
    assert parse_manifest(body, None).required_blobs() == (CONFIG, LAYER)


def test_the_largest_manifest_is_understood() -> None:
    document = image(annotations={"padding": "x" * (4_194_304 - 1000)})
    assert len(parse(document).annotations["padding"]) == 4_194_304 - 1000


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"{", b"{}x", b"\x00", b'{"mediaType":"\xff"}', b'{"mediaType":"\\ud800"}'],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="is not JSON"):
        parse_manifest(body, OCI_MANIFEST)


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"'])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="Expected `object`"):
        parse_manifest(body, OCI_MANIFEST)


def test_json_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ManifestInvalid, match="nested too deeply"):
        parse_manifest(b'{"x":' + b"[" * 100_000, OCI_MANIFEST)


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, None),
        ({"schemaVersion": 1}, OCI_MANIFEST),
        ({"mediaType": DOCKER_SCHEMA1}, None),
        ({}, DOCKER_SCHEMA1),
    ],
)
def test_schema_1_is_refused(document: object, content_type: str | None) -> None:
    with pytest.raises(ManifestInvalid, match="schema 1"):
        parse(document, content_type)


@pytest.mark.parametrize(
    ("document", "content_type", "message"),
    [
        (image(schemaVersion=3), None, "schemaVersion is not 2"),
        (image(mediaType=DOCKER_MANIFEST), OCI_MANIFEST, "send the same in both"),
        (image(mediaType="nonsense"), None, "is not a media type"),
        (image(), "application/json", "are not accepted: use one of"),
        (image(), "nonsense", "is not a media type"),
        ({"schemaVersion": 2}, None, "send its type in Content-Type"),
        ({"schemaVersion": 2}, OCI_MANIFEST, "needs a config"),
        (image(config=None), None, "needs a config"),
        (image(manifests=[]), OCI_MANIFEST, "sent as an image but has fields of an index"),
        (index(layers=[]), OCI_INDEX, "sent as an index but has fields of an image"),
        (image(), OCI_INDEX, "sent as an index but has fields of an image"),
        (image(blobs=[]), OCI_MANIFEST, "has fields of an artifact"),
    ],
)
def test_a_contradiction_is_refused(
    document: object, content_type: str | None, message: str
) -> None:
    with pytest.raises(ManifestInvalid, match=message):
        parse(document, content_type)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"digest": "sha256:0"}, r"layers\[0\]: 'sha256:0' is not a digest"),
        ({"digest": ""}, r"layers\[0\]: '' is not a digest"),
        ({"digest": "blake3:" + "0" * 64}, r"layers\[0\]: .* use sha256 or sha512"),
        ({"digest": None}, r"\$\.layers\[0\]\.digest"),
        ({"size": -1}, r">= 0 - at `\$\.layers\[0\]\.size`"),
        ({"size": 2**63}, r"\$\.layers\[0\]\.size"),
        ({"size": 1.5}, r"\$\.layers\[0\]\.size"),
        ({"size": "1"}, r"\$\.layers\[0\]\.size"),
        ({"urls": "https://example.com"}, r"\$\.layers\[0\]\.urls"),
    ],
)
def test_a_bad_descriptor_is_refused_with_its_place(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ManifestInvalid, match=message):
        parse(image(layers=[{**descriptor(LAYER), **fields}]))


@pytest.mark.parametrize("missing", ["digest", "size"])
def test_a_descriptor_needs_digest_and_size(missing: str) -> None:
    config = descriptor(CONFIG)
    del config[missing]
    with pytest.raises(ManifestInvalid, match=f"missing required field `{missing}`"):
        parse(image(config=config))


def test_a_descriptor_without_a_media_type_is_taken() -> None:
    layer = {"digest": str(LAYER), "size": 0}
    assert parse(image(layers=[layer])).layers == (Descriptor("", LAYER, 0),)


@pytest.mark.parametrize("annotations", [{"a": 1}, {"a": None}, [], "x"])
def test_annotations_are_text(annotations: object) -> None:
    with pytest.raises(ManifestInvalid, match="annotations"):
        parse(image(annotations=annotations))


@pytest.mark.parametrize(
    ("document", "artifact_type"),
    [
        (image(artifactType="a/b"), "a/b"),
        (image(), OCI_CONFIG),
        (image(artifactType=""), OCI_CONFIG),
        (image(artifactType="a/b", config=descriptor(CONFIG, OCI_EMPTY)), "a/b"),
        (image(config=descriptor(CONFIG, "")), None),
        (index(artifactType="a/b"), "a/b"),
        (index(), None),
        ({"blobs": []}, None),
    ],
)
def test_the_artifact_type_follows_the_rule_of_the_referrers_list(
    document: object, artifact_type: str | None
) -> None:
    assert parse(document).artifact_type == artifact_type


@pytest.mark.parametrize("document", [image(), index()])
def test_a_subject_is_named_but_not_required(document: dict[str, object]) -> None:
    manifest = parse({**document, "subject": descriptor(SUBJECT, OCI_MANIFEST)})
    assert manifest.subject == Descriptor(OCI_MANIFEST, SUBJECT, 1)
    assert SUBJECT not in (*manifest.referenced_blobs(), *manifest.children())


def test_a_referrer_is_listed_with_its_type_and_annotations() -> None:
    manifest = parse(image(artifactType="a/b", annotations={"b": "é", "a": '"'}))
    assert referrer_descriptor(manifest, OTHER, 7).decode() == (
        '{"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"digest":"{OTHER}","size":7,"artifactType":"a/b",'
        '"annotations":{"b":"é","a":"\\""}}'
    )


def test_a_referrer_omits_what_its_manifest_does_not_have() -> None:
    assert json.loads(referrer_descriptor(parse(index(annotations={})), OTHER, 7)) == {
        "mediaType": OCI_INDEX,
        "digest": str(OTHER),
        "size": 7,
    }


def test_a_referrers_list_without_entries_has_an_empty_array() -> None:
    assert json.loads(referrers_index([])) == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
    }


def test_a_referrers_list_is_an_index_of_its_entries() -> None:
    entries = [referrer_descriptor(parse(image()), digest, 7) for digest in (LAYER, OTHER)]
    listed = referrers_index(iter(entries))
    assert entries[0] + b"," + entries[1] in listed
    assert parse_manifest(listed, OCI_INDEX).children() == (LAYER, OTHER)
