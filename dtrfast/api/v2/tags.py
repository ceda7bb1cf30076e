"""end-8: the tags of a repository."""

from __future__ import annotations

from starlette.types import ASGIApp

from dtrfast.api.v2.call import Call
from dtrfast.api.v2.name_lists import page_count, page_response

# Without `n` a client wants all tags, so it gets as many as a page may have.
_COUNT_DEFAULT = 1_000_000


async def get(call: Call) -> ASGIApp:
    """Answer a page of the tags of a repository."""
    count = page_count(call, _COUNT_DEFAULT)
    last = call.query.get("last", "")
    page = await call.run(call.registry.tags.page, call.name, count, last)
    content = {"name": call.name.text, "tags": page.entries}
    return page_response(call.path("tags", "list"), page, count, content)
