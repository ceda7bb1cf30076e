"""The report of a run: the verdicts on all mutants, kept as JSON and compared with another run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.mutants.mutation import Mutant
from tests.mutants.trial import Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """The verdicts, and the budget that each mutant's tests had."""

    seconds_max: float
    verdicts: tuple[Verdict, ...]

    @classmethod
    def read(cls, path: Path) -> Report:
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))

    @property
    def mutants(self) -> list[Mutant]:
        return [verdict.mutant for verdict in self.verdicts]

    def __str__(self) -> str:
        died = sum(verdict.died for verdict in self.verdicts)
        outcomes = Counter(verdict.outcome for verdict in self.verdicts)
        parts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        return f"killed {died} of {len(self.verdicts)} ({parts})"

    def updated(self, verdicts: Iterable[Verdict]) -> Report:
        """Return the report with these verdicts in place of those on the same mutants."""
        new = {verdict.mutant: verdict for verdict in verdicts}
        kept = (new.get(verdict.mutant, verdict) for verdict in self.verdicts)
        return Report(self.seconds_max, tuple(kept))


def changes(before: Report, after: Report, *, died: bool) -> list[Verdict]:
    """Return the verdicts of `after` on mutants that died before and survive now, or the reverse.

    Both reports have the same mutants in the same order.
    """
    pairs = zip(before.verdicts, after.verdicts, strict=True)
    return [new for old, new in pairs if old.died is died and new.died is not died]
