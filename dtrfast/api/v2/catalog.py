"""The catalog: Docker's list of repositories."""

from __future__ import annotations

from starlette.types import ASGIApp

from dtrfast.api.v2.call import Call
from dtrfast.api.v2.name_lists import page_count, page_response
from dtrfast.errors import ScopeTooSmall

_COUNT_DEFAULT = 100  # as in the reference server, distribution


async def get(call: Call) -> ASGIApp:
    """Answer a page of the repositories that the caller can see. Raises `ScopeTooSmall`."""
    call.require_token()
    if not call.visit.caller.lists:
        raise ScopeTooSmall("this token does not cover the catalog")
    count = page_count(call, _COUNT_DEFAULT)
    page = await call.run(call.registry.catalog.page, count, call.query.get("last", ""))
    path = call.scope.get("root_path", "") + "/v2/_catalog"
    return page_response(path, page, count, {"repositories": page.entries})
