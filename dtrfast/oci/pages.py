"""Paging of lists in the v2 API: the parameter `n` and the header `Link`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from dtrfast.errors import PageInvalid

_match_count = re.compile(r"[0-9]++").fullmatch
# A number with more digits is above any limit, so it is not converted.
_COUNT_DIGITS_MAX = 9


def parse_count(text: str | None, default: int, maximum: int) -> int:
    """Parse the value of `?n=`. Zero is legal; larger values than `maximum` give `maximum`.

    Raises `PageInvalid`.
    """
    if not text:
        return default
    if _match_count(text) is None:
        raise PageInvalid(f"n is {text[:20]!r}: give the number of entries wanted, 0 or more")
    digits = text.lstrip("0")
    return min(int(digits or "0"), maximum) if len(digits) <= _COUNT_DIGITS_MAX else maximum


def next_link(
    path: str, *, last: str, count: int | None, filters: Mapping[str, str] | None = None
) -> str:
    """Return a `Link` header to the next page.

    The address is relative, because clients refuse one with another host or scheme.
    """
    query = {"last": last}
    if count is not None:
        query["n"] = str(count)
    query.update(filters or {})
    return f'<{path}?{urlencode(query, safe="", quote_via=quote)}>; rel="next"'
