"""Anonymous memory of the server: idle, and during uploads."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import load
from benchmarks.cases import Case, Setup, Turn
from benchmarks.peers.peer import Ability
from benchmarks.processes import memory
from benchmarks.results import Sample, Unit

_UPLOADS = 100
# More than any buffer of a transfer, so that each transfer has allocated its buffers.
_PREFIX_SIZE = 8 << 20
_LOOKS = 10
_LOOK_SECONDS = 0.2


def cases() -> Iterator[Case]:
    """Return the cases, with one worker if the server has workers."""
    about = "anonymous resident memory, one worker, "
    for name, what, measure in (
        ("idle", "idle", _measure_idle),
        ("uploads", f"{_UPLOADS} uploads in flight", _measure_uploads),
    ):
        yield Case(
            name=f"memory/{name}",
            about=about + what,
            unit=Unit.MEMORY,
            measure=measure,
            needs=frozenset({Ability.PUSH, Ability.START}),
            setup=Setup(workers=1),
            writes=True,
            rounds=1,
            quick=name == "idle",
        )


def _measure_idle(turn: Turn) -> Sample:
    return _sample(turn, _anonymous(turn))


def _measure_uploads(turn: Turn) -> Sample:
    """Measure the peak while all uploads are open and receive one byte a second each."""
    path = "/v2/ci/uploads/blobs/uploads/"
    with turn.server.watched() as cost:
        holding = load.hold(
            turn.server.address,
            kind="slow-upload",
            count=_UPLOADS,
            path=path,
            prefix_size=_PREFIX_SIZE,
        )
        with holding as held:
            lost = _UPLOADS - held.opened
            found = [_look(turn) for _ in range(_LOOKS)]
    return _sample(turn, max(*found, cost.peak.anonymous), errors=lost)


def _look(turn: Turn) -> int:
    time.sleep(_LOOK_SECONDS)
    return _anonymous(turn)


def _anonymous(turn: Turn) -> int:
    return memory(turn.server.processes.pids()).anonymous


def _sample(turn: Turn, level: int, errors: int = 0) -> Sample:
    largest = memory(turn.server.processes.pids()).anonymous_largest
    figures = {"largest_process_bytes": float(largest)}
    return Sample(work=level, seconds=1.0, errors=errors, figures=figures)
