"""`dtrfast repair`: a new index from files, packs and the change log."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from dtrfast.cli.command_events import note
from dtrfast.cli.options import ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.cli.stats import human
from dtrfast.config import load
from dtrfast.jobs.repair import repair_index
from dtrfast.machine import locks
from dtrfast.store.store import Store

_LOST_SHOWN_MAX = 100


def repair(*, config: ConfigFile = None, data: Data = None) -> int:
    """Rebuild the index after index/ was lost. Stop the server and all other commands first."""
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

                found = repair_index(store, say, progress)
        finally:
            store.close()
        note(settings, "store.repair", {"changes": found.changes, "lost": len(found.lost)})
    finally:
        os.close(descriptor)
    for repository, digest in found.lost[:_LOST_SHOWN_MAX]:
        say(f"lost: {digest} of {repository}; push it again")
    say(
        f"applied {found.changes} changes of the log again, of which {found.changes_failed} failed;"
        f" {len(found.lost)} blobs are lost, {found.damaged_blobs} are damaged"
    )
    say("the log has no passwords: set new ones with `dtrfast user reset-password NAME`")
    return 1 if found.lost or found.damaged_blobs or found.changes_failed else 0


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description} {task.fields[done]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
