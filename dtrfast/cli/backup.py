"""`dtrfast backup`, `restore` and `backups`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dtrfast.backup import snapshot, upkeep
from dtrfast.backup.create import Progress as Tell
from dtrfast.backup.create import create
from dtrfast.backup.place import Place
from dtrfast.backup.restore import restore as restore_into
from dtrfast.cli.ending import ends_cleanly
from dtrfast.cli.events import note
from dtrfast.cli.opening import opened
from dtrfast.cli.options import AMOUNT, WHOLE, ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.cli.stats import human
from dtrfast.config import load
from dtrfast.errors import Corrupt, SettingsInvalid
from dtrfast.identity.events import Detail, Outcome
from dtrfast.jobs import adoption
from dtrfast.outgoing.permit import Outgoing
from dtrfast.times import parse_rfc3339, rfc3339

backups = cyclopts.App(name="backups", help="Backups that were made.")

Destination = Annotated[str, Parameter(help="A directory, or s3://BUCKET/PREFIX.")]
# Below what serves requests, and so slow that pushes and pulls hardly notice: at 210 MB/s, from and
# to the disk of the store, they were done 0.75 times as often (docs/reliability.md).
_NICENESS = 19
_RATE = 64 << 20


def backup(
    destination: Destination,
    *,
    rate: Annotated[
        int, WHOLE, Parameter(help="Read at most so many bytes a second; 0: as fast as it goes.")
    ] = _RATE,
    config: ConfigFile = None,
    data: Data = None,
) -> int:
    """Back up everything, also while the server runs. What is there is not copied again."""
    settings = load(config, os.environ, {"store.data": data})
    os.nice(_NICENESS)
    began = time.monotonic()
    with ends_cleanly(), opened(settings) as store, _shown("copied") as tell:
        place = Place(destination, Outgoing(settings.outgoing))
        made = create(store, place, tell, rate=rate or None)
    outcome: Outcome = "failed" if made.missing else "ok"
    detail: Detail = {"snapshot": made.name, "missing": len(made.missing)}
    note(settings, "backup", detail, subject=destination, outcome=outcome)
    say(
        f"{made.name}: {made.files} files, {made.files_copied} of them new;"
        f" {human(made.bytes_copied)} copied in {time.monotonic() - began:.1f} s"
    )
    for name in made.missing:
        say(f"the file {name} is gone, cut off or cannot be read: see `dtrfast verify`")
    return 1 if made.missing else 0


def restore(
    source: Destination,
    *,
    at: Annotated[
        str | None,
        Parameter(help="The newest not later than this, as 2026-01-31T12:00:00Z."),
    ] = None,
    config: ConfigFile = None,
    data: Data = None,
) -> int:
    """Make a data directory from a backup. If it was cut off, run it again: it goes on."""
    settings = load(config, os.environ, {"store.data": data})
    passed_over: list[str] = []
    lost: list[str] = []
    with ends_cleanly(), _shown("fetched") as tell:
        found = restore_into(
            Place.existing(source, Outgoing(settings.outgoing)),
            settings.store.data,
            tell,
            lost.append,
            until=_time(at),
            note=passed_over.append,
        )
    with opened(settings) as store:
        adoption.adopt(store)  # of a backup by the version before: `verify` comes before a server
    outcome: Outcome = "failed" if lost else "ok"
    detail: Detail = {"made": rfc3339(found.made_at), "lost": len(lost)}
    note(settings, "restore", detail, subject=source, outcome=outcome)
    for line in (*passed_over, *lost):
        say(line)
    say(
        f"restored the backup of {rfc3339(found.made_at)} to {settings.store.data}:"
        f" {found.file_count} files, {human(found.file_bytes)}"
    )
    return 1 if lost else 0


@backups.command(name="list")
def list_backups(destination: Destination, *, config: ConfigFile = None) -> None:
    """List the backups in a place."""
    place = _existing(destination, config)
    told: list[str] = []
    snapshot.check_marker(place, told.append)
    told += snapshot.strays(place)
    names = snapshot.names(place)
    if not names:
        told.append(snapshot.absence(place))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("made", "files", "size", "new", "change"):
        table.add_column(column, justify="left" if column == "made" else "right")
    for name in names:
        try:
            one = snapshot.read(place, name)
        except Corrupt as error:
            told.append(str(error))
            continue
        sizes = (human(one.file_bytes), human(one.new_bytes))
        table.add_row(rfc3339(one.made_at), f"{one.file_count:,}", *sizes, str(one.change_number))
    Console().print(table)
    for line in told:
        say(line)


@backups.command(name="verify")
def verify_backups(destination: Destination, *, config: ConfigFile = None) -> int:
    """Read all that the backups in a place need."""
    place = _existing(destination, config)
    with _shown("read") as tell:
        findings = list(upkeep.verify(place, tell))
    for finding in findings:
        say(finding)
    say("all of it is there" if not findings else f"{len(findings)} things are not whole")
    return 1 if findings else 0


@backups.command(name="prune")
def prune_backups(
    destination: Destination,
    *,
    keep_last: Annotated[int, WHOLE, Parameter(help="Keep so many.")] = 7,
    keep_days: Annotated[float, AMOUNT, Parameter(help="Keep those that are younger.")] = 0,
    config: ConfigFile = None,
) -> None:
    """Delete old backups, and what none of the others needs."""
    place = _existing(destination, config)
    with ends_cleanly():
        gone, freed = upkeep.prune(place, keep_last=keep_last, keep_days=keep_days)
    say(f"deleted {len(gone)} backups; freed {human(freed)}")


def _existing(destination: str, config: Path | None) -> Place:
    """A place of backups, reached as the settings say."""
    return Place.existing(destination, Outgoing(load(config, os.environ).outgoing))


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError) as error:
        raise SettingsInvalid(f"--at: {text!r} is no time such as 2026-01-31T12:00:00Z") from error


@contextmanager
def _shown(what: str) -> Iterator[Tell]:
    """A bar on a terminal."""
    with Progress(
        TextColumn("{task.fields[done]} " + what),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        row = bar.add_task("", total=None, done="")

        def tell(done: int, total: int) -> None:
            bar.update(row, completed=done, total=total or None, done=human(done))

        yield tell
