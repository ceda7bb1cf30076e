"""Pushes of new blobs, measured from the first byte to the acknowledgement."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.cases import Case, Setup, Turn
from benchmarks.content.layers import Kind, layers
from benchmarks.disk import Place, occupied_bytes
from benchmarks.holdings import Blob, push_of
from benchmarks.load import Framing, Job
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

REPOSITORY = "ci/pushed"
_FRAMINGS = (Framing.CHUNKED, Framing.LENGTH)
_CONNECTIONS = (1, 4, 16)
_QUICK = ("push/gzip/chunked/4", "push/gzip/length/1", "push/chunkable/length/4")


def cases() -> Iterator[Case]:
    """Return the cases of all kinds of content in memory, and of the most common ones on a disk."""
    for kind in Kind:
        for framing in _FRAMINGS:
            for connections in _CONNECTIONS:
                yield _case("push", kind, framing, connections, Setup())
    for kind in (Kind.GZIP, Kind.REAL):
        for connections in (1, 4):
            yield _case("push-disk", kind, Framing.CHUNKED, connections, Setup(place=Place.DISK))
    for framing in _FRAMINGS:
        for connections in (1, 4):
            yield _case("tls-push", Kind.GZIP, framing, connections, Setup(tls=True))


def _case(top: str, kind: Kind, framing: Framing, connections: int, setup: Setup) -> Case:
    name = f"{top}/{kind}/{framing}/{connections}"
    way = "over TLS " if setup.tls else ""
    way += "with its length" if framing is Framing.LENGTH else "chunked"
    return Case(
        name=name,
        about=f"push of new layers, {kind.about}, {way}, {connections} at a time",
        unit=Unit.BYTES,
        measure=partial(_measure, kind, framing, connections),
        needs=frozenset({Ability.RECEIVE}),
        setup=setup,
        writes=True,
        quick=name in _QUICK,
    )


def _measure(kind: Kind, framing: Framing, connections: int, turn: Turn) -> Sample:
    blobs = _blobs(kind, connections, turn)
    jobs = [Job((push_of(REPOSITORY, blob, framing),)) for blob in blobs]
    measured = turn.run(jobs, connections=connections)
    size = sum(blob.size for blob in blobs)
    return measured.sample(size, figures=_figures(turn, size))


def _blobs(kind: Kind, connections: int, turn: Turn) -> tuple[Blob, ...]:
    """Return the blobs to push: the same for one and for many connections, to compare the rows."""
    effort = turn.effort
    count = max(effort.push_blobs, connections)
    size = effort.push_blobs * effort.push_blob_bytes // count
    return turn.workshop.get(layers, kind, count, size, turn.salt)


def _figures(turn: Turn, size: int) -> dict[str, float]:
    """Return the bytes on disk as a figure, if the server stores blobs in a known folder."""
    if Ability.PUSH not in turn.stage.peer.abilities or turn.server.start is None:
        return {}
    return {"disk_per_byte": occupied_bytes(turn.server.data) / size}
