"""What the registry wants done from time to time, beside the store's own tasks."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from dtrfast.config import Config
from dtrfast.identity.events import EventWriter
from dtrfast.identity.identity import audit_path
from dtrfast.identity.synchronise import synchronise_if_due
from dtrfast.registry import removal
from dtrfast.store.store import Store
from dtrfast.store.tasks import Task


def registry_tasks(store: Store, config: Config, stack: ExitStack) -> list[Task]:
    """Tasks over an open store. `stack` ends what they hold."""

    def now() -> int:
        return int(time.time())

    def remove_deleted() -> int:
        return removal.step(store.engine, now())

    tasks = [Task("deleted repositories", 2.0, remove_deleted, eager=True)]
    if config.auth.mode == "managed":
        events = EventWriter(audit_path(config.store.data), config.log.audit_size_max)
        stack.callback(events.close)
        sync = partial(synchronise_if_due, store.engine, events, now)
        # A look at one row; the settings say how often there is more to do.
        tasks.append(Task("LDAP synchronisation", 10.0, sync))
    return tasks
