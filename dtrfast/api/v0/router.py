"""`/api/v0`: from a request to its operation and back.

A piece of the path is decoded after the path was split, so that a repository's name with slashes is
one piece (`team%2Fapp`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from dtrfast.api import browsers, challenge, visits
from dtrfast.api.body import read_small
from dtrfast.api.errors import error_response, missing_page_response
from dtrfast.api.types import Context
from dtrfast.api.v0 import (
    accounts,
    administration,
    credentials,
    diagnostics,
    grants,
    images,
    imports,
    jobs,
    ldap,
    logs,
    manifests,
    metrics,
    repositories,
    search,
    storage,
    teams,
    trash,
)
from dtrfast.api.v0 import (
    sessions as session_operations,
)
from dtrfast.api.v0.asking import Asker, convert_query, decode_body, execute, repository_of
from dtrfast.api.v0.operation import ApiCall, Operation
from dtrfast.errors import Denied, DtrfastError, SettingsInvalid, Unidentified, Unsupported
from dtrfast.identity import sessions
from dtrfast.identity.callers import ANONYMOUS, Caller
from dtrfast.identity.identity import Identity

PREFIX = "/api/v0"
CSRF_HEADER = "x-csrf-token"

_BODY_SIZE_MAX = 2 << 20
_SAFE = frozenset({"GET", "HEAD"})
_SIGN_IN = "/sessions"

OPERATIONS: tuple[Operation, ...] = tuple(
    operation
    for part in (
        accounts,
        imports,
        teams,
        repositories,
        grants,
        search,
        credentials,
        session_operations,
        administration,
        ldap,
        images,
        manifests,
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
        """The node of a path, and the variable pieces on the way to it."""
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

    def __init__(self, context: Context, identity: Identity) -> None:
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
            allowed = ", ".join(sorted({*node.methods, *_with_head(node.methods)}))
            error = Unsupported(f"{scope['method'][:20]} is not possible here")
            return error_response(error, {"allow": allowed})
        operation, names = node.methods[method]
        try:
            return await self._run(operation, dict(zip(names, values, strict=True)), scope, receive)
        except Unidentified as error:
            return self._challenge(scope, error)
        except DtrfastError as error:
            return error_response(error)

    async def _run(
        self, operation: Operation, path: dict[str, str], scope: Scope, receive: Receive
    ) -> Response:
        if not all(value.isprintable() for value in path.values()):
            return missing_page_response()
        headers = Headers(scope=scope)
        is_secure = browsers.is_secure(self._context, scope)
        sent_id = browsers.cookie_of(headers, browsers.SESSION, is_secure=is_secure)
        try:
            caller, session_id = await self._caller(operation, scope, headers, sent_id)
        except _Forged as error:
            self._note_forged(operation, path, scope, error)
            raise Denied(error.message) from error
        asker = Asker(
            self._identity,
            self._context.registry,
            self._context.store,
            self._context.config,
            caller,
            visits.remote_of(scope),
            is_secure=is_secure,
            session_id=session_id,
            proofs=browsers.known_proofs(headers, is_secure=is_secure),
        )
        if not operation.admits(caller):
            # Raises, before a byte of the body is read.
            await self._context.hop.run(execute, operation, asker.call(path, None, None))
        query = convert_query(operation, _query_of(scope))
        body = _convert_body(operation, scope, await self._read(operation, receive))
        call = asker.call(path, query, body)
        answer = await self._context.hop.run(execute, operation, call)
        return _response(operation, call, answer)

    async def _read(self, operation: Operation, receive: Receive) -> bytes:
        if operation.body is None:
            return b""
        seconds = self._context.config.server.idle_body_seconds
        return await read_small(receive, _BODY_SIZE_MAX, seconds)

    def _challenge(self, scope: Scope, error: Unidentified) -> Response:
        # No Basic: a browser would ask with a window of its own.
        realm = challenge.external_url(self._context, scope)
        return error_response(error, {"www-authenticate": f'Bearer realm="{realm}"'})

    async def _caller(
        self, operation: Operation, scope: Scope, headers: Headers, session_id: str
    ) -> tuple[Caller, str]:
        """Who calls: by the header, else by the session's cookie, which needs its CSRF token."""
        if operation.path == _SIGN_IN:
            with _forged_by(ANONYMOUS):
                browsers.refuse_other_sites(self._context, scope, headers)
            return ANONYMOUS, session_id
        if "authorization" in headers or visits.VISIT in scope.get("state", {}):
            return (await visits.of_request(self._context, scope)).caller, ""
        if not session_id:
            return ANONYMOUS, ""
        return await self._context.hop.run(self._session, operation, session_id, scope, headers)

    def _note_forged(
        self, operation: Operation, path: dict[str, str], scope: Scope, error: _Forged
    ) -> None:
        remote = visits.remote_of(scope)
        context = self._context
        asker = Asker(
            self._identity, context.registry, context.store, context.config, error.caller, remote
        )
        subject = repository_of(operation, path)
        asker.note_refusal(operation.method, operation.path.format_map(path), error, subject)

    def _session(
        self, operation: Operation, session_id: str, scope: Scope, headers: Headers
    ) -> tuple[Caller, str]:
        found = browsers.find_session(self._identity, session_id)
        if found is None:
            return ANONYMOUS, ""
        caller, record = found
        if operation.method not in _SAFE:
            with _forged_by(caller):
                browsers.refuse_other_sites(self._context, scope, headers)
                if not sessions.is_csrf_token(record, headers.get(CSRF_HEADER, "")):
                    raise Denied(f"the header {CSRF_HEADER} has to hold the session's CSRF token")
        visits.name_caller(scope, caller)
        return caller, session_id


class _Forged(Denied):
    """A request that its caller's browser sends for another site."""

    def __init__(self, message: str, caller: Caller) -> None:
        super().__init__(message)
        self.caller = caller


@contextmanager
def _forged_by(caller: Caller) -> Iterator[None]:
    """Say whose session a refusal is about."""
    try:
        yield
    except Denied as error:
        raise _Forged(error.message, caller) from error


def _response(operation: Operation, call: ApiCall, answer: msgspec.Struct | None) -> Response:
    response = Response(status_code=operation.status, headers={"cache-control": "no-store"})
    if answer is not None:
        response = Response(
            _encoder.encode(answer),
            operation.status,
            {"content-type": "application/json", "cache-control": "no-store"},
        )
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


def _with_head(methods: dict[str, Any]) -> Iterator[str]:
    if "GET" in methods:
        yield "HEAD"


def _query_of(scope: Scope) -> dict[str, str]:
    text = scope["query_string"].decode("latin-1")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise SettingsInvalid(f"query: {error}") from error


def _convert_body(operation: Operation, scope: Scope, data: bytes) -> object:
    if operation.body is None:
        return None
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A form of another site can send anything but this without asking first.
        raise SettingsInvalid("the body has to be JSON: content-type: application/json")
    return decode_body(operation, data)
