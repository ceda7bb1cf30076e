"""`dtrfast backup`, `restore` and `backups`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from dtrfast.backup import maintenance, snapshot
from dtrfast.backup.create import create_backup
from dtrfast.backup.place import BackupPlace
from dtrfast.backup.restore import restore_backup
from dtrfast.backup.snapshot import Snapshot
from dtrfast.cli import progress
from dtrfast.cli.command_events import note
from dtrfast.cli.ending import ends_cleanly
from dtrfast.cli.exit_status import DAMAGED, OK
from dtrfast.cli.figures import human, whole_seconds
from dtrfast.cli.opening import opened
from dtrfast.cli.options import AMOUNT, WHOLE, ConfigFile, Data, Json, Wide
from dtrfast.cli.output import finish, remark, show_json, show_rows
from dtrfast.cli.progress import Meter
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
    json: Json = False,
) -> int:
    """Back up everything, also while the server runs. Copies only data that is new.

    Exit status 3: the backup lacks files that are missing or cannot be read.
    """
    settings = load(config, os.environ, {"store.data": data})
    os.nice(_NICENESS)
    began = time.monotonic()
    with ends_cleanly(), opened(settings) as store, progress.shown("copy", "bytes") as meter:
        place = BackupPlace(destination, OutgoingPolicy(settings.outgoing))
        made = create_backup(store, place, meter.bytes, rate=rate or None)
    outcome: Outcome = "failed" if made.missing else "ok"
    detail: Detail = {"snapshot": made.name, "missing": len(made.missing)}
    note(settings, "backup", detail, subject=destination, outcome=outcome)
    document = {
        "name": made.name,
        "files": made.files,
        "filesCopied": made.files_copied,
        "bytesCopied": made.bytes_copied,
        "missing": made.missing,
    }
    lines = [
        f"{made.name}: {made.files} files, {made.files_copied} of them new;"
        f" {human(made.bytes_copied)} copied in {time.monotonic() - began:.1f} s"
    ]
    lines += [
        f"the file {name} is missing, truncated or unreadable: run `dtrfast verify`"
        for name in made.missing
    ]
    finish(document, lines, is_json=json)
    return DAMAGED if made.missing else OK


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
    json: Json = False,
) -> int:
    """Make a data directory from a backup. Run it again to continue an interrupted restore.

    Exit status 3: data of the backup is missing or damaged.
    """
    settings = load(config, os.environ, {"store.data": data})
    passed_over: list[str] = []
    lost: list[str] = []
    with ends_cleanly(), progress.shown("fetch", "bytes") as meter:
        found = restore_backup(
            BackupPlace.existing(source, OutgoingPolicy(settings.outgoing)),
            settings.store.data,
            meter.bytes,
            lost.append,
            until=None if at is None else _time(at),
            note=passed_over.append,
        )
        meter.wait("count links")
        with opened(settings) as store:
            adoption.adopt(store)  # `verify` may run before a server, on an old version's backup
    outcome: Outcome = "failed" if lost else "ok"
    made_at = rfc3339(found.made_at)
    detail: Detail = {"made": made_at, "lost": len(lost)}
    note(settings, "restore", detail, subject=source, outcome=outcome)
    document = {**_described(found), "passedOver": passed_over, "lost": lost}
    text = (
        f"restored the backup of {whole_seconds(made_at)} to {settings.store.data}:"
        f" {found.file_count} files, {human(found.file_bytes)}"
    )
    finish(document, [*passed_over, *lost, text], is_json=json)
    return DAMAGED if lost else OK


def _described(one: Snapshot) -> dict[str, object]:
    """Return what a list shows of a backup."""
    return {
        "madeAt": rfc3339(one.made_at),
        "files": one.file_count,
        "size": one.file_bytes,
        "newBytes": one.new_bytes,
        "changeNumber": one.change_number,
    }


@backups.command(name="list")
def list_backups(
    destination: Destination, *, config: ConfigFile = None, json: Json = False, wide: Wide = False
) -> None:
    """List the backups in a place."""
    place = _existing(destination, config)
    problems: list[str] = []
    with progress.shown("read the backups") as meter:
        rows = _list(place, problems, meter)
    if json:
        show_json({"backups": rows, "problems": problems})
        return
    show_rows(rows, ["madeAt", "files", "size", "newBytes", "changeNumber"], is_wide=wide)
    for line in problems:
        remark(line)


def _list(place: BackupPlace, problems: list[str], meter: Meter) -> list[dict[str, object]]:
    """Return a row for each backup that can be read, and add what is wrong to `problems`."""
    snapshot.check_marker(place, problems.append)
    problems += snapshot.strays(place)
    names = snapshot.names(place)
    if not names:
        problems.append(snapshot.absence(place))
    rows = []
    for number, name in enumerate(names):
        meter("read the backups", number, len(names))
        try:
            rows.append(_described(snapshot.read(place, name)))
        except Corrupt as error:
            problems.append(str(error))
    return rows


@backups.command(name="verify")
def verify_backups(
    destination: Destination, *, config: ConfigFile = None, json: Json = False
) -> int:
    """Read all data of the backups in a place, and report damage. Exit status 3: there is some."""
    place = _existing(destination, config)
    with progress.shown("read", "bytes") as meter:
        findings = list(maintenance.verify(place, meter.bytes))
    end = f"found {len(findings)} problems" if findings else "the backups are complete"
    document = {"isComplete": not findings, "findings": findings}
    finish(document, [*findings, end], is_json=json)
    return DAMAGED if findings else OK


@backups.command(name="prune")
def prune_backups(
    destination: Destination,
    *,
    keep_last: Annotated[int, WHOLE, Parameter(help="Keep this number of the newest backups.")] = 7,
    keep_days: Annotated[
        float, AMOUNT, Parameter(help="Keep all backups younger than this number of days.")
    ] = 0,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Delete old backups, and the data that no other backup needs."""
    place = _existing(destination, config)
    with ends_cleanly(), progress.shown("delete", "bytes") as meter:
        gone, freed = maintenance.prune(
            place, keep_last=keep_last, keep_days=keep_days, progress=meter.bytes
        )
    lines = [f"deleted {len(gone)} backups; freed {human(freed)}"]
    finish({"deleted": gone, "freedBytes": freed}, lines, is_json=json)


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
