"""Conditional requests (RFC 9110 section 13): the entity tag of content is its digest."""

from __future__ import annotations

import re

from dtrfast.api.v2.call import Call
from dtrfast.oci.digests import Digest

_find_tags = re.compile(r'(?:W/)?("[^"]*")').findall

# What has a digest in its address never changes.
CACHE_FOREVER = "max-age=31536000"


def entity_tag(digest: str) -> str:
    """Of content with this digest, given as its text."""
    return f'"{digest}"'


def is_known(if_none_match: str | None, digest: Digest) -> bool:
    """Whether the client says that it has this content."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or entity_tag(str(digest)) in _find_tags(if_none_match)


def range_holds(call: Call, digest: Digest) -> bool:
    """Whether `Range` counts: `If-Range`, if it is there, must name this content."""
    header = call.headers.get("if-range")
    return header is None or header.strip() == entity_tag(str(digest))
