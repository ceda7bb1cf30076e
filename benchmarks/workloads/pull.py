"""Pulls of large blobs that are stored loose, as chunks, and as compressed chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.cases import Case, Setup, Stage, Stock, Turn
from benchmarks.content.layers import Kind, layers
from benchmarks.disk import Place, drop_from_cache
from benchmarks.holdings import Blob, Holding
from benchmarks.load import Job, Request
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

REPOSITORY = "library/large"
# The way in which dtrfast stores each kind. For other servers it is one large file.
KINDS = {"loose": Kind.GZIP, "raw": Kind.CHUNKABLE, "zstd": Kind.COMPRESSIBLE}
_CONNECTIONS = (1, 4, 16)
_QUICK = ("pull/loose/4", "pull/raw/1")


@dataclass(frozen=True, slots=True)
class LargeBlob(Stock):
    """A stock of one blob of the kind."""

    kind: Kind

    def after(self, stage: Stage) -> None:
        """Push the blob."""
        stage.server.fill([Holding(REPOSITORY, (self.blob(stage),))])

    def blob(self, stage: Stage) -> Blob:
        """Return the blob to pull."""
        found: tuple[Blob, ...] = stage.workshop.get(
            layers, self.kind, 1, stage.effort.pull_blob_bytes
        )
        return found[0]


def cases() -> Iterator[Case]:
    """Return the cases from memory, from a disk with a cold cache, and over TLS."""
    for name in KINDS:
        for connections in _CONNECTIONS:
            yield _case(f"pull/{name}/{connections}", name, connections, Setup())
        yield _case(f"pull/{name}/cold", name, 1, Setup(place=Place.DISK), is_cold=True)
    for connections in (1, 4):
        yield _case(f"tls-pull/{connections}", "loose", connections, Setup(tls=True))


def _case(name: str, kind: str, connections: int, setup: Setup, *, is_cold: bool = False) -> Case:
    way = "over TLS " if setup.tls else "from a disk " if is_cold else ""
    return Case(
        name=name,
        about=f"pull of a large blob, {KINDS[kind].about}, {way}{connections} at a time",
        unit=Unit.BYTES,
        measure=partial(_measure, connections, is_cold),
        needs=frozenset({Ability.PULL}),
        setup=replace(setup, stock=LargeBlob(KINDS[kind])),
        quick=name in _QUICK,
    )


def _measure(connections: int, is_cold: bool, turn: Turn) -> Sample:
    stage = turn.stage
    stock = stage.setup.stock
    assert isinstance(stock, LargeBlob)
    blob = stock.blob(stage)
    count = 1 if is_cold else max(turn.effort.pull_bytes // blob.size, connections)
    if is_cold:
        drop_from_cache(turn.server.data)
    jobs = [Job((Request("GET", f"/v2/{REPOSITORY}/blobs/{blob.digest}"),))] * count
    measured = turn.run(jobs, connections=connections)
    return measured.sample(measured.result.total.bytes_in)
