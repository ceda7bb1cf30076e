"""`/api/v0`: finds and runs the operation of a request, and makes the response.

The path is split before its pieces are decoded, so a repository's name with slashes is one piece
(`team%2Fapp`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from dtrfast.api import browsers, challenge, visits
from dtrfast.api.errors import error_response, missing_page_response
from dtrfast.api.small_bodies import read_small
from dtrfast.api.types import ApiContext
from dtrfast.api.v0 import (
    accounts,
    administration,
    credentials,
    diagnostics,
    grants,
    images,
    jobs,
    ldap,
    logs,
    metrics,
    repositories,
    search,
    sessions,
    storage,
    teams,
    trash,
)
from dtrfast.api.v0.execution import convert_query, decode_body, execute
from dtrfast.api.v0.operation import ApiCall, ApiClient, Operation
from dtrfast.errors import (
    AccessRefused,
    CallerUnknown,
    DtrfastError,
    OperationUnsupported,
    SettingsInvalid,
)
from dtrfast.identity.callers import ANONYMOUS
from dtrfast.identity.guard import Visit
from dtrfast.identity.identity import Identity
from dtrfast.identity.sessions import is_csrf_token

PREFIX = "/api/v0"
CSRF_HEADER = "x-csrf-token"

_BODY_SIZE_MAX = 2 << 20
_SAFE = frozenset({"GET", "HEAD"})
_SIGN_IN = "/sessions"

OPERATIONS: tuple[Operation, ...] = tuple(
    operation
    for part in (
        accounts,
        teams,
        repositories,
        grants,
        search,
        credentials,
        sessions,
        administration,
        ldap,
        images,
        jobs,
        logs,
        metrics,
        diagnostics,
        storage,
        trash,
    )
    for operation in part.operations.all
)

_encoder = msgspec.json.Encoder()


class _Tree:
    """Operations by the pieces of their paths. A fixed piece comes before a variable one."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Tree] = {}
        self.variable: _Tree | None = None
        self.methods: dict[str, tuple[Operation, tuple[str, ...]]] = {}

    def add(self, operation: Operation) -> None:
        node, names = self, []
        for piece in operation.path.split("/")[1:]:
            if piece.startswith("{"):
                names.append(piece[1:-1])
                node.variable = node.variable or _Tree()
                node = node.variable
            else:
                node = node.fixed.setdefault(piece, _Tree())
        node.methods[operation.method] = (operation, tuple(names))

    def find(self, pieces: list[str]) -> tuple[_Tree, list[str]] | None:
        """Return the node of a path, and the variable pieces on the way to it; None without one."""
        if not pieces:
            return (self, []) if self.methods else None
        fixed = self.fixed.get(pieces[0])
        found = None if fixed is None else fixed.find(pieces[1:])
        if found is None and self.variable is not None and pieces[0]:
            found = self.variable.find(pieces[1:])
            if found is not None:
                found[1].insert(0, pieces[0])
        return found


_tree = _Tree()
for _operation in OPERATIONS:
    _tree.add(_operation)


