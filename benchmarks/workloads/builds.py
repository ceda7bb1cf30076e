"""Bytes on disk after many builds of an image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.cases import Case, Turn
from benchmarks.content.layers import Kind, layers
from benchmarks.content.rebuilds import rebuilds
from benchmarks.disk import occupied_bytes
from benchmarks.holdings import Blob, Holding
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

REPOSITORY = "ci/built"
_LAYER_SIZE = 32 << 20
# The part that differs in each build: a compressed layer.
_GZIP_SIZE = 4 << 20


def cases() -> Iterator[Case]:
    """Uncompressed layers share unchanged chunks; compressed layers are shared only if equal."""
    for name, about in (
        ("uncompressed", "an uncompressed layer of real files, a tenth of it new each time"),
        ("gzip", "a compressed layer, new each time"),
    ):
        yield Case(
            name=f"builds/{name}",
            about=f"bytes on disk after successive builds with {about}",
            unit=Unit.DISK,
            measure=partial(_measure, name),
            needs=frozenset({Ability.PUSH, Ability.START}),
            writes=True,
            rounds=1,
        )


def _measure(name: str, turn: Turn) -> Sample:
    blobs = _blobs(name, turn)
    for blob in blobs:
        turn.server.fill([Holding(REPOSITORY, (blob,))])
    total = sum(blob.size for blob in blobs)
    figures = {"builds": float(len(blobs)), "pushed_bytes": float(total)}
    return Sample(work=occupied_bytes(turn.server.data), seconds=1.0, figures=figures)


def _blobs(name: str, turn: Turn) -> list[Blob]:
    count = turn.effort.builds
    if name == "gzip":
        return list(turn.workshop.get(layers, Kind.GZIP, count, _GZIP_SIZE))
    made = turn.workshop.get(rebuilds, Kind.REAL, count - 1, _LAYER_SIZE)
    return [made.first, *made.others]
