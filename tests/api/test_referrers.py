"""end-12: the referrers of a manifest."""

from __future__ import annotations

import pytest

from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from dtrfast.registry import referrers
from tests.fakes.client import NAME, Client, descriptor, failure, image_manifest, index_manifest

SUBJECT_BODY = b"a manifest that is not there"
SUBJECT = str(Digest.of_bytes(SUBJECT_BODY))
URL = f"/v2/{NAME}/referrers/{SUBJECT}"


def push_referrer(client: Client, artifact_type: str | None, subject: str = SUBJECT) -> str:
    """Push an image manifest with the subject. Returns its digest."""
    client.push_blob(b"{}")
    target = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 5}
    fields: dict[str, object] = {"subject": target, "annotations": {"of": str(artifact_type)}}
    if artifact_type is not None:
        fields["artifactType"] = artifact_type
    body = image_manifest(fields=fields)
    return client.push_manifest(body, str(Digest.of_bytes(body)))


def assert_index(client: Client, url: str, digests: list[str]) -> list[dict[str, object]]:
    response = client.get(url)
    assert response.status_code == 200
    assert response.headers["content-type"] == OCI_INDEX
    document = response.json()
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == OCI_INDEX
    assert sorted(entry["digest"] for entry in document["manifests"]) == sorted(digests)
    return list(document["manifests"])


@pytest.mark.parametrize("prepared", [False, True])
def test_nobody_refers_to_it(client: Client, prepared: bool) -> None:
    if prepared:
        client.push_image("latest")
    assert_index(client, URL, [])
    assert_index(client, f"{URL}?artifactType=x", [])


def test_a_referrer_is_described(client: Client) -> None:
    digest = push_referrer(client, "application/x")
    (entry,) = assert_index(client, URL, [digest])
    size = len(client.get(f"/v2/{NAME}/manifests/{digest}").content)
    assert entry == {
        "mediaType": OCI_MANIFEST,
        "digest": digest,
        "size": size,
        "artifactType": "application/x",
        "annotations": {"of": "application/x"},
    }


def test_an_image_has_the_type_of_its_config(client: Client) -> None:
    digest = push_referrer(client, None)
    (entry,) = assert_index(client, URL, [digest])
    assert entry["artifactType"] == OCI_CONFIG


def test_an_index_has_a_type_only_if_it_says_so(client: Client) -> None:
    body = index_manifest(subject=descriptor(SUBJECT_BODY, OCI_MANIFEST))
    response = client.put(
        f"/v2/{NAME}/manifests/index", content=body, headers={"content-type": OCI_INDEX}
    )
    assert response.headers["oci-subject"] == SUBJECT
    (entry,) = assert_index(client, URL, [str(Digest.of_bytes(body))])
    assert "artifactType" not in entry


def test_a_filter(client: Client) -> None:
    digests = {kind: push_referrer(client, kind) for kind in ("a/x", "a/y", "a/x+json")}
    for kind, digest in digests.items():
        url = f"{URL}?artifactType={kind.replace('+', '%2B')}"
        assert client.get(url).headers["oci-filters-applied"] == "artifactType"
        assert_index(client, url, [digest])
    assert_index(client, f"{URL}?artifactType=a/z", [])
    assert "oci-filters-applied" not in client.get(URL).headers
    assert_index(client, URL, list(digests.values()))


def test_a_sha512_subject_is_another_one(client: Client) -> None:
    strong = str(Digest.of_bytes(SUBJECT_BODY, "sha512"))
    digest = push_referrer(client, "a/x", strong)
    assert_index(client, URL, [])
    assert_index(client, f"/v2/{NAME}/referrers/{strong}", [digest])


def test_a_deleted_referrer_leaves_the_list(client: Client) -> None:
    first, second = push_referrer(client, "a/x"), push_referrer(client, "a/y")
    client.delete(f"/v2/{NAME}/manifests/{first}")
    assert_index(client, URL, [second])


def test_referrers_outlive_their_subject(client: Client) -> None:
    subject = client.push_image("latest")
    digest = push_referrer(client, "a/x", subject)
    client.delete(f"/v2/{NAME}/manifests/{subject}")
    assert_index(client, f"/v2/{NAME}/referrers/{subject}", [digest])


def test_referrers_of_another_repository_do_not_show(client: Client) -> None:
    push_referrer(client, "a/x")
    client.push_image("latest", name="other")
    assert_index(client, URL.replace(NAME, "other"), [])


@pytest.mark.parametrize("digest", ["sha256:totallywrong", "latest", "sha256:", "md5:" + "0" * 32])
def test_a_malformed_digest(client: Client, digest: str) -> None:
    answer = failure(client.get(f"/v2/{NAME}/referrers/{digest}"))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("artifact_type", ["", "?artifactType=a/x"])
@pytest.mark.parametrize(("limit", "size"), [("_PAGE_BYTES_MAX", 500), ("_PAGE_ROWS_MAX", 2)])
def test_pages(
    client: Client, monkeypatch: pytest.MonkeyPatch, limit: str, size: int, artifact_type: str
) -> None:
    monkeypatch.setattr(referrers, limit, size)
    wanted = []
    for number in range(7):
        body_type = "a/x" if number % 2 else f"b/{number}"
        body = index_manifest(
            subject=descriptor(SUBJECT_BODY, OCI_MANIFEST),
            artifactType=body_type,
            annotations={"number": str(number)},
        )
        digest = client.push_manifest(body, f"t{number}", media_type=OCI_INDEX)
        if not artifact_type or body_type == "a/x":
            wanted.append(digest)
    found: list[str] = []
    url, count = URL + artifact_type, 0
    while url:
        response = client.get(url)
        found += [entry["digest"] for entry in response.json()["manifests"]]
        count += 1
        link = response.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        url = link[1:].partition(">")[0]
    assert sorted(found) == sorted(wanted)
    assert len(found) == len(wanted)
    assert count > 1
