"""The store's figures for people: counts, damage, the scrub, its tables. Safe from many threads.

Each question is a transaction over local tables alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from dtrfast.index.engine import Engine
from dtrfast.index.survey import survey
from dtrfast.store import damage, scrub, statistics
from dtrfast.store.statistics import StoreStatistics


@dataclass(frozen=True, slots=True)
class DamageReport:
    """One damage. `subject` is the blob's digest or `chunk N`."""

    subject: str
    found_at: int
    reason: str


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """The present round of the scrub, or the last one. Times are 0 where there was none."""

    started_at: int
    ended_at: int
    bytes: int


class StoreReport:
    """Asks one store, in its own engine: that of the shared tables may be another one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def statistics(self) -> StoreStatistics:
        """Counts and sizes, at this moment."""
        with self._engine.read() as transaction:
            return statistics.read(transaction)

    def damages(self, limit: int) -> list[DamageReport]:
        """Up to `limit` damages, blobs first."""
        with self._engine.read() as transaction:
            found = damage.listed(transaction, limit)
        return [DamageReport(one.subject, one.found_at, one.reason) for one in found]

    def take_new_damages(self, limit: int) -> list[DamageReport]:
        """Damages that were not taken before."""
        if not self.damages(1):
            return []
        found = self._engine.write(partial(damage.take_untold, limit=limit))
        return [DamageReport(one.subject, one.found_at, one.reason) for one in found]

    def scrub(self) -> ScrubReport:
        """The state of the scrub."""
        with self._engine.read() as transaction:
            found = scrub.read(transaction)
        return ScrubReport(found.started_at, found.ended_at, found.bytes)

    def survey(self, rows_max: int) -> dict[str, str]:
        """Tell of each table of the store its rows, up to a number, or why they cannot be read."""
        return survey(self._engine, "local", rows_max)
