"""Audit events of commands that work on a data directory without the management API."""

from __future__ import annotations

import time

from dtrfast.config import Config
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.events import Detail, Event, EventWriter, Outcome
from dtrfast.machine.paths import Layout

# The remote address of the command line in events, here and in those of the management API.
REMOTE = "command line"


def note(
    config: Config, kind: str, detail: Detail, *, subject: str = "", outcome: Outcome = "ok"
) -> None:
    """Write an event to the data directory's audit log. To be called after the command's work.

    Without accounts there is no audit log, and this does nothing.
    """
    if config.auth.mode == "none":
        return
    writer = EventWriter(Layout(config.store.data).audit, config.log.audit_size_max)
    event = Event(time.time(), kind, SYSTEM.actor, REMOTE, outcome, subject, detail)
    writer.add(event, by_admin=True)
    writer.close()
