"""The OpenAPI 3.1 document of the operations, and the files of Swagger UI for the page about them.

The page itself, `/api/docs`, is one of the console.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

import dtrfast
from dtrfast.api.browsers import SECURE_PREFIX, SESSION
from dtrfast.api.errors import ErrorBody
from dtrfast.api.types import ApiContext
from dtrfast.api.v0.operation import Audience, Operation
from dtrfast.api.v0.router import CSRF_HEADER, OPERATIONS, PREFIX

_REFERENCE = "#/components/schemas/{name}"
_REFUSALS = {
    400: "the request is invalid",
    401: "the caller is unknown, or its credentials are wrong",
    403: "the caller may not do this",
    404: "it does not exist, or the caller may not see it",
    405: "it is switched off",
    409: "it conflicts with the present state",
    413: "the body is too long",
    429: "too many failed sign-ins",
    503: "the server cannot do this now: try again",
}
# Statuses of all operations.
_ALWAYS = (400, 401, 403, 413, 429, 503)
_PIECES = {
    "name": "A user or an organization.",
    "member": "A user.",
    "grantee": "A user.",
    "team": "A team.",
    "namespace": "A user or an organization; `_` for repositories without a namespace.",
    "repository": "The name after the namespace; write `%2F` for a slash in it.",
    "tag": "A tag.",
    "reference": "A tag, or a digest.",
    "digest": "A blob's digest.",
    "id": "The id of the repository in the trash.",
    "token": "A token's name or id.",
    "robot": "A robot's name or id.",
    "trust": "A trust's name.",
    "session": "A session's id, from the list of sessions.",
    "job": "A job's name.",
    "run": "The `run` of the answer to a deletion.",
}

_AUDIENCES: dict[Audience, str] = {
    "users": "For users. Robots, jobs, tokens with scopes and access tokens are refused.",
    "bounded": "For all callers with a sign-in.",
    "everyone": "For all callers, as far as they may see the repositories.",
}
_SECURITY_SCHEMES = {
    "basic": {"type": "http", "scheme": "basic"},
    "token": {"type": "http", "scheme": "bearer"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION,
        "description": f"Over TLS the name begins with {SECURE_PREFIX}.",
    },
    "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER},
}
_FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


def routes(context: ApiContext) -> list[Route]:
    if context.identity is None:
        return []

    async def document(request: Request) -> Response:
        headers = {"content-type": "application/json", "cache-control": "max-age=60"}
        return Response(_encoded(), headers=headers)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response(status_code=404)
        # The Python package has the files; it is not imported.
        package = importlib.util.find_spec("swagger_ui")
        assert package is not None
        assert package.origin is not None
        path = Path(package.origin).parent / "static" / name
        return FileResponse(path, media_type=_FILES[name])

    return [
        Route("/api/openapi.json", document),
        Route("/api/docs/{name}", file),
    ]


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(make_document())


def make_document() -> dict[str, Any]:
    """Return the whole document."""
    bodies = [o.body for o in OPERATIONS if o.body is not None]
    answers = [o.answer for o in OPERATIONS if o.answer is not None]
    types = list(dict.fromkeys([*bodies, *answers, ErrorBody]))
    _, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        methods = paths.setdefault(PREFIX + operation.path, {})
        methods[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dtrfast management API",
            "version": dtrfast.__version__,
            "description": "The API of Docker Trusted Registry 1.4, with additions.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY_SCHEMES},
        "security": [{"basic": []}, {"token": []}, {"session": [], "csrf": []}, {}],
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": _AUDIENCES[operation.audience],
        "tags": [operation.tag],
        "parameters": list(_parameters(operation)),
        "responses": {
            str(operation.status): {"description": "done", **_content(operation.answer)},
            **{
                str(status): {"description": _REFUSALS[status], **_content(ErrorBody)}
                for status in sorted({*_ALWAYS, *operation.refusals})
            },
        },
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, **_content(operation.body)}
    return described


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        text = {"type": "string", "minLength": 1}
        yield _parameter("path", name, text) | {"description": _PIECES[name]}
    if operation.query is not None:
        _, schemas = msgspec.json.schema_components([operation.query], ref_template=_REFERENCE)
        for name, schema in schemas[operation.query.__name__]["properties"].items():
            yield _parameter("query", name, schema)


def _parameter(place: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _content(kind: type | None) -> dict[str, Any]:
    if kind is None:
        return {}
    reference = {"$ref": _REFERENCE.format(name=kind.__name__)}
    return {"content": {"application/json": {"schema": reference}}}
