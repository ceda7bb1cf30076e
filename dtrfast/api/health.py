"""For whoever watches the process: is it alive, and can it serve?"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dtrfast.api.types import Context

_TEXT = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}


def routes(context: Context) -> list[Route]:
    async def healthz(request: Request) -> Response:
        return Response(b"ok\n", headers=_TEXT)

    async def readyz(request: Request) -> Response:
        # An index that does not answer raises, which is told as any other failure.
        await context.hop.run(context.registry.statistics)
        return Response(b"ready\n", headers=_TEXT)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/load_balancer_status", readyz),
    ]
