"""Time from the command to the first answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import scale
from benchmarks.cases import EMPTY, Case, Setup, Stage, Stock, Turn
from benchmarks.peers.dtrfast import Dtrfast
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

# The index of 1 TB in distinct chunks of 64 KiB.
_LARGE = scale.Scale(repositories=10_000, tags=100_000, chunks=16_000_000, largest=10_000)
# The store of quick runs, which only show that the case works.
_QUICK = scale.TENFOLD


@dataclass(frozen=True, slots=True)
class LargeStock(Stock):
    """A large store, for servers that can get one without pushes."""

    def before(self, stage: Stage) -> None:
        """Write dtrfast's index."""
        if isinstance(stage.peer, Dtrfast):
            large = _LARGE if stage.effort.has_large_store else _QUICK
            made = scale.large_store(stage.start.home, large)
            made.data.rename(stage.start.data)


def cases() -> Iterator[Case]:
    """Return the cases with an empty store and with the index of 1 TB; the start reads no files."""
    for name, stock in (("empty", EMPTY), ("large", LargeStock())):
        yield Case(
            name=f"start/{name}",
            about=f"start to first answer, {name} store",
            unit=Unit.SECONDS,
            measure=_measure,
            needs=frozenset({Ability.START, Ability.PUSH}),
            setup=Setup(stock=stock),
            running=False,
            writes=stock is EMPTY,
            quick=name == "empty",
        )


def _measure(turn: Turn) -> Sample:
    began = time.monotonic()
    turn.stage.open()
    seconds = time.monotonic() - began
    turn.stage.close()
    return Sample(work=seconds, seconds=seconds)
