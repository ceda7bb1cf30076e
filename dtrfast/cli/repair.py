"""`dtrfast repair`: a new index from files, packs and the change log."""

from __future__ import annotations

import os

from dtrfast.cli import progress
from dtrfast.cli.command_events import note
from dtrfast.cli.exit_status import DAMAGED, OK
from dtrfast.cli.options import ConfigFile, Data, Json
from dtrfast.cli.output import finish, remark, say
from dtrfast.cli.progress import Meter
from dtrfast.config import Config, load
from dtrfast.jobs.repair import RepairResult, repair_index
from dtrfast.machine import locks
from dtrfast.store.store import Store

_LOST_SHOWN_MAX = 100


def repair(*, config: ConfigFile = None, data: Data = None, json: Json = False) -> int:
    """Rebuild the index after index/ was lost. Stop the server and all other commands first.

    Exit status 3: content is lost or damaged.
    """
    settings = load(config, os.environ, {"store.data": data})
    descriptor = locks.take_server(settings.store.data)
    try:
        with progress.shown("read the store", "bytes") as meter:
            found = _rebuild(settings, meter, is_json=json)
        note(settings, "store.repair", {"changes": found.changes, "lost": len(found.lost)})
    finally:
        os.close(descriptor)
    document = {
        "changes": found.changes,
        "changesFailed": found.changes_failed,
        "damagedBlobs": found.damaged_blobs,
        "lost": [{"repository": name, "digest": digest} for name, digest in found.lost],
    }
    lines = [
        f"lost: {digest} of {repository}; push it again"
        for repository, digest in found.lost[:_LOST_SHOWN_MAX]
    ]
    lines += [
        f"applied {found.changes} changes of the log again, of which {found.changes_failed} failed;"
        f" {len(found.lost)} blobs are lost, {found.damaged_blobs} are damaged",
        "the log has no passwords: set new ones with `dtrfast user reset-password NAME`",
    ]
    finish(document, lines, is_json=json)
    is_whole = not (found.lost or found.damaged_blobs or found.changes_failed)
    return OK if is_whole else DAMAGED


def _rebuild(settings: Config, meter: Meter, *, is_json: bool) -> RepairResult:
    """Make the new index. Findings are printed at once: the work may take hours."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        meter.bytes(done)

    def tell(text: str) -> None:
        meter.say(remark if is_json else say, text)

    store = Store.begin_repair(settings.store.data, settings.store)
    try:
        return repair_index(store, tell, count)
    finally:
        store.close()
