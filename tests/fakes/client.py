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
    """What an error answer says."""

    status: int
    codes: list[str]


class Client:
    """Speaks to an application over ASGI; asks and waits, so that tests read from top to bottom."""

    def __init__(self, app: Starlette, runner: asyncio.Runner) -> None:
        self.app = app
        self.runner = runner
        # Everything comes from 127.0.0.1, as from a proxy on this machine.
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
        """What answers set is sent again only if a test does."""
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
        """Blobs and manifest; returns the manifest's digest."""
        return self.push_manifest(self.image(name=name, layer=layer), tag, name)

    def image(self, *, name: str = NAME, layer: bytes = b"layer", **fields: object) -> bytes:
        """An image manifest whose blobs are pushed."""
        self.push_blob(b"{}", name)
        self.push_blob(layer, name)
        return image_manifest(layer, fields=fields)

    # ---- what is there ------------------------------------------------------------------------
    def snapshot(self, name: str = NAME) -> tuple[object, ...]:
        """What a refused request must not change."""
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
    """The status and codes of an error answer, whose form is checked."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["docker-distribution-api-version"] == "registry/2.0"
    assert response.headers["x-content-type-options"] == "nosniff"
    entries = response.json()["errors"]
    assert all({"code", "message", "detail"} == set(entry) for entry in entries)
    assert all(entry["message"] for entry in entries)
    return Failure(response.status_code, [entry["code"] for entry in entries])
