"""Pushes and pulls with plain HTTP, for requests that no client program sends on purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

import httpx

from tests.e2e.registry import Registry

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def connect(registry: Registry) -> httpx.Client:
    """Return a client. Each thread needs its own, so that connections spread over the workers."""
    return httpx.Client(base_url=registry.url, timeout=120)


def begin(client: httpx.Client, name: str) -> str:
    """Begin an upload; returns its location."""
    response = client.post(f"/v2/{name}/blobs/uploads/")
    assert response.status_code == 202, response.text
    return response.headers["location"]


def push(client: httpx.Client, name: str, body: bytes | Iterable[bytes], digest: str) -> None:
    """Push one blob: with its length, or in chunked pieces with a PATCH and a PUT."""
    location = begin(client, name)
    response = client.patch(location, content=body)
    assert response.status_code == 202, response.text
    response = client.put(response.headers["location"], params={"digest": digest})
    assert response.status_code == 201, response.text


def pull(client: httpx.Client, name: str, digest: str) -> bytes:
    response = client.get(f"/v2/{name}/blobs/{digest}")
    assert response.status_code == 200, response.text
    return response.content


def push_image(client: httpx.Client, name: str, tag: str, layers: list[bytes]) -> str:
    """Push layers, a config and a manifest; returns the manifest's digest."""
    config = json.dumps({"layers": [digest_of(layer) for layer in layers]}).encode()
    for body in (*layers, config):
        push(client, name, body, digest_of(body))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, config),
            "layers": [descriptor(LAYER_TYPE, layer) for layer in layers],
        }
    ).encode()
    response = client.put(
        f"/v2/{name}/manifests/{tag}", content=manifest, headers={"content-type": MANIFEST_TYPE}
    )
    assert response.status_code == 201, response.text
    return response.headers["docker-content-digest"]


def pieces_of(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def descriptor(media_type: str, body: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(body), "size": len(body)}
