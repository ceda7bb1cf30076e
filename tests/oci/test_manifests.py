from __future__ import annotations

import base64
import json
import re

import pytest

from dtrfast.errors import ManifestInvalid
from dtrfast.oci.digests import Digest
from dtrfast.oci.documents import DEPTH_MAX, PlatformDocument
from dtrfast.oci.manifests import (
    CHEAP_DESCRIPTORS_MAX,
    DESCRIPTORS_MAX,
    Descriptor,
    Manifest,
    parse_manifest,
    read_manifest,
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
    }  # the artifact specification had no schemaVersion
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
    [b"", b"x", b"{", b"{}x", b"\x00", b'{"a":"\n"}', b'{"a":"\\x"}', b'{"a":[1,]}', b'{"a":NaN}'],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="is not JSON"):
        parse_manifest(body, OCI_MANIFEST)


@pytest.mark.parametrize("body", [b"[]", b" 1", b'"x"'])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="clients can read only an object there"):
        parse_manifest(body, OCI_MANIFEST)


def test_a_null_is_an_empty_manifest() -> None:
    with pytest.raises(ManifestInvalid, match="schemaVersion is missing"):
        parse_manifest(b"null", OCI_MANIFEST)


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_a_byte_order_mark_is_refused(start: bytes) -> None:
    body = json.dumps(image()).encode()
    with pytest.raises(ManifestInvalid, match=r"byte order mark|not JSON"):
        parse_manifest(start + body, OCI_MANIFEST)


def test_json_nested_too_deeply_is_refused() -> None:
    """A later reader, deeper in its stack, must be able to skip the values of an accepted push."""
    body = json.dumps(image()).encode()[:-1] + b',"x":%s}'
    deep = (DEPTH_MAX - 1) * b"[" + (DEPTH_MAX - 1) * b"]"
    assert parse_manifest(body % deep, OCI_MANIFEST).required_blobs() == (CONFIG, LAYER)
    for value in (b"[" + deep + b"]", b'{"a":' * 600 + b"1" + b"}" * 600, b"[" * 100_000):
        with pytest.raises(ManifestInvalid, match="nested too deeply"):
            parse_manifest(body % value, OCI_MANIFEST)


def test_brackets_in_texts_are_no_levels() -> None:
    texts = [{'["': '\\"[[{'}, "]", '"'] * 400
    assert parse(image(unknown=texts)).required_blobs() == (CONFIG, LAYER)


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
        (image(schemaVersion=None), None, "schemaVersion is missing"),
        (image(schemaVersion="2"), None, "schemaVersion is text"),
        (image(schemaVersion=2.0), None, "schemaVersion is a number: .* without fraction"),
        (index(schemaVersion=0), None, "schemaVersion is not 2"),
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
        (index(layers=None), OCI_INDEX, "remove layers$"),
        (image(manifests=None), OCI_MANIFEST, "remove manifests"),
        (image(history=[]), OCI_MANIFEST, "history is a field of schema 1"),
        (index(FSLayers=None), OCI_INDEX, "fsLayers is a field of schema 1"),
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
        ({"digest": "sha256:0"}, r"layers[0].digest: 'sha256:0' is not a digest"),
        ({"digest": ""}, "layers[0].digest: '' is not a digest"),
        ({"digest": "blake3:" + "0" * 64}, "layers[0].digest: "),
        ({"digest": None}, "layers[0].digest is missing"),
        ({"digest": 5}, "layers[0].digest is a number"),
        ({"size": -1}, "layers[0].size is not between 0 and 2^63 - 1"),
        ({"size": 2**63}, "layers[0].size is not between 0 and 2^63 - 1"),
        ({"size": 2**80}, "layers[0].size is not between 0 and 2^63 - 1"),
        ({"size": None}, "layers[0].size is missing"),
        ({"size": 1.0}, "layers[0].size is a number: clients can read only a number without"),
        ({"size": "1"}, "layers[0].size is text"),
        ({"size": True}, "layers[0].size is true"),
        ({"SIZE": "1"}, "layers[0].size is text"),
        ({"urls": "https://example.com"}, "layers[0].urls is text"),
        ({"urls": ["a", 5]}, "layers[0].urls[1] is a number: clients can read only text there"),
        ({"mediaType": []}, "layers[0].mediaType is a list"),
        ({"artifactType": 1}, "layers[0].artifactType is a number"),
        ({"annotations": {"ok": "", "x": 1}}, 'layers[0].annotations["x"] is a number'),
        ({"annotations": {'"': {}}}, r'layers[0].annotations["\""] is an object'),
        ({"annotations": ["a"]}, "layers[0].annotations is a list"),
        ({"Annotations": "a"}, "layers[0].annotations is text"),
        ({"platform": "linux/amd64"}, "layers[0].platform is text"),
        ({"platform": {"os": 1}}, "layers[0].platform.os is a number"),
        ({"platform": {"os.version": {}}}, "layers[0].platform.os.version is an object"),
        ({"platform": {"os.features": "x"}}, "layers[0].platform.os.features is text"),
        ({"platform": {"os.features": [1]}}, "layers[0].platform.os.features[0] is a number"),
        ({"platform": {"features": [1]}}, "layers[0].platform.features[0] is a number"),
        ({"data": 5}, "layers[0].data is a number"),
        ({"data": "%%%%"}, "layers[0].data is not base64"),
        ({"data": "YQ"}, "layers[0].data is not base64"),
        ({"data": "YQ=="}, "layers[0].data is not the content of sha256:"),
        ({"data": ""}, "layers[0].data is not the content of sha256:"),
    ],
)
def test_a_bad_descriptor_is_refused_with_its_place(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ManifestInvalid, match=re.escape(message)):
        parse(image(layers=[{**descriptor(LAYER), **fields}]))
    with pytest.raises(ManifestInvalid, match=re.escape(message.replace("layers[0]", "config"))):
        parse(image(config={**descriptor(CONFIG), **fields}))
    with pytest.raises(ManifestInvalid, match=re.escape(message.replace("layers", "manifests"))):
        parse(index(manifests=[{**descriptor(OTHER), **fields}]))
    with pytest.raises(ManifestInvalid, match=re.escape(message.replace("layers[0]", "subject"))):
        parse(index(subject={**descriptor(SUBJECT), **fields}))


