"""end-3, end-7 and end-9: manifests by tag or digest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from dtrfast.api.v2.manifests import TAGS_MAX
from dtrfast.config import RegistryConfig
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_ARTIFACT_MANIFEST,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_NONDISTRIBUTABLE,
    OCI_MANIFEST,
)
from tests.api.conftest import World
from tests.fakes.client import (
    NAME,
    Client,
    descriptor,
    failure,
    image_manifest,
    index_manifest,
)

URL = f"/v2/{NAME}/manifests"
LIMIT = 4 * 1024 * 1024


def put(
    client: Client, reference: str, body: bytes, content_type: str = OCI_MANIFEST
) -> tuple[int, list[str]]:
    """Push a manifest that is refused. Returns the answer, after a check that nothing changed."""
    before = client.snapshot()
    headers = {"content-type": content_type} if content_type else {}
    response = client.put(f"{URL}/{reference}", content=body, headers=headers)
    assert client.snapshot() == before
    assert client.head(f"{URL}/{Digest.of_bytes(body)}").status_code == 404
    answer = failure(response)
    return answer.status, answer.codes


# ---- put and get ------------------------------------------------------------------------------
def test_a_manifest_and_its_headers(client: Client) -> None:
    body = client.image()
    digest = str(Digest.of_bytes(body))
    response = client.put(f"{URL}/latest", content=body, headers={"content-type": OCI_MANIFEST})
    assert response.status_code == 201
    assert response.headers["location"] == f"{URL}/{digest}"
    assert response.headers["docker-content-digest"] == digest
    assert response.headers["content-length"] == "0"
    assert "oci-subject" not in response.headers
    assert "warning" not in response.headers
    for reference, cache in (("latest", "no-cache"), (digest, "max-age=31536000")):
        expected = {
            "content-length": str(len(body)),
            "content-type": OCI_MANIFEST,
            "docker-content-digest": digest,
            "etag": f'"{digest}"',
            "cache-control": cache,
            "docker-distribution-api-version": "registry/2.0",
            "x-content-type-options": "nosniff",
        }
        got = client.get(f"{URL}/{reference}", headers={"accept": "text/html"})
        assert (got.status_code, got.content, dict(got.headers)) == (200, body, expected)
        head = client.head(f"{URL}/{reference}")
        assert (head.status_code, head.content, dict(head.headers)) == (200, b"", expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b"\n",
        lambda body: b"\r\n\t " + body,
        lambda body: body.replace(b", ", b",\r\n  "),
        lambda body: body[:-1] + b', "unknown": [1, 2, {"x": null}], "schemaVersion": 2}',
    ],
)
def test_bytes_come_back_as_they_went_in(client: Client, change: object) -> None:
    assert callable(change)
    body = change(client.image())
    client.push_manifest(body, "latest")
    assert client.get(f"{URL}/latest").content == body


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (OCI_MANIFEST, OCI_MANIFEST),
        (OCI_MANIFEST + "; charset=utf-8", OCI_MANIFEST),
        (DOCKER_MANIFEST, DOCKER_MANIFEST),
        ("", OCI_MANIFEST),
    ],
)
def test_the_type_is_the_one_sent(client: Client, sent: str, stored: str) -> None:
    document = json.loads(client.image())
    del document["mediaType"]
    headers = {"content-type": sent} if sent else {}
    body = json.dumps(document).encode()
    assert client.put(f"{URL}/latest", content=body, headers=headers).status_code == 201
    assert client.get(f"{URL}/latest").headers["content-type"] == stored


def test_a_tag_moves(client: Client) -> None:
    first = client.push_image("latest", layer=b"one")
    second = client.push_image("latest", layer=b"two")
    assert client.head(f"{URL}/latest").headers["docker-content-digest"] == second
    assert client.head(f"{URL}/{first}").status_code == 200
    client.delete(f"{URL}/{first}")
    assert client.head(f"{URL}/latest").status_code == 200


def test_tags_differ_by_case(client: Client) -> None:
    digests = {tag: client.push_image(tag, layer=tag.encode()) for tag in ("v1", "V1")}
    for tag, digest in digests.items():
        assert client.head(f"{URL}/{tag}").headers["docker-content-digest"] == digest


def test_a_manifest_by_digest_has_no_tag(client: Client) -> None:
    body = client.image()
    client.push_manifest(body, str(Digest.of_bytes(body)))
    assert client.get(f"/v2/{NAME}/tags/list").json() == {"name": NAME, "tags": []}
    assert client.get(f"{URL}/{Digest.of_bytes(body)}").content == body


def test_the_same_manifest_twice(client: Client) -> None:
    assert client.push_image("a") == client.push_image("a") == client.push_image("b")


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for offset in range(0, len(body), 1000):
        yield body[offset : offset + 1000]


def test_a_chunked_manifest(client: Client) -> None:
    body = client.image()
    headers = {"content-type": OCI_MANIFEST}
    response = client.put(f"{URL}/latest", content=pieces(body), headers=headers)
    assert response.status_code == 201
    assert client.get(f"{URL}/latest").content == body


@pytest.mark.parametrize("reference", ["latest", "digest"])
def test_a_large_manifest(client: Client, reference: str) -> None:
    body = client.image()
    body = body[:-1] + b', "annotations": {"a": "%s"}}' % (b"x" * (LIMIT - len(body) - 26))
    assert LIMIT - 10 < len(body) <= LIMIT
    target = str(Digest.of_bytes(body)) if reference == "digest" else reference
    client.push_manifest(body, target)
    assert client.get(f"{URL}/{target}").content == body


@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT])
@pytest.mark.parametrize("with_length", [True, False])
def test_a_manifest_that_is_too_large(client: Client, size: int, with_length: bool) -> None:
    body = b" " * size
    headers = {"content-type": OCI_MANIFEST}
    content = body if with_length else pieces(body)
    answer = failure(client.put(f"{URL}/latest", content=content, headers=headers))
    assert (answer.status, answer.codes) == (413, ["MANIFEST_INVALID"])
    assert client.get("/v2/_catalog").json() == {"repositories": []}


def test_the_largest_manifest_is_a_setting(world: World) -> None:
    client = world.client(registry=RegistryConfig(manifest_size_max=65_536))
    assert put(client, "latest", b" " * 65_537) == (413, ["MANIFEST_INVALID"])


# ---- what is refused --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"text",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"schemaVersion": 2}',
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": []}',
        b'{"schemaVersion": 2, "config": 5, "layers": []}',
        b'{"schemaVersion": 2, "config": {"digest": "x", "size": 2}, "layers": []}',
        b'{"schemaVersion": 2, "mediaType": "text/plain"}',
        b"\xef\xbb\xbf" + image_manifest(b"layer"),
        index_manifest(),
    ],
)
@pytest.mark.parametrize("prepared", [True, False])
def test_what_is_not_a_manifest(client: Client, body: bytes, prepared: bool) -> None:
    if prepared:
        client.push_image("there")
    assert put(client, "latest", body) == (400, ["MANIFEST_INVALID"])


@pytest.mark.parametrize(
    "content_type", [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, "text/html", "x", OCI_INDEX]
)
def test_types_that_are_not_accepted(client: Client, content_type: str) -> None:
    assert put(client, "latest", client.image(), content_type) == (400, ["MANIFEST_INVALID"])


@pytest.mark.parametrize(
    "tag", [".a", "-a", "a" * 129, "a%2Fb", "%C3%A9", "a%20b", "%2e%2e", "a+b"]
)
def test_a_bad_tag(client: Client, tag: str) -> None:
    assert put(client, tag, client.image()) == (400, ["TAG_INVALID"])
    for method in ("GET", "DELETE"):
        answer = failure(client.request(method, f"{URL}/{tag}"))
        assert (answer.status, answer.codes) == (404, ["MANIFEST_UNKNOWN"])


@pytest.mark.parametrize("tag", ["a" * 128, "_", "sha256-abc.sig", "1.0.0", "A"])
def test_a_good_tag(client: Client, tag: str) -> None:
    client.push_image(tag)
    assert client.get(f"/v2/{NAME}/tags/list").json()["tags"] == [tag]


@pytest.mark.parametrize("digest", ["sha256:totallywrong", "sha256:", ":", "md5:" + "0" * 32])
def test_a_malformed_digest(client: Client, digest: str) -> None:
    assert put(client, digest, client.image()) == (400, ["DIGEST_INVALID"])
    for method in ("GET", "DELETE"):
        answer = failure(client.request(method, f"{URL}/{digest}"))
        assert (answer.status, answer.codes) == (404, ["MANIFEST_UNKNOWN"])


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_another_digest_than_the_content_has(client: Client, algorithm: str) -> None:
    wrong = Digest.of_bytes(b"wrong", algorithm)  # type: ignore[arg-type]
    assert put(client, str(wrong), client.image()) == (400, ["DIGEST_INVALID"])
    assert client.head(f"{URL}/{wrong}").status_code == 404


@pytest.mark.parametrize("name", [NAME, "none/here"])
@pytest.mark.parametrize("reference", ["missing", str(Digest.of_bytes(b"missing"))])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_an_unknown_manifest(client: Client, method: str, reference: str, name: str) -> None:
    client.push_image("latest")
    response = client.request(method, f"/v2/{name}/manifests/{reference}")
    if method == "HEAD":
        assert (response.status_code, response.content) == (404, b"")
    else:
        answer = failure(response)
        assert (answer.status, answer.codes) == (404, ["MANIFEST_UNKNOWN"])


# ---- content that has to be there -------------------------------------------------------------
def test_missing_blobs_are_all_named(client: Client) -> None:
    client.push_blob(b"here")
    body = image_manifest(b"here", b"missing", b"missing", config=b"missing too")
    response = client.put(f"{URL}/latest", content=body, headers={"content-type": OCI_MANIFEST})
    answer = failure(response)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_BLOB_UNKNOWN"] * 2)
    details = [entry["detail"] for entry in response.json()["errors"]]
    assert details == [str(Digest.of_bytes(content)) for content in (b"missing too", b"missing")]
    assert client.get(f"{URL}/latest").status_code == 404


def test_missing_blobs_make_no_repository(client: Client) -> None:
    assert put(client, "latest", image_manifest(b"layer")) == (400, ["MANIFEST_BLOB_UNKNOWN"] * 2)
    assert client.get("/v2/_catalog").json() == {"repositories": []}


def test_blobs_of_another_repository_do_not_count(client: Client) -> None:
    body = client.image(name="other/app")
    assert put(client, "latest", body) == (400, ["MANIFEST_BLOB_UNKNOWN"] * 2)


def test_a_deleted_blob_is_missing(client: Client) -> None:
    body = client.image()
    client.push_manifest(body, "before")
    client.delete(f"/v2/{NAME}/blobs/{Digest.of_bytes(b'layer')}")
    response = client.put(f"{URL}/after", content=body, headers={"content-type": OCI_MANIFEST})
    assert failure(response).codes == ["MANIFEST_BLOB_UNKNOWN"]
    assert client.head(f"{URL}/after").status_code == 404


@pytest.mark.parametrize(
    "layer",
    [
        descriptor(b"elsewhere", OCI_LAYER, urls=["https://example.com/layer"]),
        descriptor(b"elsewhere", OCI_LAYER_NONDISTRIBUTABLE),
        descriptor(b"elsewhere", OCI_LAYER_NONDISTRIBUTABLE + "+gzip"),
    ],
)
def test_layers_that_lie_elsewhere(client: Client, layer: dict[str, object]) -> None:
    client.push_blob(b"{}")
    document = json.loads(image_manifest())
    document["layers"] = [layer]
    client.push_manifest(json.dumps(document).encode(), "latest")


def test_a_subject_need_not_be_there(client: Client) -> None:
    subject = descriptor(b"absent", OCI_MANIFEST)
    client.push_blob(b"{}")
    body = image_manifest(fields={"subject": subject})
    response = client.put(f"{URL}/latest", content=body, headers={"content-type": OCI_MANIFEST})
    assert response.status_code == 201
    assert response.headers["oci-subject"] == subject["digest"]


def test_an_image_without_layers(client: Client) -> None:
    client.push_blob(b"{}")
    client.push_manifest(image_manifest(), "latest")


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_MANIFEST_LIST])
def test_an_index_needs_its_children(client: Client, media_type: str) -> None:
    child = client.image()
    fields = {"mediaType": media_type}
    index = index_manifest(descriptor(child, OCI_MANIFEST), **fields)
    assert put(client, "latest", index, media_type) == (400, ["MANIFEST_BLOB_UNKNOWN"])
    client.push_manifest(child, str(Digest.of_bytes(child)))
    client.push_manifest(index, "latest", media_type=media_type)


def test_a_child_may_be_a_blob(client: Client) -> None:
    client.push_blob(b"layer of an old build cache")
    index = index_manifest(descriptor(b"layer of an old build cache", OCI_LAYER))
    client.push_manifest(index, "cache", media_type=OCI_INDEX)


def test_an_empty_index(client: Client) -> None:
    client.push_manifest(index_manifest(), "empty", media_type=OCI_INDEX)
    assert client.get("/v2/_catalog").json() == {"repositories": [NAME]}


def test_checks_can_be_switched_off(world: World) -> None:
    client = world.client(registry=RegistryConfig(require_blobs=False, require_children=False))
    client.push_manifest(image_manifest(b"later"), "image")
    client.push_manifest(index_manifest(descriptor(b"x", OCI_MANIFEST)), "i", media_type=OCI_INDEX)


# ---- tags with a digest -----------------------------------------------------------------------
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_tags_pushed_with_a_digest(client: Client, algorithm: str) -> None:
    body = client.image()
    digest = str(Digest.of_bytes(body, algorithm))  # type: ignore[arg-type]
    tags = [f"t{n:03}" for n in range(12)]
    query = "&".join(f"tag={tag}" for tag in [*tags, tags[0]])
    headers = {"content-type": OCI_MANIFEST}
    response = client.put(f"{URL}/{digest}?{query}", content=body, headers=headers)
    assert response.status_code == 201
    assert response.headers["docker-content-digest"] == digest
    assert response.headers["location"] == f"{URL}/{digest}"
    assert response.headers.get_list("oci-tag") == tags
    assert client.get(f"/v2/{NAME}/tags/list").json()["tags"] == tags
    for tag in tags:
        got = client.get(f"{URL}/{tag}")
        assert (got.content, got.headers["docker-content-digest"]) == (body, digest)


def test_too_many_tags(client: Client) -> None:
    body = client.image()
    reference = f"{Digest.of_bytes(body)}?" + "&".join(f"tag=t{n}" for n in range(TAGS_MAX + 1))
    assert put(client, reference, body) == (414, ["TAG_INVALID"])


def test_one_bad_tag_of_many(client: Client) -> None:
    body = client.image()
    assert put(client, f"{Digest.of_bytes(body)}?tag=a&tag=.b", body) == (400, ["TAG_INVALID"])


def test_tags_beside_a_tag_are_ignored(client: Client) -> None:
    client.push_manifest(client.image(), "a?tag=b&ns=docker.io")
    assert client.get(f"/v2/{NAME}/tags/list").json()["tags"] == ["a"]


def test_a_tag_remembers_the_algorithm_it_was_set_with(client: Client) -> None:
    body = client.image()
    strong, usual = Digest.of_bytes(body, "sha512"), Digest.of_bytes(body)
    client.push_manifest(body, f"{strong}?tag=a")
    assert client.head(f"{URL}/a").headers["docker-content-digest"] == str(strong)
    assert client.head(f"{URL}/{usual}").status_code == 404
    client.push_manifest(body, "a")
    assert client.head(f"{URL}/a").headers["docker-content-digest"] == str(usual)
    client.delete(f"{URL}/{strong}")
    assert client.head(f"{URL}/a").status_code == 200


# ---- conditions -------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_that_the_client_has(client: Client, method: str) -> None:
    digest = client.push_image("latest")
    headers = {"if-none-match": f'"{digest}"'}
    for reference in ("latest", digest):
        response = client.request(method, f"{URL}/{reference}", headers=headers)
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["docker-content-digest"] == digest
    client.push_image("latest", layer=b"another")
    assert client.request(method, f"{URL}/latest", headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_match_of_a_manifest(client: Client, method: str) -> None:
    digest = client.push_image("latest")
    for reference in ("latest", digest):
        for header, status in (
            (f'"{digest}"', 200),
            ("*", 200),
            ('"x"', 412),
            (f'W/"{digest}"', 412),
        ):
            response = client.request(method, f"{URL}/{reference}", headers={"if-match": header})
            assert response.status_code == status, header
    response = client.request(method, f"{URL}/missing", headers={"if-match": '"x"'})
    assert response.status_code == 404


def test_a_push_may_depend_on_what_is_there(client: Client) -> None:
    first, body = client.push_image("latest"), client.image(layer=b"another")
    second = str(Digest.of_bytes(body))
    for reference, headers, status in (
        ("latest", {"if-none-match": "*"}, 412),
        ("latest", {"if-none-match": f'"x", W/"{first}"'}, 412),
        ("latest", {"if-match": f'"{second}"'}, 412),
        ("new", {"if-match": "*"}, 412),
        (second, {"if-match": "*"}, 412),
        ("new", {"if-none-match": "*"}, 201),
        ("latest", {"if-match": f'"{first}"', "if-none-match": '"x"'}, 201),
        (second, {"if-match": f'"{second}"'}, 201),
    ):
        before = client.snapshot()
        answer = client.put(
            f"{URL}/{reference}", content=body, headers={**headers, "content-type": OCI_MANIFEST}
        )
        assert answer.status_code == status, (reference, headers)
        assert status == 201 or client.snapshot() == before


def test_a_deletion_may_depend_on_what_is_there(client: Client) -> None:
    digest = client.push_image("latest")
    for reference in ("latest", digest):
        for headers in ({"if-match": '"x"'}, {"if-none-match": "*"}):
            answer = failure(client.delete(f"{URL}/{reference}", headers=headers))
            assert (answer.status, answer.codes) == (412, ["DENIED"])
    for reference in ("latest", digest):
        headers = {"if-match": f'"{digest}"'}
        assert client.delete(f"{URL}/{reference}", headers=headers).status_code == 202
        assert client.delete(f"{URL}/{reference}", headers=headers).status_code == 404


# ---- one manifest, one type -------------------------------------------------------------------
def untyped(client: Client) -> bytes:
    document = json.loads(client.image())
    del document["mediaType"]
    return json.dumps(document).encode()


def type_of(client: Client, reference: object) -> str:
    return str(client.get(f"{URL}/{reference}").headers["content-type"])


@pytest.mark.parametrize("first", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_the_same_bytes_as_another_type_leave_the_first_tag_alone(
    client: Client, first: str
) -> None:
    second = DOCKER_MANIFEST if first == OCI_MANIFEST else OCI_MANIFEST
    body = untyped(client)
    digest = Digest.of_bytes(body)
    client.push_manifest(body, "first", media_type=first)
    for reference in ("second", str(digest), f"{digest}?tag=second"):
        before = client.snapshot()
        answer = failure(
            client.put(f"{URL}/{reference}", content=body, headers={"content-type": second})
        )
        assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])
        assert client.snapshot() == before
    assert type_of(client, "first") == type_of(client, digest) == first
    client.push_manifest(body, "other", media_type=first)
    assert client.delete(f"{URL}/{digest}").status_code == 202
    client.push_manifest(body, "second", media_type=second)
    assert type_of(client, "second") == type_of(client, digest) == second


@pytest.mark.parametrize("stored", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_push_that_names_no_type_keeps_the_type_of_its_bytes(client: Client, stored: str) -> None:
    body = untyped(client)
    client.push_manifest(body, "first", media_type=stored)
    for reference in ("second", "first", str(Digest.of_bytes(body))):
        assert client.put(f"{URL}/{reference}", content=body).status_code == 201
    assert {type_of(client, tag) for tag in ("first", "second")} == {stored}


def test_a_push_of_all_its_tags_corrects_a_type(client: Client) -> None:
    body = untyped(client)
    client.push_manifest(body, "a", media_type=OCI_MANIFEST)
    client.push_manifest(body, "a", media_type=DOCKER_MANIFEST)
    assert type_of(client, "a") == type_of(client, Digest.of_bytes(body)) == DOCKER_MANIFEST


def test_an_index_and_a_lost_tag_hold_a_type(client: Client) -> None:
    """A restored tag, and an index, must find the manifest that was pushed."""
    body = untyped(client)
    client.push_manifest(body, "a", media_type=OCI_MANIFEST)
    index = index_manifest(descriptor(body, OCI_MANIFEST))
    client.push_manifest(index, "index", media_type=OCI_INDEX)
    headers = {"content-type": DOCKER_MANIFEST}
    assert client.put(f"{URL}/a", content=body, headers=headers).status_code == 400
    client.delete(f"{URL}/{Digest.of_bytes(index)}")
    client.delete(f"{URL}/a")
    assert client.put(f"{URL}/b", content=body, headers=headers).status_code == 400
    assert type_of(client, Digest.of_bytes(body)) == OCI_MANIFEST


# ---- delete -----------------------------------------------------------------------------------
def test_deleting_a_tag_leaves_the_rest(client: Client) -> None:
    digest = client.push_image("a")
    client.push_image("b")
    response = client.delete(f"{URL}/a")
    assert (response.status_code, response.headers["content-length"]) == (202, "0")
    assert client.head(f"{URL}/a").status_code == 404
    for reference in ("b", digest):
        assert client.head(f"{URL}/{reference}").status_code == 200
    assert failure(client.delete(f"{URL}/a")).codes == ["MANIFEST_UNKNOWN"]


def test_deleting_a_digest_takes_its_tags(client: Client) -> None:
    digest = client.push_image("a")
    client.push_image("b")
    client.push_image("other", layer=b"other")
    assert client.delete(f"{URL}/{digest}").status_code == 202
    for reference in ("a", "b", digest):
        assert client.head(f"{URL}/{reference}").status_code == 404
    assert client.get(f"/v2/{NAME}/tags/list").json()["tags"] == ["other"]
    assert failure(client.delete(f"{URL}/{digest}")).codes == ["MANIFEST_UNKNOWN"]


def test_a_deleted_manifest_may_be_pushed_again(client: Client) -> None:
    digest = client.push_image("a")
    client.delete(f"{URL}/{digest}")
    assert client.push_image("a") == digest
    assert client.get(f"{URL}/a").status_code == 200


# ---- warnings ---------------------------------------------------------------------------------
def test_the_withdrawn_artifact_manifest(client: Client) -> None:
    client.push_blob(b"signature")
    document = {
        "mediaType": OCI_ARTIFACT_MANIFEST,
        "artifactType": "application/x",
        "blobs": [descriptor(b"signature", "application/x")],
    }
    response = client.put(
        f"{URL}/latest",
        content=json.dumps(document).encode(),
        headers={"content-type": OCI_ARTIFACT_MANIFEST},
    )
    assert response.status_code == 201
    assert response.headers["warning"].startswith('299 - "')
    assert "OCI withdrew" in response.headers["warning"]
    assert response.headers["warning"].endswith('"')


def test_a_disk_that_is_nearly_full(world: World, client: Client) -> None:
    world.fullness = 0.96
    body = client.image()
    response = client.put(f"{URL}/latest", content=body, headers={"content-type": OCI_MANIFEST})
    assert response.headers["warning"].startswith("299 - \"the registry's disk is 96% full")
