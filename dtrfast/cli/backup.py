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

from dtrfast.backup import maintenance, snapshot
from dtrfast.backup.create import ProgressCallback, create_backup
from dtrfast.backup.place import BackupPlace
from dtrfast.backup.restore import restore_backup
from dtrfast.cli.command_events import note
from dtrfast.cli.ending import ends_cleanly
from dtrfast.cli.opening import opened
from dtrfast.cli.options import AMOUNT, WHOLE, ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.cli.stats import human
from dtrfast.config import load
from dtrfast.errors import Corrupt, SettingsInvalid
from dtrfast.identity.events import Detail, Outcome
from dtrfast.jobs import adoption
from dtrfast.outgoing.permit import OutgoingPolicy
from dtrfast.times import parse_rfc3339, rfc3339

backups = cyclopts.App(name="backups", help="Manage existing backups.")

Destination = Annotated[str, Parameter(help="A directory, or s3://BUCKET/PREFIX.")]
# A backup has a lower priority than the server, and a rate at which pushes and pulls are hardly
# slower. At 210 MB/s, from and to the disk of the store, requests had 0.75 times their throughput
# (docs/reliability.md).
_NICENESS = 19
_RATE = 64 << 20


def backup(
    destination: Destination,
    *,
    rate: Annotated[
        int, WHOLE, Parameter(help="The most bytes to read in a second; 0: no limit.")
    ] = _RATE,
    config: ConfigFile = None,
    data: Data = None,
) -> int:
    """Back up everything, also while the server runs. Copies only data that is new."""
    settings = load(config, os.environ, {"store.data": data})
    os.nice(_NICENESS)
    began = time.monotonic()
    with ends_cleanly(), opened(settings) as store, _shown("copied") as tell:
        place = BackupPlace(destination, OutgoingPolicy(settings.outgoing))
        made = create_backup(store, place, tell, rate=rate or None)
    outcome: Outcome = "failed" if made.missing else "ok"
    detail: Detail = {"snapshot": made.name, "missing": len(made.missing)}
    note(settings, "backup", detail, subject=destination, outcome=outcome)
    say(
        f"{made.name}: {made.files} files, {made.files_copied} of them new;"
        f" {human(made.bytes_copied)} copied in {time.monotonic() - began:.1f} s"
    )
    for name in made.missing:
        say(f"the file {name} is missing, truncated or unreadable: run `dtrfast verify`")
    return 1 if made.missing else 0


def restore(
    source: Destination,
    *,
    at: Annotated[
        str | None,
        Parameter(
            help="Restore the newest backup made at this time or before, as 2026-01-31T12:00:00Z."
        ),
    ] = None,
    config: ConfigFile = None,
    data: Data = None,
) -> int:
    """Make a data directory from a backup. Run it again to continue an interrupted restore."""
    settings = load(config, os.environ, {"store.data": data})
    passed_over: list[str] = []
    lost: list[str] = []
    with ends_cleanly(), _shown("fetched") as tell:
        found = restore_backup(
            BackupPlace.existing(source, OutgoingPolicy(settings.outgoing)),
            settings.store.data,
            tell,
            lost.append,
            until=None if at is None else _time(at),
            note=passed_over.append,
        )
    with opened(settings) as store:
        adoption.adopt(store)  # `verify` may run before a server, on a backup of an old version
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
    problems: list[str] = []
    snapshot.check_marker(place, problems.append)
    problems += snapshot.strays(place)
    names = snapshot.names(place)
    if not names:
        problems.append(snapshot.absence(place))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("made", "files", "size", "new", "change"):
        table.add_column(column, justify="left" if column == "made" else "right")
    for name in names:
        try:
            one = snapshot.read(place, name)
        except Corrupt as error:
            problems.append(str(error))
            continue
        sizes = (human(one.file_bytes), human(one.new_bytes))
        table.add_row(rfc3339(one.made_at), f"{one.file_count:,}", *sizes, str(one.change_number))
    Console().print(table)
    for line in problems:
        say(line)


@backups.command(name="verify")
def verify_backups(destination: Destination, *, config: ConfigFile = None) -> int:
    """Read all data of the backups in a place, and report damage."""
    place = _existing(destination, config)
    with _shown("read") as tell:
        findings = list(maintenance.verify(place, tell))
    for finding in findings:
        say(finding)
    say("the backups are complete" if not findings else f"found {len(findings)} problems")
    return 1 if findings else 0


@backups.command(name="prune")
def prune_backups(
    destination: Destination,
    *,
    keep_last: Annotated[int, WHOLE, Parameter(help="Keep this number of the newest backups.")] = 7,
    keep_days: Annotated[
        float, AMOUNT, Parameter(help="Keep all backups younger than this number of days.")
    ] = 0,
    config: ConfigFile = None,
) -> None:
    """Delete old backups, and the data that no other backup needs."""
    place = _existing(destination, config)
    with ends_cleanly():
        gone, freed = maintenance.prune(place, keep_last=keep_last, keep_days=keep_days)
    say(f"deleted {len(gone)} backups; freed {human(freed)}")


def _existing(destination: str, config: Path | None) -> BackupPlace:
    """Open an existing place of backups, with the proxy of the settings."""
    return BackupPlace.existing(destination, OutgoingPolicy(load(config, os.environ).outgoing))


def _time(text: str) -> float:
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError) as error:
        raise SettingsInvalid(
            f"--at: {text!r} is not a time such as 2026-01-31T12:00:00Z"
        ) from error


@contextmanager
def _shown(what: str) -> Iterator[ProgressCallback]:
    """Show a progress bar on a terminal."""
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
