"""The store's report for administrators: counts, damage, the scrub, its tables.

Safe from many threads. Each method is one transaction over local tables alone.
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
    """A damage. `subject` is the blob's digest or `chunk N`."""

    subject: str
    found_at: int
    reason: str


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """The present round of the scrub, or the last one. A time of 0 means never."""

    started_at: int
    ended_at: int
    bytes: int


class StoreReport:
    """The report of one store.

    `engine` has its local tables; shared tables may have another engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def statistics(self) -> StoreStatistics:
        """Return counts and sizes at this moment."""
        with self._engine.read() as transaction:
            return statistics.read(transaction)

    def damages(self, limit: int) -> list[DamageReport]:
        """Return up to `limit` damages, blobs first."""
        with self._engine.read() as transaction:
            found = damage.listed(transaction, limit)
        return [DamageReport(one.subject, one.found_at, one.reason) for one in found]

    def take_new_damages(self, limit: int) -> list[DamageReport]:
        """Return up to `limit` damages that this method did not return before."""
        if not self.damages(1):
            return []
        found = self._engine.write(partial(damage.take_untold, limit=limit))
        return [DamageReport(one.subject, one.found_at, one.reason) for one in found]

    def scrub(self) -> ScrubReport:
        """Return the present round of the scrub, or the last one."""
        with self._engine.read() as transaction:
            found = scrub.read(transaction)
        return ScrubReport(found.started_at, found.ended_at, found.bytes)

    def survey(self, rows_max: int) -> dict[str, str]:
        """Return for each local table its number of rows, up to `rows_max`, or its read error."""
        return survey(self._engine, "local", rows_max)
