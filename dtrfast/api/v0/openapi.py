"""The OpenAPI 3.1 document, made from the operations; and a page to try them."""

from __future__ import annotations

import importlib.util
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
from dtrfast.api.types import Context
from dtrfast.api.v0.operation import Audience, Operation
from dtrfast.api.v0.router import CSRF_HEADER, OPERATIONS, PREFIX

_REFERENCE = "#/components/schemas/{name}"
_REFUSALS = {
    400: "what was sent cannot be done",
    401: "it is not known who asks",
    403: "who asks may not do this",
    404: "it is not there, or who asks may not know of it",
    405: "it is switched off",
    409: "what is there does not go together with it",
    413: "what was sent is too long",
    429: "too many failed tries to sign in",
    503: "not now: try again",
}
# Any operation may say these.
_ALWAYS = (400, 401, 403, 413, 429, 503)
_PIECES = {
    "name": "A user or an organization.",
    "member": "A user.",
    "grantee": "A user.",
    "team": "A team.",
    "namespace": "A user or an organization; `_` for repositories that have none.",
    "repository": "The name behind the namespace; a slash in it is written `%2F`.",
    "tag": "A tag.",
    "reference": "A tag, or a digest.",
    "digest": "A blob's digest.",
    "id": "The id that it has in the trash.",
    "token": "A token's name or id.",
    "robot": "A robot's name or id.",
    "trust": "A trust's name.",
    "session": "A session's id, as the list of them has it.",
    "job": "A job's name.",
    "run": "The run that a deletion answered with.",
}

# The page loads its scripts from here and nothing else from anywhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_AUDIENCES: dict[Audience, str] = {
    "users": "For users. Robots, jobs, tokens with scopes and access tokens are refused.",
    "bounded": "For all callers with a sign-in.",
    "everyone": "For all callers, as far as they may see the repositories.",
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>dtrfast management API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger", deepLinking: true});
"""
_FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}


def routes(context: Context) -> list[Route]:
    if context.identity is None:
        return []

    async def document(request: Request) -> Response:
        headers = {"content-type": "application/json", "cache-control": "max-age=60"}
        return Response(_encoded(), headers=headers)

    async def page(request: Request) -> Response:
        return _part(_PAGE, "text/html; charset=utf-8")

    async def start(request: Request) -> Response:
        return _part(_START, "text/javascript")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response(status_code=404)
        return FileResponse(_static() / name, media_type=_FILES[name])

    return [
        Route("/api/openapi.json", document),
        Route("/api/docs", page),
        Route("/api/docs/start.js", start),
        Route("/api/docs/{name}", file),
    ]


def _part(text: str, media_type: str) -> Response:
    return Response(text, headers={"content-type": media_type, "content-security-policy": _POLICY})


def _static() -> Path:
    """Where the files of Swagger UI are. Its Python package is not imported."""
    found = importlib.util.find_spec("swagger_ui")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "static"


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(make_document())


def make_document() -> dict[str, Any]:
    """The whole document."""
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
            "description": "The API of Docker Trusted Registry 1.4, and what came to it.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": SESSION,
                    "description": f"Over TLS the name begins with {SECURE_PREFIX}.",
                },
                "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER},
            },
        },
        "security": [{"basic": []}, {"token": []}, {"session": [], "csrf": []}, {}],
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": _AUDIENCES[operation.audience],
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [p[1:-1] for p in operation.path.split("/") if p.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PIECES[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in names
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    _, schemas = msgspec.json.schema_components([operation.query], ref_template=_REFERENCE)
    properties = schemas[operation.query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "done"}
    if operation.answer is not None:
        done["content"] = _content(operation.answer)
    refusals = sorted({*_ALWAYS, *operation.refusals})
    return {
        str(operation.status): done,
        **{
            str(status): {"description": _REFUSALS[status], "content": _content(ErrorBody)}
            for status in refusals
        },
    }


def _content(kind: type) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(name=kind.__name__)}
    return {"application/json": {"schema": reference}}
