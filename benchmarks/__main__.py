"""`python -m benchmarks`: measure this checkout, alone or beside other servers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import cyclopts
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import load, machine, results
from benchmarks.cases import FULL, QUICK, Case, Effort
from benchmarks.comparison import Change, changes
from benchmarks.disk import Scratch
from benchmarks.load import LoadUnavailable
from benchmarks.peers import find
from benchmarks.peers.dtrfast import Dtrfast
from benchmarks.peers.peer import Peer, PeerUnavailable
from benchmarks.report import page, table
from benchmarks.results import Report, Row
from benchmarks.selection import NothingSelected, all_cases, select
from benchmarks.session import Session

app = cyclopts.App(name="benchmarks", help=__doc__, version_flags=[])
_MEMORY = Path("/dev/shm")
_DISK = Path("/var/tmp")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """How to run."""

    against: Annotated[
        tuple[str, ...],
        Parameter(help="A peer to measure in turns: a name, a URL, or all that are found."),
    ] = ()
    only: Annotated[
        tuple[str, ...],
        Parameter(consume_multiple=True, help="Cases: push, push/gzip, 'push/*/4'."),
    ] = ()
    quick: Annotated[bool, Parameter(negative="", help="End within a minute.")] = False
    rounds: Annotated[int | None, Parameter(help="Turns of each server.")] = None
    seconds: Annotated[float | None, Parameter(help="How long a turn of requests lasts.")] = None
    lanes: Annotated[Literal["on", "off"], Parameter(help="The short ways of dtrfast.")] = "on"


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Places:
    """Where files are read and written."""

    scratch: Annotated[Path, Parameter(help="A directory in memory.")] = _MEMORY
    disk: Annotated[Path, Parameter(help="A directory on a disk.")] = _DISK
    peer_path: Annotated[
        tuple[Path, ...], Parameter(help="A directory with programs of peers.")
    ] = ()
    json: Annotated[Path | None, Parameter(help="Write the report for machines.")] = None
    html: Annotated[Path | None, Parameter(help="Write the report with charts.")] = None
    compare: Annotated[
        Path | None, Parameter(help="An older JSON report: show what got slower.")
    ] = None


_DEFAULT_OPTIONS = Options()
_DEFAULT_PLACES = Places()
# Of the table where nobody looks at it as it comes.
_WIDTH = 150
# What a wrong command line, a missing peer or a missing compiler ends with.
_USAGE_STATUS = 2


@app.default
def measure(
    options: Options = _DEFAULT_OPTIONS,
    places: Places = _DEFAULT_PLACES,
    *,
    list_cases: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> int:
    """Measure, print a table, and say which figures of the design are reached.

    Exit status: 0; 1 when a server made errors or something got slower than in the report that is
    compared with; 2 when there is nothing to do.

    Args:
        list_cases: Show all cases, and measure nothing.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    try:
        cases = select(all_cases(), options.only, quick=options.quick)
        if list_cases:
            console.print(_listing(cases))
            return 0
        old = None if places.compare is None else results.decode(places.compare.read_bytes())
        found = find.peers(places.peer_path)
        subject = Dtrfast(lanes=options.lanes == "on")
        peers = [subject, *find.choose(options.against, found)]
        load.build()
    except (NothingSelected, PeerUnavailable, LoadUnavailable, OSError, ValueError) as error:
        return _complain(error)
    report = _run(console, cases, peers, _effort(options), places)
    console.print(table.render(report))
    _write(report, places)
    slower = [] if old is None else changes(old, report)
    _print_changes(console, slower)
    errors = any(outcome.errors for row in report.rows for outcome in row.outcomes.values())
    return int(errors or any(change.is_worse for change in slower))


def _run(
    console: Console, cases: Sequence[Case], peers: Sequence[Peer], effort: Effort, places: Places
) -> Report:
    """Measure all cases; what was measured before Ctrl-C is kept, and nothing else is."""
    began = datetime.now(UTC)
    rows: list[Row] = []
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with closing(Session(peers, effort, Scratch(places.scratch, places.disk))) as session, progress:
        total = sum(map(session.turn_count, cases))
        task = progress.add_task("", total=total)
        try:
            for case in cases:
                progress.update(task, description=case.name)
                session.keep_only(case.setup)
                rows.append(session.run(case, lambda: progress.advance(task)))
        except KeyboardInterrupt:
            console.print("stopped; what was measured so far:", style="yellow")
    return Report(
        version=results.VERSION,
        began=began.strftime("%Y-%m-%d %H:%M UTC"),
        commit=machine.commit(),
        machine=machine.machine(places.scratch, places.disk),
        servers={peer.name: peer.version() for peer in peers},
        conditions=_conditions(effort),
        rows=tuple(rows),
    )


def _effort(options: Options) -> Effort:
    effort = QUICK if options.quick else FULL
    if options.rounds is not None:
        effort = replace(effort, rounds=options.rounds)
    if options.seconds is not None:
        effort = replace(effort, seconds=options.seconds)
    return effort


def _conditions(effort: Effort) -> dict[str, str]:
    return {"effort": str(effort)}


def _listing(cases: Sequence[Case]) -> Table:
    listing = Table("case", "what", "quick", box=None, pad_edge=False, header_style="bold")
    for case in cases:
        listing.add_row(case.name, case.about, "yes" if case.quick else "")
    return listing


def _write(report: Report, places: Places) -> None:
    if places.json is not None:
        places.json.write_bytes(results.encode(report))
    if places.html is not None:
        places.html.write_text(page.render(report), encoding="utf-8")


def _print_changes(console: Console, found: Sequence[Change]) -> None:
    for change in found:
        console.print(str(change), style="bold red" if change.is_worse else "green")


def _complain(error: Exception) -> int:
    sys.stderr.write(f"{error}\n")
    return _USAGE_STATUS


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(app())
