"""Search by name, for `docker search`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import REPOSITORIES
from dtrfast.registry import repositories
from dtrfast.registry.records import RepositoryRecord, decode_repository
from dtrfast.store.blobs import RepositoryId

# A search reads names one after the other: 200,000 take about a quarter of a second.
_NAMES_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Match:
    """A repository that a search found."""

    name: str
    description: str


class Search:
    """Repositories by a part of their name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, term: str, count: int) -> list[Match]:
        """Up to `count` repositories with `term` in their name that hold something, in order."""
        wanted = term.strip().lower().encode("utf-8", "surrogatepass")
        with self._engine.read() as transaction:
            rows = transaction.scan(REPOSITORIES, limit=_NAMES_MAX)
            records = ((key, decode_repository(value)) for key, value in rows if wanted in key)
            shown = (_match(k, r) for k, r in records if _is_visible(transaction, r))
            return list(islice(shown, count))


def _match(key: bytes, record: RepositoryRecord) -> Match:
    return Match(key.decode(), record.description)


def _is_visible(transaction: ReadTransaction, record: RepositoryRecord) -> bool:
    return repositories.holds_something(transaction, RepositoryId(record.id))
