"""`python -m benchmarks`: measure this checkout, alone or beside other servers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from benchmarks import load, results, run
from benchmarks.cases import FULL, QUICK, Case, Effort
from benchmarks.comparison import changes, differences
from benchmarks.load import LoadUnavailable
from benchmarks.peers import find
from benchmarks.peers.dtrfast import Dtrfast
from benchmarks.peers.peer import PeerUnavailable
from benchmarks.report import page, table
from benchmarks.results import Report
from benchmarks.selection import NothingSelected, all_cases, select

app = cyclopts.App(name="benchmarks", help=__doc__, version_flags=[])
_MEMORY = Path("/dev/shm")
_DISK = Path("/var/tmp")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run."""

    against: Annotated[
        tuple[str, ...],
        Parameter(
            negative="", help="A peer to measure too: a name, a URL, or `all` for those found."
        ),
    ] = ()
    only: Annotated[
        tuple[str, ...],
        Parameter(negative="", consume_multiple=True, help="Cases: push, push/gzip, 'push/*/4'."),
    ] = ()
    quick: Annotated[bool, Parameter(negative="", help="End within a minute.")] = False
    rounds: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="Turns of each server.")
    ] = None
    seconds: Annotated[
        float | None, Parameter(validator=Number(gt=0), help="The length of a turn of requests.")
    ] = None
    lanes: Annotated[Literal["on", "off"], Parameter(help="Use the fast path of dtrfast.")] = "on"


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Places:
    """Directories and files of a run."""

    scratch: Annotated[Path, Parameter(help="A directory in memory, for servers.")] = _MEMORY
    disk: Annotated[Path, Parameter(help="A directory on a disk, for servers.")] = _DISK
    peer_path: Annotated[
        tuple[Path, ...], Parameter(negative="", help="A directory with programs of peers.")
    ] = ()
    json: Annotated[Path | None, Parameter(help="Write the report as JSON.")] = None
    html: Annotated[Path | None, Parameter(help="Write the report as HTML with charts.")] = None
    compare: Annotated[Path | None, Parameter(help="An older JSON report to compare with.")] = None


_DEFAULT_OPTIONS = Options()
_DEFAULT_PLACES = Places()
# The width of the table if the output is no terminal.
_WIDTH = 160
# The exit status after a wrong command line, or if a peer or a compiler is missing.
_USAGE_STATUS = 2
# The exit status that a shell gives a program that Ctrl-C ended.
_INTERRUPTED_STATUS = 130


@app.default
def measure(
    *,
    options: Options = _DEFAULT_OPTIONS,
    places: Places = _DEFAULT_PLACES,
    list_cases: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> int:
    """Measure, print a table, and show which targets are reached.

    Exit status: 1 if a server made errors, or if a metric is worse than in the older report. 2 if
    nothing can be measured. 130 after Ctrl-C. Otherwise 0.

    Args:
        list_cases: Show the cases, and measure nothing.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    try:
        cases = select(all_cases(), options.only, quick=options.quick)
        if list_cases:
            console.print(_listing(cases))
            return 0
        _check_writable(places)
        old = None if places.compare is None else results.decode(places.compare.read_bytes())
        found = find.peers(places.peer_path)
        peers = [Dtrfast(lanes=options.lanes == "on"), *find.choose(options.against, found)]
        load.build()
        plan = run.Plan(cases, peers, _effort(options), places.scratch, places.disk)
    except (NothingSelected, PeerUnavailable, LoadUnavailable, OSError, ValueError) as error:
        return _complain(error)
    try:
        report, interrupted = run.run(plan)
    except PeerUnavailable as error:
        return _complain(error)
    console.print(table.render(report))
    _write(report, places)
    slower = old is not None and _compare(console, old, report)
    if interrupted:
        console.print(f"interrupted after {len(report.rows)} of {len(cases)} cases", style="yellow")
        return _INTERRUPTED_STATUS
    return int(report.has_failed or slower)


def _effort(options: Options) -> Effort:
    effort = QUICK if options.quick else FULL
    rounds, seconds = options.rounds or effort.rounds, options.seconds or effort.seconds
    return replace(effort, rounds=rounds, seconds=seconds)


def _listing(cases: Sequence[Case]) -> Table:
    listing = Table("case", "what", "quick", box=None, pad_edge=False, header_style="bold")
    for case in cases:
        listing.add_row(case.name, case.about, "yes" if case.quick else "")
    return listing


def _check_writable(places: Places) -> None:
    """Check before the long measurement that the reports can be written. Raises OSError."""
    for path in (places.json, places.html):
        if path is not None:
            path.open("ab").close()


def _write(report: Report, places: Places) -> None:
    if places.json is not None:
        places.json.write_bytes(results.encode(report))
    if places.html is not None:
        places.html.write_text(page.render(report), encoding="utf-8")


def _compare(console: Console, old: Report, new: Report) -> bool:
    """Print the changes. Returns True if a metric got worse."""
    found = changes(old, new)
    console.print(f"compared with {old.commit or 'a report'} of {old.began}:", style="bold")
    for difference in differences(old, new):
        console.print(difference, style="yellow")
    for change in found:
        console.print(str(change), style="bold red" if change.is_worse else "green")
    if not found:
        console.print("no change beyond the noise")
    return any(change.is_worse for change in found)


def _complain(error: Exception) -> int:
    sys.stderr.write(f"{error}\n")
    return _USAGE_STATUS


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    sys.exit(app())
