"""`dtrfast repair`: the index once more, from files, packs and the change log."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from dtrfast.cli.events import note
from dtrfast.cli.options import ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.cli.stats import human
from dtrfast.config import load
from dtrfast.jobs.repair import repair as rebuild
from dtrfast.machine import locks
from dtrfast.store.store import Store

_LOST_SHOWN_MAX = 100


def repair(*, config: ConfigFile = None, data: Data = None) -> int:
    """Make the index again after index/ was lost. Nothing may run on the data directory."""
    settings = load(config, os.environ, {"store.data": data})
    descriptor = locks.take_server(settings.store.data)
    try:
        store = Store.begin_repair(settings.store.data, settings.store)
        try:
            with _bar() as bar:
                row = bar.add_task("read", total=None, done="")
                done = 0

                def progress(count: int) -> None:
                    nonlocal done
                    done += count
                    bar.update(row, done=human(done))

                found = rebuild(store, say, progress)
        finally:
            store.close()
        note(settings, "store.repair", {"changes": found.changes, "lost": len(found.lost)})
    finally:
        os.close(descriptor)
    for repository, digest in found.lost[:_LOST_SHOWN_MAX]:
        say(f"lost: {digest} of {repository}; push it again")
    say(
        f"{found.changes} changes were done again, {found.changes_failed} could not be;"
        f" {len(found.lost)} blobs are lost, {found.damaged_blobs} are damaged"
    )
    say("passwords are not in the log: `dtrfast user reset-password NAME` sets them anew")
    return 1 if found.lost or found.damaged_blobs or found.changes_failed else 0


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description} {task.fields[done]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
