"""Queries of lists."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dtrfast.errors import SettingsInvalid
from dtrfast.registry.listing import LIMIT_DEFAULT, LIMIT_MAX, ListRequest
from dtrfast.times import parse_rfc3339


class PageQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`start` is a `nextPageStart`, or the first name of the page. `limit` is the number of
    entries; lists have a maximum of their own.
    """

    start: Annotated[str, Meta(max_length=255)] = ""
    limit: Annotated[int, Meta(ge=0)] = LIMIT_DEFAULT

    @property
    def request(self) -> ListRequest:
        return ListRequest(self.start, self.limit)

    @property
    def count(self) -> int:
        return self.request.count


class ListQuery(PageQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of the name. A minus before a column reverses the order.

    Each list names its columns in a class of its own.
    """

    filter: Annotated[str, Meta(max_length=255)] = ""
    sort: str = "name"

    @property
    def request(self) -> ListRequest:
        return ListRequest(self.start, self.limit, self.filter, self.sort)


class NamedQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """For lists that are sorted by name alone."""

    sort: Literal["name", "-name"] = "name"


class DatedQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """For lists that are sorted by name, or by the time of creation."""

    sort: Literal["name", "-name", "created", "-created"] = "name"


class WholeQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """For short lists, which come as a whole unless the client requests pages."""

    limit: Annotated[int, Meta(ge=0)] = LIMIT_MAX


class JournalQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """For logs. `start` is a `nextPageStart`. `since` and `until` are times as in RFC 3339."""

    start: Annotated[str, Meta(max_length=255)] = ""
    limit: Annotated[int, Meta(ge=1)] = 100
    since: str = ""
    until: str = ""
    text: str = ""

    @property
    def count(self) -> int:
        """The number of entries of a full page."""
        return min(self.limit, LIMIT_MAX)

    @property
    def period(self) -> dict[str, float]:
        """`since` and `until` in seconds since the epoch; 0: omitted. Raises `SettingsInvalid`."""
        return {name: _seconds(name, getattr(self, name)) for name in ("since", "until")}


def _seconds(name: str, text: str) -> float:
    try:
        return parse_rfc3339(text) if text else 0.0
    except (ValueError, OverflowError) as error:
        raise SettingsInvalid(
            f"{name}: {text[:40]!r} is no time such as 2026-01-31T23:59:59Z"
        ) from error
