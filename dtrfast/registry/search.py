"""Searches by a part of a name: repositories, and tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import management, repositories, tags
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.listing import Listing, ListRequest
from dtrfast.registry.management import RepositoryView
from dtrfast.registry.pages import BoundedScan
from dtrfast.registry.permits import Action, Permits

# CPU time for a look through names of repositories, and for one through tags.
_SECONDS_MAX = 0.02


@dataclass(frozen=True, slots=True)
class Match:
    """A repository that a search found."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class TagMatch:
    """A tag that a search found."""

    repository: RepositoryName
    tag: str


class Search:
    """Searches in a registry, for one caller. Each looks at a bounded number of names."""

    def __init__(self, engine: Engine, permits: Permits) -> None:
        self._engine = engine
        self._permits = permits

    def find(self, term: str, count: int) -> list[Match]:
        """Return up to `count` repositories with `term` in their name that hold something, in
        order, for `docker search`.
        """
        wanted = term.strip().lower().encode("utf-8", "surrogatepass")
        with self._engine.read() as transaction:
            names = BoundedScan(self._permits.visible(transaction, b""))
            matches = islice((name for name in names if wanted in name), count)
            found = [RepositoryName(name.decode()) for name in matches]
            records = repositories.records(transaction, found)
        return [Match(n.text, records[n.text].description) for n in found if n.text in records]

    def repositories(self, part: str, count: int, namespace: str = "") -> Listing[RepositoryView]:
        """Return up to `count` repositories with `part` in their name, in order; with `namespace`
        only those of one account.
        """
        with self._engine.read() as transaction:
            visible = management.visible_names(transaction, self._permits)
            names = BoundedScan(visible, _SECONDS_MAX)
            found = (
                name
                for name in names
                if part in name and (not namespace or RepositoryName(name).owner == namespace)
            )
            page = management.page_of(
                transaction, self._permits, islice(found, count), ListRequest(limit=count)
            )
            is_exact = not names.is_cut and not page.next_start
            return Listing(page.entries, is_exact=is_exact)

    def tags(self, text: str, count: int) -> Listing[TagMatch]:
        """Return up to `count` tags with a text in their name, those of the newest repositories
        first; for `app:v1` tags with `v1` of repositories with `app` in their name.
        """
        place, _, part = text.rpartition(":")
        with self._engine.read() as transaction:
            rows = BoundedScan(self._tag_rows(transaction, place), _SECONDS_MAX)
            found = list(islice(self._tags(transaction, part, rows), count))
        return Listing(found, is_exact=not rows.is_cut)

    def _tag_rows(
        self, transaction: ReadTransaction, place: str
    ) -> Iterator[tuple[RepositoryId, str] | None]:
        """Return tags with their repositories. None stands for a repository that was skipped."""
        if not place:
            yield from tags.newest(transaction)
            return
        for name in management.visible_names(transaction, self._permits):
            number = repositories.find(transaction, RepositoryName(name)) if place in name else None
            yield None
            if number is not None:
                yield from ((number, tag) for tag in tags.names(transaction, number))

    def _tags(
        self,
        transaction: ReadTransaction,
        part: str,
        rows: Iterable[tuple[RepositoryId, str] | None],
    ) -> Iterator[TagMatch]:
        """Return the tags with a text in their name that the caller may see."""
        names: dict[RepositoryId, RepositoryName | None] = {}
        for row in rows:
            if row is None or part not in row[1].lower():
                continue
            number, tag = row
            if number not in names:
                name = repositories.name_of(transaction, number)
                is_visible = name and self._permits.may(transaction, Action.PULL, name)
                names[number] = name if is_visible else None
            name = names[number]
            if name is not None:
                yield TagMatch(name, tag)
