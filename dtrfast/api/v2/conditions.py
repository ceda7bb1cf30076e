"""Conditional requests: what a call asks of the content that is there."""

from __future__ import annotations

from dtrfast.api.v2.call import Call
from dtrfast.oci.conditions import Conditions, entity_tag
from dtrfast.oci.digests import Digest

# What has a digest in its address never changes.
CACHE_FOREVER = "max-age=31536000"


def conditions_of(call: Call) -> Conditions:
    """If-Match and If-None-Match of a call."""
    return Conditions.of(call.headers.raw)


def range_holds(call: Call, digest: Digest) -> bool:
    """Whether `Range` counts: `If-Range`, if it is there, must name this content."""
    header = call.headers.get("if-range")
    return header is None or header.strip() == entity_tag(str(digest))
