"""Pages of long lists: how many entries a request may want, and where the next page is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from dtrfast.errors import PageInvalid

_match_count = re.compile(r"[0-9]++").fullmatch
# More digits than any limit has are not read, only known to be over it.
_COUNT_DIGITS_MAX = 9


def parse_count(text: str | None, default: int, maximum: int) -> int:
    """The value of `?n=`. Zero is legal; more than `maximum` gets `maximum`."""
    if not text:
        return default
    if _match_count(text) is None:
        raise PageInvalid(f"n is {text[:20]!r}: give the number of entries wanted, 0 or more")
    digits = text.lstrip("0")
    return min(int(digits or "0"), maximum) if len(digits) <= _COUNT_DIGITS_MAX else maximum


def next_link(
    path: str, *, last: str, count: int | None, filters: Mapping[str, str] | None = None
) -> str:
    """A `Link` header. Relative, because clients refuse one that names another host or scheme."""
    query = {"last": last}
    if count is not None:
        query["n"] = str(count)
    query.update(filters or {})
    return f'<{path}?{urlencode(query, safe="", quote_via=quote)}>; rel="next"'