@pytest.mark.parametrize("missing", ["digest", "size"])
def test_a_descriptor_needs_digest_and_size(missing: str) -> None:
    config = descriptor(CONFIG)
    del config[missing]
    with pytest.raises(ManifestInvalid, match=f"config.{missing} is missing"):
        parse(image(config=config))


@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"])
def test_embedded_data_is_the_content(line_end: str) -> None:
    data = base64.b64encode(bytes([1])).decode()
    layer = {**descriptor(LAYER), "data": data[:2] + line_end + data[2:] + line_end}
    assert parse(image(layers=[layer])).required_blobs() == (CONFIG, LAYER)


@pytest.mark.parametrize(
    "fields",
    [
        {"annotations": None, "urls": None, "platform": None, "data": None, "artifactType": None},
        {"annotations": {}, "urls": [], "platform": {}, "unknown": [1], "history": 5},
        {"platform": {"os": None, "os.features": None, "unknown": 1, "os.version": ""}},
        {"platform": {"os.features": [None]}, "annotations": {"a": None}},
    ],
)
def test_nulls_and_unknown_fields_are_welcome(fields: dict[str, object]) -> None:
    assert parse(image(layers=[{**descriptor(LAYER), **fields}])).required_blobs() == (
        CONFIG,
        LAYER,
    )


def test_a_null_reads_as_an_empty_text() -> None:
    layer = descriptor(LAYER, urls=[None], annotations={"a": None})
    found = parse(image(layers=[layer], annotations={"a": None, "b": "c"}))
    assert found.annotations == {"a": "", "b": "c"}
    assert found.layers == (Descriptor(OCI_LAYER, LAYER, 1, ("",), {"a": ""}),)


def test_names_count_in_any_case() -> None:
    text = json.dumps(image()).replace('"layers"', '"LAYERS"').replace('"size"', '"\\u017fize"')
    assert parse_manifest(text.encode(), OCI_MANIFEST) == parse(image(), OCI_MANIFEST)


def test_the_last_value_of_a_name_counts() -> None:
    other = json.dumps([descriptor(OTHER)])
    for names in ('"layers":5,"Layers":', '"Layers":null,"layers":'):
        body = json.dumps(image()).encode()[:-1] + f",{names}{other}}}".encode()
        found = read_manifest(body, OCI_MANIFEST)
        assert found.required_blobs() == (CONFIG, OTHER)
    with pytest.raises(ManifestInvalid, match="layers is a number"):
        parse_manifest(body.replace(b"null", b"5"), OCI_MANIFEST)


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"\xff\xe2\x82", "\ufffd" * 3), (rb"\ud800\u0041", "\ufffdA"), (rb"\\ud800", r"\ud800")],
)
def test_bytes_that_are_no_text_read_as_in_go(raw: bytes, text: str) -> None:
    body = json.dumps(image(annotations={"a": "PLACE"})).encode().replace(b"PLACE", raw)
    assert parse_manifest(body, OCI_MANIFEST).annotations == {"a": text}


