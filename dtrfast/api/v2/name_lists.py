"""Pages of names, for lists of tags and for the catalog."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from dtrfast.api.v2.call import Call
from dtrfast.oci.pages import next_link, parse_count
from dtrfast.registry.pages import Page

_encoder = msgspec.json.Encoder()


def page_count(call: Call, default: int) -> int:
    """Return the requested number of entries. Raises `PageInvalid`."""
    maximum = call.context.config.registry.page_size_max
    return parse_count(call.query.get("n"), min(default, maximum), maximum)


def page_response(
    path: str, page: Page[str], count: int, content: Mapping[str, object]
) -> Response:
    """Return a page as JSON, with a link to the next one."""
    headers = {"content-type": "application/json"}
    if page.more:
        headers["link"] = next_link(path, last=page.entries[-1], count=count)
    return Response(_encoder.encode(content), headers=headers)
