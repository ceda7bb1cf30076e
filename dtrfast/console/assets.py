"""Scripts, styles and icons, served from memory.

The address of an asset contains its hash. So browsers may cache it without a limit, and load the
new one after an upgrade.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    compressed: bytes
    media_type: str
    hash: str


@cache
def _assets() -> dict[str, _Asset]:
    found: dict[str, _Asset] = {}
    folder = files("dtrfast.console") / "static"
    for place in (folder, folder / "vendor"):
        for file in place.iterdir():
            kind = _TYPES.get("." + file.name.rpartition(".")[2])
            if kind is not None:
                content = file.read_bytes()
                digest = hashlib.sha256(content).hexdigest()[:_HASH_LENGTH]
                found[file.name] = _Asset(content, compress(content), kind, digest)
    return found


def compress(content: bytes) -> bytes:
    """Return the content as gzip."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return deflate.compress(content) + deflate.flush()


def url(name: str) -> str:
    """Return the address of an asset, with the hash of this version."""
    return f"/static/{name}?{_assets()[name].hash}"


def routes() -> list[Route]:
    """Return the route of all assets."""

    async def serve(request: Request) -> Response:
        asset = _assets().get(request.path_params["name"])
        if asset is None:
            return Response("there is no such file", 404, media_type="text/plain")
        is_current = request.url.query == asset.hash
        headers = {
            "cache-control": "public, max-age=31536000, immutable" if is_current else "no-cache",
            "etag": f'"{asset.hash}"',
            "vary": "accept-encoding",
            "content-security-policy": "default-src 'none'",
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(asset.compressed, headers=headers, media_type=asset.media_type)
        return Response(asset.content, headers=headers, media_type=asset.media_type)

    return [Route("/static/{name}", serve)]
