"""Small ranges of a large blob, as lazy pullers read them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

from benchmarks.cases import Case, Setup, Turn
from benchmarks.load import Job, Request
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit
from benchmarks.workloads.pull import KINDS, REPOSITORY, LargeBlob

_SLICE_SIZE = 65536
_SLICES = 1000
_CONNECTIONS = 16


def cases() -> Iterator[Case]:
    """Return a case for each way to store a blob."""
    for name, kind in KINDS.items():
        yield Case(
            name=f"ranged/{name}",
            about=f"GET of 64 KiB anywhere in a large blob, {kind.about}",
            unit=Unit.REQUESTS,
            measure=partial(_measure, LargeBlob(kind)),
            needs=frozenset({Ability.PULL}),
            setup=Setup(stock=LargeBlob(kind)),
        )


def _measure(stock: LargeBlob, turn: Turn) -> Sample:
    blob = stock.blob(turn.stage)
    source = random.Random(_SLICES)
    starts = [source.randrange(blob.size - _SLICE_SIZE) for _ in range(_SLICES)]
    path = f"/v2/{REPOSITORY}/blobs/{blob.digest}"
    jobs = [
        Job((Request("GET", path, expect=(206,), headers=(("Range", _range(start)),)),))
        for start in starts
    ]
    seconds = turn.effort.seconds
    measured = turn.run(jobs, connections=_CONNECTIONS, seconds=seconds, repeat=True)
    return measured.sample(measured.result.total.count)


def _range(start: int) -> str:
    return f"bytes={start}-{start + _SLICE_SIZE - 1}"