def test_at_most_ten_thousand_descriptors() -> None:
    entries = [descriptor(OTHER, OCI_MANIFEST)] * DESCRIPTORS_MAX
    foreign = [descriptor(OTHER, DOCKER_LAYER_FOREIGN)] * DESCRIPTORS_MAX
    assert len(parse(index(manifests=entries)).manifests) == DESCRIPTORS_MAX == 10_000
    for document in (
        index(manifests=entries, subject=descriptor(SUBJECT)),
        image(layers=entries),
        image(layers=[*foreign[1:], descriptor(OTHER, OCI_LAYER)]),
        image(layers=[{**foreign[0], "urls": []}, *foreign[1:]]),
    ):
        with pytest.raises(ManifestInvalid, match="has 10001 descriptors, more than 10000"):
            parse(document)
    with pytest.raises(ManifestInvalid, match="more than 10000 descriptors in layers"):
        parse(image(layers=[*foreign, foreign[0]], unknown=1))


def test_more_descriptors_of_foreign_layers() -> None:
    layers = [descriptor(OTHER, DOCKER_LAYER_FOREIGN)] * CHEAP_DESCRIPTORS_MAX
    assert len(parse(image(layers=layers[1:])).layers) == CHEAP_DESCRIPTORS_MAX - 1 == 25_999
    with pytest.raises(ManifestInvalid, match="has 26001 descriptors, more than 26000"):
        parse(image(layers=layers))


@pytest.mark.parametrize("wrong", ["", "x", f"{LAYER}\n", f"{LAYER}\n{OTHER}", str(LAYER).upper()])
def test_one_wrong_digest_among_many_is_named(wrong: str) -> None:
    layers = [descriptor(OTHER), {**descriptor(LAYER), "digest": wrong}, descriptor(OTHER)]
    with pytest.raises(ManifestInvalid, match=r"layers\[1\].digest"):
        parse(image(layers=layers))


# ---- stored manifests ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (image(), ""),
        (image(schemaVersion=None), "schemaVersion is missing: clients need the number 2 there"),
        (image(layers=[descriptor(LAYER, annotations={"x": 1})]), 'layers[0].annotations["x"]'),
        (image(layers=[descriptor(LAYER, data="%")]), "layers[0].data is not base64"),
        (image(manifests=None, annotations={"a": 5}), 'annotations["a"] is a number'),
        (image(layers=[descriptor(LAYER), {"digest": 5}]), "layers[1].digest is a number"),
        (image(layers=[descriptor(LAYER), None]), "layers[1].digest is missing"),
    ],
)
def test_a_stored_manifest_stays_readable_and_has_its_fault(
    document: dict[str, object], fault: str
) -> None:
    for start in (b"", b"\xef\xbb\xbf"):
        found = read_manifest(start + json.dumps(document).encode(), OCI_MANIFEST)
        assert found.required_blobs() == (CONFIG, LAYER)
        assert found.kind == "image"
        assert ("byte order mark" in found.fault) if start else found.fault.startswith(fault)
        assert bool(found.fault) == bool(start or fault)


def test_a_stored_index_keeps_its_platforms() -> None:
    entry = descriptor(OTHER, annotations={"n": 7}, platform={"os": "linux", "architecture": 5})
    found = read_manifest(json.dumps(index(manifests=[entry])).encode(), OCI_INDEX)
    assert found.manifests[0].platform == PlatformDocument(os="linux")
    assert found.fault.startswith('manifests[0].annotations["n"] is a number')


def test_a_stored_manifest_may_have_more_descriptors_and_levels() -> None:
    entries = [descriptor(OTHER)] * (DESCRIPTORS_MAX + 1)
    deep = json.loads("[" * 550 + "]" * 550)
    found = read_manifest(json.dumps(index(manifests=entries, unknown=deep)).encode(), OCI_INDEX)
    assert (found.fault, len(found.manifests)) == ("", DESCRIPTORS_MAX + 1)


@pytest.mark.parametrize("body", [b"", b"x", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_nothing_stored_raises(body: bytes) -> None:
    found = read_manifest(body, DOCKER_MANIFEST_LIST)
    assert found.fault
    assert (found.media_type, found.kind, found.children()) == (DOCKER_MANIFEST_LIST, "index", ())


# ---- the rest --------------------------------------------------------------------------------
def test_a_descriptor_without_a_media_type_is_taken() -> None:
    layer = {"digest": str(LAYER), "size": 0}
    assert parse(image(layers=[layer])).layers == (Descriptor("", LAYER, 0),)


@pytest.mark.parametrize("annotations", [{"a": 1}, [], "x"])
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
