"""end-1: is this a registry?"""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp

from dtrfast.api.v2.call import Call


async def get(call: Call) -> ASGIApp:
    return Response(b"{}", headers={"content-type": "application/json"})
