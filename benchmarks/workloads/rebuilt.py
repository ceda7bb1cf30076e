"""Pushes of a rebuilt uncompressed layer, nine tenths of which are unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.cases import Case, Turn
from benchmarks.content.layers import Kind
from benchmarks.content.rebuilds import Rebuilds, rebuilds
from benchmarks.disk import occupied_bytes
from benchmarks.holdings import Holding, push_of
from benchmarks.load import Framing, Job
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

REPOSITORY = "ci/rebuilt"


def cases() -> Iterator[Case]:
    """Return the cases of random bytes, which do not compress, and of text."""
    for kind in (Kind.CHUNKABLE, Kind.COMPRESSIBLE):
        for framing in (Framing.CHUNKED, Framing.LENGTH):
            yield Case(
                name=f"rebuilt/{kind}/{framing}",
                about=f"push of layers, {kind.about}, that share 90 % with the one before",
                unit=Unit.BYTES,
                measure=partial(_measure, kind, framing),
                needs=frozenset({Ability.PUSH, Ability.START}),
                writes=True,
                quick=kind is Kind.CHUNKABLE and framing is Framing.CHUNKED,
            )


def _measure(kind: Kind, framing: Framing, turn: Turn) -> Sample:
    """Push the layers. `disk_bytes` is the space of all layers except the first one."""
    count, size = turn.effort.builds // 6 + 1, 2 * turn.effort.push_blob_bytes
    made: Rebuilds = turn.workshop.get(rebuilds, kind, count, size)
    turn.server.fill([Holding(REPOSITORY, (made.first,))])
    before = occupied_bytes(turn.server.data)
    jobs = [Job((push_of(REPOSITORY, blob, framing),)) for blob in made.others]
    measured = turn.run(jobs, connections=1)
    grown = occupied_bytes(turn.server.data) - before
    total = sum(blob.size for blob in made.others)
    return measured.sample(total, figures={"disk_bytes": grown})
