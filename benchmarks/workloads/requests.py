"""Rates of small requests, sent one after the other on 16 connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.cases import Case, Setup, Turn
from benchmarks.content.images import Image
from benchmarks.load import Job, Request
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit
from benchmarks.workloads.library import LIBRARY, library

CONNECTIONS = 16


def cases(
    name: str,
    about: str,
    steps: Callable[[Sequence[Image]], list[Request]],
    *,
    quick: bool = False,
    tls: bool = False,
) -> Iterator[Case]:
    """Yield the case, and with `tls` also the case over TLS, which is never in the quick set."""
    for over_tls in (False, True) if tls else (False,):
        yield Case(
            name=f"{name}/tls" if over_tls else name,
            about=about + (" over TLS" if over_tls else ""),
            unit=Unit.REQUESTS,
            measure=partial(_measure, steps),
            needs=frozenset({Ability.PULL}),
            setup=Setup(stock=LIBRARY, tls=over_tls),
            quick=quick and not over_tls,
        )


def _measure(steps: Callable[[Sequence[Image]], list[Request]], turn: Turn) -> Sample:
    jobs = [Job((step,)) for step in steps(turn.workshop.get(library))]
    seconds = turn.effort.seconds
    measured = turn.run(jobs, connections=CONNECTIONS, seconds=seconds, repeat=True)
    return measured.sample(measured.result.total.count)
