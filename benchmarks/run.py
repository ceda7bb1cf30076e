"""A run: all cases on all servers, with a progress bar."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import machine, results
from benchmarks.cases import Case, Effort
from benchmarks.disk import Scratch
from benchmarks.peers.peer import Peer
from benchmarks.report import table
from benchmarks.results import Report, Row
from benchmarks.session import Session

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Plan:
    """The cases, servers and directories of a run. The first peer is the subject."""

    cases: Sequence[Case]
    peers: Sequence[Peer]
    effort: Effort
    memory: Path
    disk: Path


def run(plan: Plan) -> tuple[Report, bool]:
    """Measure, and return the report and True if Ctrl-C interrupted it.

    The report of an interrupted run has the cases before the interruption. All started servers are
    stopped and all written files removed. Raises PeerUnavailable before the first measurement.
    """
    began = datetime.now(UTC)
    rows: list[Row] = []
    interrupted = False
    try:
        with _session(plan) as session, _progress() as progress:
            session.check()
            total = sum(map(session.turn_count, plan.cases))
            task = progress.add_task("", total=total)
            for case in plan.cases:
                progress.update(task, description=case.name)
                session.keep_only(case.setup)
                rows.append(session.run(case, lambda: progress.advance(task)))
                if not progress.console.is_terminal:
                    progress.console.print(table.line(rows[-1]), soft_wrap=True)
    except KeyboardInterrupt:
        interrupted = True
    return _report(plan, began, rows), interrupted


@contextmanager
def _session(plan: Plan) -> Iterator[Session]:
    session = Session(plan.peers, plan.effort, Scratch(plan.memory, plan.disk))
    try:
        yield session
    finally:
        # A second Ctrl-C must not interrupt the cleanup.
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDINGS}
        session.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _progress() -> Progress:
    """Return a progress bar on standard error. It is disabled without a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _report(plan: Plan, began: datetime, rows: Sequence[Row]) -> Report:
    return Report(
        version=results.VERSION,
        began=began.strftime("%Y-%m-%d %H:%M UTC"),
        commit=machine.commit(),
        machine=machine.machine(plan.memory, plan.disk),
        servers={peer.name: peer.version() for peer in plan.peers},
        durability={peer.name: peer.durability for peer in plan.peers},
        conditions={name: f"{value:g}" for name, value in asdict(plan.effort).items()},
        rows=tuple(rows),
    )
