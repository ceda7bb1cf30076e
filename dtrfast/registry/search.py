"""Search by name, for `docker search`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import REPOSITORIES
from dtrfast.registry.pages import Bounded
from dtrfast.registry.permits import Permits
from dtrfast.registry.records import decode_repository


@dataclass(frozen=True, slots=True)
class Match:
    """A repository that a search found."""

    name: str
    description: str


class Search:
    """Repositories by a part of their name."""

    def __init__(self, engine: Engine, permits: Permits) -> None:
        self._engine = engine
        self._permits = permits

    def find(self, term: str, count: int) -> list[Match]:
        """Up to `count` repositories with `term` in their name that hold something and that the
        caller may see, in order; of those names that one request looks at.
        """
        wanted = term.strip().lower().encode("utf-8", "surrogatepass")
        with self._engine.read() as transaction:
            names = Bounded(self._permits.visible(transaction, b""))
            found = islice((name for name in names if wanted in name), count)
            return [_match(transaction, name) for name in found]


def _match(transaction: ReadTransaction, name: bytes) -> Match:
    record = transaction.get(REPOSITORIES, name)
    description = "" if record is None else decode_repository(record).description
    return Match(name.decode(), description)
