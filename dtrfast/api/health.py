"""Health checks for monitoring: is the process alive, and can it answer requests?"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dtrfast.api.types import ApiContext

_TEXT = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}


def routes(context: ApiContext) -> list[Route]:
    async def healthz(request: Request) -> Response:
        return Response(b"ok\n", headers=_TEXT)

    async def readyz(request: Request) -> Response:
        # If the index does not answer, this raises, and the answer is that of any failure.
        await context.hop.run(context.registry.statistics)
        return Response(b"ready\n", headers=_TEXT)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/load_balancer_status", readyz),
    ]
