"""Pages of lists: which entries, in what order, and where the next page starts.

A list that the index has by name is read from the page's first name on. Everything else is read as
a whole, and then sorted; where the next page starts is then a number.

A request looks at a bounded number of entries (`pages.Bounded`). A page by name of which a filter
leaves little ends there, maybe empty, and tells where the next one starts. A list that is sorted
has the entries up to there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from dtrfast.registry.pages import Bounded

T = TypeVar("T")

LIMIT_DEFAULT = 50
LIMIT_MAX = 1000
# Of lists that show what manifests say: about 0.1 ms each.
MANIFESTS_LIMIT_MAX = 300
_NUMBER_DIGITS_MAX = 9


class PageQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`start` is a `nextPageStart` or the first name of the page, `limit` how many there are."""

    start: Annotated[str, Meta(max_length=255)] = ""
    limit: Annotated[int, Meta(ge=0)] = LIMIT_DEFAULT

    @property
    def count(self) -> int:
        """More than the most gives the most."""
        return min(self.limit, LIMIT_MAX)

    @property
    def after(self) -> str:
        """What the page comes after: no name lies between this and `start`."""
        if not self.start:
            return ""
        text = self.start.encode("ascii", "replace").decode()
        return text[:-1] + chr(max(0, ord(text[-1]) - 1)) + "\x7f"

    @property
    def number(self) -> int:
        """How many entries of a sorted list come before the page."""
        is_number = self.start.isascii() and self.start.isdecimal()
        return int(self.start) if is_number and len(self.start) <= _NUMBER_DIGITS_MAX else 0


class ListQuery(PageQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of the name. A minus before a column sorts from the greatest downwards.

    Each list says which columns it has, by a class of its own.
    """

    filter: Annotated[str, Meta(max_length=255)] = ""
    sort: str = "name"

    @property
    def is_by_name(self) -> bool:
        """Whether the entries are wanted in the order in which the index has names."""
        return self.sort == "name"

    @property
    def first(self) -> str:
        """What a scan by names begins after."""
        return self.after if self.is_by_name else ""


class NamedQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """For what has a name, and nothing else to go by."""

    sort: Literal["name", "-name"] = "name"


class DatedQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """For what has a name and was made at some time."""

    sort: Literal["name", "-name", "created", "-created"] = "name"


class WholeQuery(ListQuery, frozen=True, rename="camel", kw_only=True):
    """For lists that are short, and come as a whole unless somebody wants them in pages."""

    limit: Annotated[int, Meta(ge=0)] = LIMIT_MAX


# What entries are sorted by. `text`, where it is there, is what a filter looks into; else the name.
Columns = Mapping[str, Callable[[T], Any]]


def take(entries: Iterable[T], query: PageQuery, name: Callable[[T], str]) -> tuple[list[T], str]:
    """The entries of a page, and the name that the next page starts with; empty at the end."""
    taken = list(islice(entries, query.count + 1))
    more = name(taken[-1]) if len(taken) > query.count > 0 else ""
    return taken[: query.count], more


def scanned(entries: Iterable[T], query: ListQuery, columns: Columns[T]) -> tuple[list[T], str]:
    """A page of entries that come by name and begin after `query.first`. An
    operation that tells its caller of a cut passes the list as `Bounded`.
    """
    source = entries if isinstance(entries, Bounded) else Bounded(entries)
    wanted = _filtered(source, query, columns)
    if not query.is_by_name:
        return _sorted(wanted, query, columns)
    page, more = take(wanted, query, columns["name"])
    if source.is_cut and not more and query.count:
        more = columns["name"](source.rest[0])
    return page, more


def whole(entries: Iterable[T], query: ListQuery, columns: Columns[T]) -> tuple[list[T], str]:
    """A page of a list that is read as a whole, in whatever order its entries come."""
    return _sorted(_filtered(Bounded(entries), query, columns), query, columns)


def _filtered(entries: Iterable[T], query: ListQuery, columns: Columns[T]) -> Iterable[T]:
    part = query.filter.strip().lower()
    if not part:
        return entries
    text = columns.get("text") or columns["name"]
    return (entry for entry in entries if part in text(entry).lower())


def _sorted(entries: Iterable[T], query: ListQuery, columns: Columns[T]) -> tuple[list[T], str]:
    column = columns[query.sort.removeprefix("-")]
    found = [(column(entry), entry) for entry in entries]
    found.sort(key=lambda row: row[0], reverse=query.sort.startswith("-"))
    end = query.number + query.count
    more = str(end) if query.count and end < len(found) else ""
    return [entry for _, entry in found[query.number : end]], more
