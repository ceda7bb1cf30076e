"""`/v2/`: the last pieces of a path tell its endpoint, since a name may hold any of the words.

Works on the one spelling of a path (`addresses.py`). An escape that is left there is no character
of any name, so no grammar takes it.
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
from dtrfast.api.types import Context
from dtrfast.api.v2 import base, blobs, catalog, manifests, referrers, tags, uploads
from dtrfast.api.v2.call import Call, Endpoint
from dtrfast.errors import Denied, RepositoryHidden, TokenInvalid, Unidentified, Unsupported

_PREFIX = "/v2"
# What a token has to allow for a method; "pull,push" for the others.
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
class Target:
    """What a path leads to."""

    methods: Methods
    name: str = ""
    reference: str = ""


def find_path(path: str) -> Target | None:
    """The endpoint of a canonical path at or below `/v2`; None when there is none."""
    return find_target(path[len(_PREFIX) :].split("/")[1:])


def find_target(pieces: list[str]) -> Target | None:
    """The endpoint of a path below `/v2/`, given its pieces; None when there is none."""
    match pieces:
        case [] | [""]:
            return Target(BASE)
        case ["_catalog"]:
            return Target(CATALOG)
        case [*name, "tags", "list"]:
            return Target(TAGS, "/".join(name))
        case [*name, "blobs", "uploads"] | [*name, "blobs", "uploads", ""]:
            return Target(UPLOADS, "/".join(name))
        case [*name, "blobs", "uploads", upload_id]:
            return Target(UPLOAD, "/".join(name), upload_id)
    return _find_content(pieces)


def _find_content(pieces: list[str]) -> Target | None:
    match pieces:
        case [*name, "manifests", reference]:
            return Target(MANIFEST, "/".join(name), reference)
        case [*name, "blobs", digest]:
            return Target(BLOB, "/".join(name), digest)
        case [*name, "referrers", digest]:
            return Target(REFERRERS, "/".join(name), digest)
    return None


class V2(BaseRoute):
    """Everything at and below `/v2`, as one route of the application."""

    def __init__(self, context: Context) -> None:
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
            error = Unsupported(f"{scope['method'][:20]} is not possible here")
            return error_response(error, {"allow": _list_methods(methods)})
        try:
            visit = await visits.of_request(
                self._context, scope, finishing=target.methods is UPLOAD
            )
            call = Call(self._context, visit, scope, receive, target.reference, target.name)
            return await _answer(endpoint, call)
        except Unidentified as error:
            return challenge.response(self._context, scope, error, _wanted_scope(target, scope))

    def _allowed(self, methods: Methods) -> Methods:
        """Deletes of content can be switched off; a session may be cancelled all the same."""
        if self._context.config.registry.delete or methods is UPLOAD:
            return methods
        return {method: methods[method] for method in methods if method != "DELETE"}


def _wanted_scope(target: Target, scope: Scope) -> str:
    """The scopes that the challenge to a request names."""
    if target.methods is CATALOG:
        return challenge.CATALOG_SCOPE
    actions, source = _ACTIONS.get(scope["method"], "pull,push"), ""
    if target.methods is UPLOADS or target.methods is UPLOAD:
        # An upload is for its pusher only, also when asked how far it is.
        actions, source = "pull,push", QueryParams(scope["query_string"]).get("from", "")
    elif scope["method"] == "HEAD" and target.methods in (MANIFEST, BLOB):
        # Pushes begin so, and some clients keep the first token that they get.
        actions = "pull,push"
    return challenge.scope_of(target.name, actions, source)


async def _answer(endpoint: Endpoint, call: Call) -> ASGIApp:
    """The endpoint's answer. What is refused to somebody who is known is noted."""
    try:
        return await endpoint(call)
    except (Denied, RepositoryHidden, TokenInvalid) as error:
        method = str(call.scope["method"])
        call.note("refusal", {"method": method, "reason": error.reason}, "refused")
        raise


def _path_of(scope: Scope) -> str:
    """The path, without what the application is mounted under."""
    raw = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.decode("latin-1")
    return str(path.removeprefix(scope.get("root_path", "")))


def _list_methods(methods: Methods) -> str:
    with_head = [name for m in methods for name in ([m, "HEAD"] if m == "GET" else [m])]
    return ", ".join(with_head)
