"""end-1: is this a registry?"""

from __future__ import annotations

from starlette.types import ASGIApp

from dtrfast.api.answers import Answer
from dtrfast.api.v2.call import Call

ANSWER = Answer(200, {"content-type": "application/json", "content-length": "2"}, b"{}")


async def get(call: Call) -> ASGIApp:
    """Clients learn here that they need a token; an anonymous one will do."""
    call.require_token()
    await call.run(call.registry.confirm)
    return ANSWER.response()
