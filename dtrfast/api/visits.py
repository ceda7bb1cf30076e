"""Who calls: from a request's header to the registry as that caller may use it."""

from __future__ import annotations

from functools import partial

from starlette.datastructures import Headers
from starlette.types import Scope

from dtrfast.api.types import Context
from dtrfast.identity.callers import Caller
from dtrfast.identity.guard import Visit

# A visit that whoever calls the application from inside this process puts into the scope's state,
# where no client can put anything.
VISIT = "dtrfast.visit"
# Where the name of the caller is put for whoever logs the request.
ACTOR = "dtrfast.actor"


async def of_request(context: Context, scope: Scope, *, finishing: bool = False) -> Visit:
    """The caller of a request. `finishing`: an expired token counts, for an upload of its own.

    Raises `Unidentified`, `TooManyTries`, `Unavailable`.
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
    """Leave the caller's name for whoever logs the request; nobody's is left out."""
    if caller.kind != "anonymous":
        scope.setdefault("state", {})[ACTOR] = caller.actor


def remote_of(scope: Scope) -> str:
    """The address of the request's client, which the edge of the server found."""
    client = scope.get("client")
    return str(client[0]) if client else ""
