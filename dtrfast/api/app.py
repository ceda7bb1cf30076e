"""The application, assembled from its routes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dtrfast.api import health, token
from dtrfast.api.boundary import Boundary
from dtrfast.api.cross_origin import CrossOrigin
from dtrfast.api.errors import error_response, missing_page_response
from dtrfast.api.types import ApiContext
from dtrfast.api.v0 import openapi
from dtrfast.api.v0.router import V0
from dtrfast.api.v1 import search
from dtrfast.api.v2.router import V2
from dtrfast.errors import NotFound, OperationUnsupported

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def create_app(context: ApiContext, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application, for any ASGI server.

    `more` are routes that are tried after those of the API. The caller closes the parts of
    `context`.
    """
    parts = (search.routes, token.routes, openapi.routes, health.routes)
    routes: list[BaseRoute] = [route for make in parts for route in make(context)]
    if context.identity is not None:
        routes.append(V0(context, context.identity))
    else:
        routes.append(Route("/api/{path:path}", _without_accounts, methods=[*_METHODS]))
    app = Starlette(
        routes=[V2(context), *routes, *more],
        middleware=[Middleware(Boundary, CrossOrigin.of(context.config.server))],
        exception_handlers={HTTPException: _http_exception},
    )
    app.router.redirect_slashes = False
    return app


async def _without_accounts(request: Request) -> Response:
    return error_response(
        NotFound(
            "accounts are off (--auth none), so there is no management API: use the console, or"
            " commands on the data directory (--data)"
        )
    )


async def _http_exception(request: Request, error: Exception) -> Response:
    """Answer a request that the framework refuses: an unknown path, or an unknown method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return error_response(
            OperationUnsupported(f"{request.method} is not supported here"), error.headers
        )
    return missing_page_response()
