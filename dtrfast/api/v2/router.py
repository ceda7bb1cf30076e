"""The router of `/v2/`. The last pieces of a path select its endpoint, since a repository's name
may contain the same words.

It gets canonical paths (`canonical_paths.py`). Escapes that remain there are not valid in any name,
so no grammar accepts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from dtrfast.api import challenge, visits
from dtrfast.api.errors import error_response, missing_page_response
from dtrfast.api.types import ApiContext
from dtrfast.api.v2 import base, blobs, catalog, manifests, referrers, tags, uploads
from dtrfast.api.v2.call import Call, Endpoint
from dtrfast.errors import (
    AccessRefused,
    CallerUnknown,
    OperationUnsupported,
    RepositoryHidden,
    TokenInvalid,
)

_PREFIX = "/v2"
# The actions that a token must allow for a method; "pull,push" for all others.
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}

Methods = Mapping[str, Endpoint]

BASE: Methods = {"GET": base.get}
CATALOG: Methods = {"GET": catalog.get}
TAGS: Methods = {"GET": tags.get}
REFERRERS: Methods = {"GET": referrers.get}
MANIFEST: Methods = {"GET": manifests.get, "PUT": manifests.put, "DELETE": manifests.delete}
BLOB: Methods = {"GET": blobs.get, "DELETE": blobs.delete}
UPLOADS: Methods = {"POST": uploads.begin}
UPLOAD: Methods = {
    "GET": uploads.status,
    "PATCH": uploads.append,
    "PUT": uploads.close,
    "DELETE": uploads.cancel,
}


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """The endpoint of a path: its methods, the repository's name, and the last piece."""

    methods: Methods
    name: str = ""
    reference: str = ""


def find_path(path: str) -> RouteTarget | None:
    """Return the endpoint of a canonical path at or below `/v2`; None if there is none."""
    return find_target(path[len(_PREFIX) :].split("/")[1:])


def find_target(pieces: list[str]) -> RouteTarget | None:
    """Return the endpoint of a path below `/v2/`, given its pieces; None if there is none."""
    match pieces:
        case [] | [""]:
            return RouteTarget(BASE)
        case ["_catalog"]:
            return RouteTarget(CATALOG)
        case [*name, "tags", "list"]:
            return RouteTarget(TAGS, "/".join(name))
        case [*name, "blobs", "uploads"] | [*name, "blobs", "uploads", ""]:
            return RouteTarget(UPLOADS, "/".join(name))
        case [*name, "blobs", "uploads", upload_id]:
            return RouteTarget(UPLOAD, "/".join(name), upload_id)
    return _find_content(pieces)


def _find_content(pieces: list[str]) -> RouteTarget | None:
    match pieces:
        case [*name, "manifests", reference]:
            return RouteTarget(MANIFEST, "/".join(name), reference)
        case [*name, "blobs", digest]:
            return RouteTarget(BLOB, "/".join(name), digest)
        case [*name, "referrers", digest]:
            return RouteTarget(REFERRERS, "/".join(name), digest)
    return None


class V2(BaseRoute):
    """All endpoints at and below `/v2`, as one route of the application."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        path = _path_of(scope)
        found = path == _PREFIX or path.startswith(f"{_PREFIX}/")
        return (Match.FULL if found else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: object) -> NoReturn:
        raise NoMatchFound(name, dict(path_params))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(scope, receive)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> ASGIApp:
        target = find_path(_path_of(scope))
        if target is None:
            return missing_page_response()
        methods = self._allowed(target.methods)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        endpoint = methods.get(method)
        if endpoint is None:
            error = OperationUnsupported(f"{scope['method'][:20]} is not supported here")
            allowed = [name for m in methods for name in ([m, "HEAD"] if m == "GET" else [m])]
            return error_response(error, {"allow": ", ".join(allowed)})
        try:
            visit = await visits.of_request(
                self._context, scope, finishing=target.methods is UPLOAD
            )
            call = Call(self._context, visit, scope, receive, target.reference, target.name)
            return await _answer(endpoint, call)
        except CallerUnknown as error:
            return challenge.response(self._context, scope, error, _wanted_scope(target, scope))

    def _allowed(self, methods: Methods) -> Methods:
        """Return the methods that the settings allow. If deletion is off, uploads can still be
        canceled.
        """
        if self._context.config.registry.delete or methods is UPLOAD:
            return methods
        return {method: methods[method] for method in methods if method != "DELETE"}


def _wanted_scope(target: RouteTarget, scope: Scope) -> str:
    """Return the scopes for the challenge to a request."""
    if target.methods is CATALOG:
        return challenge.CATALOG_SCOPE
    actions, source = _ACTIONS.get(scope["method"], "pull,push"), ""
    if target.methods is UPLOADS or target.methods is UPLOAD:
        # Only the pusher may use an upload, even to read its offset.
        actions, source = "pull,push", QueryParams(scope["query_string"]).get("from", "")
    elif scope["method"] == "HEAD" and target.methods in (MANIFEST, BLOB):
        # Pushes begin with a HEAD, and some clients keep the first token that they get.
        actions = "pull,push"
    return challenge.scope_of(target.name, actions, source)


async def _answer(endpoint: Endpoint, call: Call) -> ASGIApp:
    """Return the endpoint's answer. A refusal to an identified caller becomes an audit event."""
    try:
        return await endpoint(call)
    except (AccessRefused, RepositoryHidden, TokenInvalid) as error:
        method = str(call.scope["method"])
        call.note("refusal", {"method": method, "reason": error.reason}, "refused")
        raise


def _path_of(scope: Scope) -> str:
    """Return the path without the prefix at which the application is mounted."""
    raw = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.decode("latin-1")
    return str(path.removeprefix(scope.get("root_path", "")))
