"""Pages of sorted and filtered lists, as the management API shows them.

If the index has a list in the order of names, the scan begins at the page's first name. Every other
list is read as a whole and then sorted, and the start of its next page is a number.

A request reads a bounded number of entries (`pages.BoundedScan`). If a filter leaves few entries of
a list by name, the page ends at that bound. It may be empty, and it contains the start of the next
page. A sorted list contains the entries up to the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from dtrfast.registry.pages import BoundedScan

T = TypeVar("T")
S = TypeVar("S")

LIMIT_DEFAULT = 50
LIMIT_MAX = 1000
_NUMBER_DIGITS_MAX = 9
# CPU time in which one request passes over entries of a sorted list that are not shown.
_WALK_SECONDS_MAX = 0.01

# The columns that a list can be sorted by, with the value of an entry in each. A filter is matched
# against the column `text` if there is one, else against `name`.
Columns = Mapping[str, Callable[[T], Any]]


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A request for one page.

    `start` is a `Listing.next_start`, or the first name of the page. `limit` is the number of
    entries. `filter` is a part of the name. `sort` is a column; a minus before it reverses the
    order.
    """

    start: str = ""
    limit: int = LIMIT_DEFAULT
    filter: str = ""
    sort: str = "name"
    limit_max: int = LIMIT_MAX

    @property
    def count(self) -> int:
        """The number of entries of a full page."""
        return min(self.limit, self.limit_max)

    @property
    def after(self) -> str:
        """A text just before `start`: no name lies between them."""
        if not self.start:
            return ""
        text = self.start.encode("ascii", "replace").decode()
        return text[:-1] + chr(max(0, ord(text[-1]) - 1)) + "\x7f"

    @property
    def number(self) -> int:
        """The number of entries of a sorted list that come before the page."""
        is_number = self.start.isascii() and self.start.isdecimal()
        return int(self.start) if is_number and len(self.start) <= _NUMBER_DIGITS_MAX else 0

    @property
    def is_by_name(self) -> bool:
        """True if the entries come in the order in which the index has their names."""
        return self.sort == "name"

    @property
    def first(self) -> str:
        """The name after which a scan by name begins."""
        return self.after if self.is_by_name else ""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list. `next_start` is empty at the end of the list. `is_exact` is False if the
    request could not read the whole list, so that a sorted page may miss entries.
    """

    entries: list[T] = field(default_factory=list)
    next_start: str = ""
    is_exact: bool = True

    def map(self, function: Callable[[T], S]) -> Listing[S]:
        """Return the same page with another entry in place of each."""
        return Listing([function(entry) for entry in self.entries], self.next_start, self.is_exact)


def take(entries: Iterable[T], request: ListRequest, name: Callable[[T], str]) -> Listing[T]:
    """Return the first entries of a list by name that begins at the page."""
    taken = list(islice(entries, request.count + 1))
    more = name(taken[-1]) if len(taken) > request.count > 0 else ""
    return Listing(taken[: request.count], more)


def by_name(
    entries: Iterable[T],
    request: ListRequest,
    columns: Columns[T],
    is_shown: Callable[[T], bool] | None = None,
) -> Listing[T]:
    """Return a page of a list that comes by name, and begins after `request.first`.

    The page has the entries for which `is_shown` is true. It is called for those that a page comes
    across, not for the whole list, so it may cost some microseconds.
    """
    source = BoundedScan(entries)
    wanted = _filtered(source, request, columns)
    if not request.is_by_name:
        return _sorted(wanted, source, request, columns, is_shown)
    shown = wanted if is_shown is None else filter(is_shown, wanted)
    page = take(shown, request, columns["name"])
    if source.is_cut and not page.next_start and request.count:
        return Listing(page.entries, columns["name"](source.rest[0]))
    return page


def whole(entries: Iterable[T], request: ListRequest, columns: Columns[T]) -> Listing[T]:
    """Return a page of a list that comes in any order and is read as a whole."""
    source = BoundedScan(entries)
    return _sorted(_filtered(source, request, columns), source, request, columns)


def _filtered(entries: Iterable[T], request: ListRequest, columns: Columns[T]) -> Iterable[T]:
    part = request.filter.strip().lower()
    if not part:
        return entries
    text = columns.get("text") or columns["name"]
    return (entry for entry in entries if part in text(entry).lower())


def _sorted(
    entries: Iterable[T],
    source: BoundedScan[T],
    request: ListRequest,
    columns: Columns[T],
    is_shown: Callable[[T], bool] | None = None,
) -> Listing[T]:
    column = columns[request.sort.removeprefix("-")]
    found = [(column(entry), entry) for entry in entries]
    found.sort(key=lambda row: row[0], reverse=request.sort.startswith("-"))
    # The start of a page counts the entries that are not shown, too.
    places = range(request.number, len(found))
    walk = BoundedScan(places, _WALK_SECONDS_MAX)
    shown = (place for place in walk if is_shown is None or is_shown(found[place][1]))
    taken = list(islice(shown, request.count + 1))
    beyond = taken[request.count :] or walk.rest
    more = str(beyond[0]) if request.count and beyond else ""
    page = [found[place][1] for place in taken[: request.count]]
    return Listing(page, more, is_exact=not source.is_cut)
