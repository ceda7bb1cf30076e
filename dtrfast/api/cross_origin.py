"""Cross-origin requests: pages of other origins that may use the registry (the Fetch standard).

This covers the v2 API and the token service, whose credentials are in a header that a page sets.
The console and the management API accept a session's cookie, so only their own pages may use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Scope

from dtrfast.api.challenge import TOKEN_PATH
from dtrfast.config import ServerConfig

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
# A page can read these headers, and a few that every page can read.
_EXPOSED = ", ".join(
    [
        "Accept-Ranges",
        "Allow",
        "Content-Length",
        "Content-Range",
        "Docker-Content-Digest",
        "Docker-Distribution-Api-Version",
        "Docker-Upload-Location",
        "Docker-Upload-UUID",
        "ETag",
        "Link",
        "Location",
        "OCI-Filters-Applied",
        "OCI-Subject",
        "OCI-Tag",
        "Range",
        "Retry-After",
        "WWW-Authenticate",
    ]
)
# A browser may keep the answer to a preflight for this time. Chromium allows two hours.
_PREFLIGHT_SECONDS = "7200"
_ANY_ORIGIN = "*"


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """The origins that may use the registry. At least one."""

    origins: frozenset[str]

    @staticmethod
    def of(config: ServerConfig) -> CrossOrigin | None:
        """Return the origins of the settings; None if no origin may use the registry."""
        return CrossOrigin(frozenset(config.cors_origins)) if config.cors_origins else None

    def preflight(self, scope: Scope) -> Response | None:
        """Return the answer to a browser's preflight request; None for all other requests."""
        if scope["method"] != "OPTIONS" or not _is_covered(scope):
            return None
        asked = Headers(scope=scope)
        allowed = self._allowed(asked.get("origin"))
        if not allowed or "access-control-request-method" not in asked:
            return None
        headers = {
            **allowed,
            "access-control-allow-methods": _METHODS,
            "access-control-max-age": _PREFLIGHT_SECONDS,
        }
        wanted = asked.get("access-control-request-headers")
        if wanted:
            headers["access-control-allow-headers"] = wanted
        return Response(status_code=204, headers=headers)

    def mark(self, scope: Scope, headers: MutableHeaders) -> None:
        """Add the headers that tell a browser which page may read an answer."""
        if not _is_covered(scope):
            return
        headers.add_vary_header("Origin")
        allowed = self._allowed(Headers(scope=scope).get("origin"))
        if allowed:
            headers.update({**allowed, "access-control-expose-headers": _EXPOSED})

    def _allowed(self, origin: str | None) -> Mapping[str, str]:
        """Return the headers for an origin; none for an origin without permission."""
        if origin is None:
            return {}
        if origin in self.origins and origin != _ANY_ORIGIN:
            return {
                "access-control-allow-origin": origin,
                "access-control-allow-credentials": "true",
            }
        return {"access-control-allow-origin": _ANY_ORIGIN} if _ANY_ORIGIN in self.origins else {}


def _is_covered(scope: Scope) -> bool:
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    return path.startswith("/v2/") or path in ("/v2", TOKEN_PATH)