class V0(BaseRoute):
    """Everything below `/api/v0`, as one route of the application."""

    def __init__(self, context: ApiContext, identity: Identity) -> None:
        self._context = context
        self._identity = identity

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found = scope["type"] == "http" and _path_of(scope).startswith(f"{PREFIX}/")
        return (Match.FULL if found else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: object) -> Any:
        raise NoMatchFound(name, dict(path_params))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(scope, receive)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        pieces = [unquote(piece) for piece in _path_of(scope)[len(PREFIX) :].split("/")[1:]]
        found = _tree.find(pieces)
        if found is None:
            return missing_page_response()
        node, values = found
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method not in node.methods:
            head = {"HEAD"} if "GET" in node.methods else set()
            allowed = ", ".join(sorted(head | node.methods.keys()))
            error = OperationUnsupported(f"{scope['method'][:20]} is not possible here")
            return error_response(error, {"allow": allowed})
        operation, names = node.methods[method]
        try:
            return await self._run(operation, dict(zip(names, values, strict=True)), scope, receive)
        except CallerUnknown as error:
            # No Basic: a browser would show its own window for a password.
            realm = challenge.external_url(self._context, scope)
            return error_response(error, {"www-authenticate": f'Bearer realm="{realm}"'})
        except DtrfastError as error:
            return error_response(error)

    async def _run(
        self, operation: Operation, path: dict[str, str], scope: Scope, receive: Receive
    ) -> Response:
        if not all(value.isprintable() for value in path.values()):
            return missing_page_response()
        headers = Headers(scope=scope)
        is_secure = browsers.is_secure(self._context, scope)
        visitor = await self._visitor(operation, scope, headers, is_secure=is_secure)
        client = ApiClient(
            self._identity,
            visitor.visit,
            self._context.store,
            self._context.config,
            visits.remote_of(scope),
            is_secure=is_secure,
            session_id=visitor.session_id,
            proofs=browsers.known_proofs(headers, is_secure=is_secure),
        )
        run = self._context.hop.run
        if visitor.refusal is not None or not operation.admits(client.caller):
            # This raises before a byte of the body is read.
            await run(execute, operation, client.call(path, None, None), visitor.refusal)
        query = convert_query(operation, _query_of(scope))
        body = None
        if operation.body is not None:
            seconds = self._context.config.server.idle_body_seconds
            data = await read_small(receive, _BODY_SIZE_MAX, seconds)
            _require_json(headers)
            body = decode_body(operation, data)
        call = client.call(path, query, body)
        return _response(operation, call, await run(execute, operation, call))

    async def _visitor(
        self, operation: Operation, scope: Scope, headers: Headers, *, is_secure: bool
    ) -> _Visitor:
        """Return the caller of a request: by its header, else by the cookie of its session."""
        sent_id = browsers.cookie_of(headers, browsers.SESSION, is_secure=is_secure)
        anonymous = self._identity.guard.visit(ANONYMOUS)
        if operation.path == _SIGN_IN:
            refusal = self._other_site(scope, headers)
            return _Visitor(anonymous, sent_id, refusal)
        if "authorization" in headers or visits.VISIT in scope.get("state", {}):
            return _Visitor(await visits.of_request(self._context, scope))
        if not sent_id:
            return _Visitor(anonymous)
        run = self._context.hop.run
        return await run(self._session_visitor, operation, sent_id, scope, headers)

    def _session_visitor(
        self, operation: Operation, session_id: str, scope: Scope, headers: Headers
    ) -> _Visitor:
        """Return the caller of a session. Changes need the session's CSRF token."""
        guard = self._identity.guard
        found = guard.find_session(session_id)
        if found is None:
            return _Visitor(guard.visit(ANONYMOUS))
        caller, record = found
        visits.name_caller(scope, caller)
        refusal = None
        if operation.method not in _SAFE:
            refusal = self._other_site(scope, headers)
            if not is_csrf_token(record, headers.get(CSRF_HEADER, "")):
                message = f"the header {CSRF_HEADER} has to hold the session's CSRF token"
                refusal = refusal or AccessRefused(message)
        return _Visitor(guard.visit(caller), session_id, refusal)

    def _other_site(self, scope: Scope, headers: Headers) -> AccessRefused | None:
        """Return the refusal of a request that a page of another site made a browser send."""
        try:
            browsers.refuse_other_sites(self._context, scope, headers)
        except AccessRefused as error:
            return error
        return None


@dataclass(frozen=True, slots=True)
class _Visitor:
    """The caller of a request. `session_id` is empty without a session. `refusal` is the reason to
    refuse any operation: another site may have sent the request.
    """

    visit: Visit
    session_id: str = ""
    refusal: AccessRefused | None = None


def _response(operation: Operation, call: ApiCall, answer: msgspec.Struct | None) -> Response:
    response = Response(status_code=operation.status, headers={"cache-control": "no-store"})
    if answer is not None:
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        response = Response(_encoder.encode(answer), operation.status, headers)
        start = getattr(answer, "next_page_start", "")
        if start:
            response.headers["x-next-page-start"] = quote(start, safe="/:")
    for cookie in call.cookies:
        response.headers.append("set-cookie", cookie)
    return response


def _path_of(scope: Scope) -> str:
    raw = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.decode("latin-1")
    return str(path.removeprefix(scope.get("root_path", "")))


def _query_of(scope: Scope) -> dict[str, str]:
    text = scope["query_string"].decode("latin-1")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise SettingsInvalid(f"query: {error}") from error


def _require_json(headers: Headers) -> None:
    """Refuse other bodies: a form of another site can send those without a preflight request."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise SettingsInvalid("the body has to be JSON: content-type: application/json")
