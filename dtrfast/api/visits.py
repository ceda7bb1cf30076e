"""Visits: from a request's headers to its caller, and to the registry as that caller may use it."""

from __future__ import annotations

from functools import partial

from starlette.datastructures import Headers
from starlette.types import Scope

from dtrfast.api.types import ApiContext
from dtrfast.identity.callers import Caller
from dtrfast.identity.guard import Visit

# The key of a visit in a scope's state, for code of this process that calls the application itself.
# Clients cannot set it.
VISIT = "dtrfast.visit"
# The key of the caller's name in a scope's state, for the access log.
ACTOR = "dtrfast.actor"


async def of_request(context: ApiContext, scope: Scope, *, finishing: bool = False) -> Visit:
    """Return the visit of a request's caller. With `finishing` an expired token is still accepted,
    for its own upload.

    Raises `CallerUnknown`, `TooManyTries`, `Unavailable`.
    """
    given: Visit | None = scope.get("state", {}).get(VISIT)
    if given is not None:
        return given
    header = Headers(scope=scope).get("authorization")
    known = context.guard.known(header, finishing=finishing)
    if known is None:
        identify = partial(context.guard.identify, header, remote_of(scope), finishing=finishing)
        known = await context.hop.run(identify)
    name_caller(scope, known.caller)
    return known


def name_caller(scope: Scope, caller: Caller) -> None:
    """Put the caller's name into the scope's state for the access log, unless it is anonymous."""
    if caller.kind != "anonymous":
        scope.setdefault("state", {})[ACTOR] = caller.actor


def remote_of(scope: Scope) -> str:
    """Return the IP address of the request's client, as the edge of the server determined it; empty
    if there is none.
    """
    client = scope.get("client")
    return str(client[0]) if client else ""
