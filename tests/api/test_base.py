"""end-1, unknown paths and methods, and the headers of every answer."""

from __future__ import annotations

import pytest

from tests.fakes.client import Client


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_is_a_registry(client: Client, path: str, method: str) -> None:
    response = client.request(method, path)
    assert response.status_code == 200
    assert response.content == (b"{}" if method == "GET" else b"")
    assert response.headers["content-length"] == "2"
    assert response.headers["content-type"] == "application/json"
    assert response.headers["docker-distribution-api-version"] == "registry/2.0"


def test_push_and_pull(client: Client) -> None:
    digest = client.push_image("latest", layer=b"bytes of a layer" * 10_000)
    manifest = client.get("/v2/team/app/manifests/latest")
    assert manifest.status_code == 200
    assert manifest.headers["docker-content-digest"] == digest
    for entry in [manifest.json()["config"], *manifest.json()["layers"]]:
        blob = client.get(f"/v2/team/app/blobs/{entry['digest']}")
        assert blob.status_code == 200
        assert len(blob.content) == entry["size"] == int(blob.headers["content-length"])
