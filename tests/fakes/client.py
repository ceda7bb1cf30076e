"""A registry and a client in one process, without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from starlette.applications import Starlette

from dtrfast.config import ServerConfig
from dtrfast.oci.digests import Algorithm, Digest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from dtrfast.server.proxies import Edge, Proxies

T = TypeVar("T")

NAME = "team/app"


@dataclass
class Failure:
    """The status and the codes of an error answer."""

    status: int
    codes: list[str]


class Client:
    """A client of an application over ASGI. It waits for each answer, so tests need no `await`."""

    def __init__(self, app: Starlette, runner: asyncio.Runner) -> None:
        self.app = app
        self.runner = runner
        # All requests come from 127.0.0.1, like those of a proxy on this machine.
        edge = Edge(app, Proxies(ServerConfig().trusted_proxies))
        transport = httpx.ASGITransport(edge)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://registry")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        return self.run(self._http.request(method, url, **kwargs))

    def get(self, url: str, **kwargs: Any) -> httpx.Response:
        return self.request("GET", url, **kwargs)

    def head(self, url: str, **kwargs: Any) -> httpx.Response:
        return self.request("HEAD", url, **kwargs)

    def post(self, url: str, **kwargs: Any) -> httpx.Response:
        return self.request("POST", url, **kwargs)

    def put(self, url: str, **kwargs: Any) -> httpx.Response:
        return self.request("PUT", url, **kwargs)

    def patch(self, url: str, **kwargs: Any) -> httpx.Response:
        return self.request("PATCH", url, **kwargs)

    def delete(self, url: str, **kwargs: Any) -> httpx.Response:
        return self.request("DELETE", url, **kwargs)

    def forget_cookies(self) -> None:
        """Drop the cookies of answers, so that requests carry only those that a test sets."""
        self._http.cookies.clear()

    def close(self) -> None:
        self.run(self._http.aclose())

    # ---- a push, step by step -----------------------------------------------------------------
    def begin(self, name: str = NAME) -> str:
        """Open a session; returns its address."""
        response = self.post(f"/v2/{name}/blobs/uploads/")
        assert response.status_code == 202
        return response.headers["location"]

    def push_blob(self, content: bytes, name: str = NAME, algorithm: Algorithm = "sha256") -> str:
        digest = str(Digest.of_bytes(content, algorithm))
        response = self.put(f"{self.begin(name)}?digest={digest}", content=content)
        assert response.status_code == 201, response.text
        return digest

    def push_manifest(
        self, manifest: bytes, reference: str, name: str = NAME, media_type: str = OCI_MANIFEST
    ) -> str:
        response = self.put(
            f"/v2/{name}/manifests/{reference}",
            content=manifest,
            headers={"content-type": media_type},
        )
        assert response.status_code == 201, response.text
        return response.headers["docker-content-digest"]

    def push_image(self, tag: str, *, name: str = NAME, layer: bytes = b"layer") -> str:
        """Push the blobs and the manifest; returns the manifest's digest."""
        return self.push_manifest(self.image(name=name, layer=layer), tag, name)

    def image(self, *, name: str = NAME, layer: bytes = b"layer", **fields: object) -> bytes:
        """Push blobs; returns an image manifest of them."""
        self.push_blob(b"{}", name)
        self.push_blob(layer, name)
        return image_manifest(layer, fields=fields)

    # ---- content of the registry --------------------------------------------------------------
    def snapshot(self, name: str = NAME) -> tuple[object, ...]:
        """Return the content that a refused request must not change."""
        catalog = self.get("/v2/_catalog").json()
        tags = self.get(f"/v2/{name}/tags/list").json()
        return catalog, tags


def descriptor(content: bytes, media_type: str, **fields: object) -> dict[str, object]:
    digest = str(Digest.of_bytes(content))
    return {"mediaType": media_type, "digest": digest, "size": len(content), **fields}


def image_manifest(
    *layers: bytes, config: bytes = b"{}", fields: Mapping[str, object] | None = None
) -> bytes:
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
    }
    return json.dumps({**document, **(fields or {})}).encode()


def index_manifest(*children: Mapping[str, object], **fields: object) -> bytes:
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    return json.dumps({**document, "manifests": list(children), **fields}).encode()


def failure(response: httpx.Response) -> Failure:
    """Check the form of an error answer; returns its status and codes."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["docker-distribution-api-version"] == "registry/2.0"
    assert response.headers["x-content-type-options"] == "nosniff"
    entries = response.json()["errors"]
    assert all({"code", "message", "detail"} == set(entry) for entry in entries)
    assert all(entry["message"] for entry in entries)
    return Failure(response.status_code, [entry["code"] for entry in entries])
