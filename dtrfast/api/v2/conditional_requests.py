"""Conditional requests: the headers that compare a request with the stored content."""

from __future__ import annotations

from dtrfast.api.v2.call import Call
from dtrfast.oci.conditions import Conditions, entity_tag
from dtrfast.oci.digests import Digest

# Content never changes at a path with its digest.
CACHE_FOREVER = "max-age=31536000"


def conditions_of(call: Call) -> Conditions:
    """Return If-Match and If-None-Match of a call."""
    return Conditions.of(call.headers.raw)


def range_holds(call: Call, digest: Digest) -> bool:
    """Return True if `Range` counts: there is no `If-Range`, or it names this content."""
    header = call.headers.get("if-range")
    return header is None or header.strip() == entity_tag(str(digest))
