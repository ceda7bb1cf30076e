"""end-1: the check that this is a registry."""

from __future__ import annotations

from starlette.types import ASGIApp

from dtrfast.api.answers import Answer
from dtrfast.api.v2.call import Call

ANSWER = Answer(200, {"content-type": "application/json", "content-length": "2"}, b"{}")


async def get(call: Call) -> ASGIApp:
    """Answer 200 to a caller with a token; an anonymous token is enough.

    Clients learn from the challenge here that they need a token. Raises `SignInRequired`.
    """
    call.require_token()
    await call.run(call.registry.confirm)
    return ANSWER.response()
