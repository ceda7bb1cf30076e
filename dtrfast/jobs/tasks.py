"""The tasks of the housekeeper: those of the store, and those of the registry."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from dtrfast.config import Config
from dtrfast.identity import grants
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.events import Detail, Event, EventWriter
from dtrfast.identity.synchronization import synchronize_if_due
from dtrfast.index.engine import Engine
from dtrfast.jobs import adoption
from dtrfast.machine.paths import Layout
from dtrfast.registry import (
    outlines,
    pending_changes,
    policies,
    policing,
    readmes,
    removal,
)
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.policing import PolicyDeletion
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStore
from dtrfast.store.report import StoreReport
from dtrfast.store.store import Store
from dtrfast.store.tasks import Task

_DAMAGES_MAX = 100  # damages that one step writes events of
# Links and contents that one step drops. A step takes some milliseconds.
_DROPPED_MAX = 200
# Things that leave the trash in one step. A manifest has about ten references.
_TRASHED_MAX = 50


def housekeeping(
    store: Store, config: Config, stack: ExitStack, *, clock: Callable[[], float] = time.time
) -> list[Task]:
    """Return all tasks of an open store: its own, and the registry's.

    `stack` closes the files that the tasks hold. `clock` gives seconds since the epoch.
    """
    holdings = index_holdings(store.engine, store.blobs, config, lambda: int(clock()))
    return [
        # First, since a step of another task may take seconds, and all others count links.
        Task("counts of links", 60.0, partial(adoption.adopt, store), eager=True),
        *content_tasks(store, holdings),
        *registry_tasks(store, holdings, config, stack, clock=clock),
    ]


def content_tasks(store: Store, holdings: Holdings) -> list[Task]:
    """Return the store's own tasks, and those that pass to it what the registry's index lists."""
    return [
        Task(
            "change log", 0.5, partial(pending_changes.drain, store.engine, store.change_log.append)
        ),
        Task("unreferenced blobs", 5.0, partial(holdings.drop_unheld, _DROPPED_MAX), eager=True),
        *store.tasks(holdings.are_held),
    ]


def registry_tasks(
    store: Store,
    holdings: Holdings,
    config: Config,
    stack: ExitStack,
    *,
    clock: Callable[[], float] = time.time,
) -> list[Task]:
    """Return the tasks of the registry over an open store. `stack` closes the files they hold."""

    def now() -> int:
        return int(clock())

    engine = store.engine
    remove = partial(remove_repositories, engine, store.blobs)
    tasks = [
        Task("trash", 5.0, lambda: empty_trash(engine, holdings, now()), eager=True),
        Task("untagged manifests", 30.0, lambda: policing.step(engine, now()), eager=True),
        Task("deleted repositories", 2.0, remove, eager=True),
        Task("outlines", 10.0, outlines.OutlineBacklog(engine).step, eager=True),
        Task("READMEs", 2.0, readmes.ReadmeBacklog(engine).step, eager=True),
    ]
    if config.auth.mode == "managed":
        events = EventWriter(Layout(config.store.data).audit, config.log.audit_size_max)
        stack.callback(events.close)
        sync = partial(synchronize_if_due, engine, events, now)
        tasks[0] = replace(tasks[0], run=_noting(events, clock, "trash.purge", tasks[0].run))
        note = partial(_note_policed, events, clock)
        tasks[1] = replace(tasks[1], run=lambda: policing.step(engine, now(), note))
        # Mostly this reads one row: the settings say how often to synchronize.
        tasks.append(Task("LDAP synchronization", 10.0, sync))
        tasks.append(
            Task("events of damage", 10.0, lambda: _note_damages(store.report, events, now))
        )
    return tasks


def _noting(
    events: EventWriter, clock: Callable[[], float], kind: str, run: Callable[[], object]
) -> Callable[[], object]:
    """Return a function that calls `run` and writes an event if `run` returns a count above 0."""

    def noted() -> object:
        count = run()
        if isinstance(count, int) and count:
            detail: Detail = {"count": int(count)}
            events.add(Event(clock(), kind, SYSTEM.actor, "", "ok", "", detail), by_admin=True)
        return count

    return noted


def _note_policed(events: EventWriter, clock: Callable[[], float], done: PolicyDeletion) -> None:
    """Write an audit event of a deletion by a policy."""
    detail: Detail = {"run": done.run, "count": done.count}
    events.add(
        Event(
            clock(),
            "delete",
            policing.ACTOR,
            "",
            "ok",
            done.name.text,
            detail,
            repository=done.repository,
            owner=done.owner,
        ),
        by_admin=True,
    )


def empty_trash(engine: Engine, holdings: Holdings, now: int, *, all_of_it: bool = False) -> int:
    """Delete some things for good that have been in the trash for long enough; with `all_of_it`,
    whatever their age. Returns their number, 0 when none is left.
    """
    days = 0.0 if all_of_it else policies.read_trash_days(engine)
    return holdings.drop_deleted(now - int(days * policies.DAY_SECONDS) + 1, _TRASHED_MAX)


def remove_repositories(engine: Engine, blobs: BlobStore) -> int:
    """Remove some rows of repositories that left the trash, after the grants on them. Returns the
    number of rows.
    """
    found = removal.next_to_remove(engine)
    if found is None:
        return 0
    repository, deleted_at = found
    author = Author(SYSTEM.actor, deleted_at)
    grants.clear_place(engine, author, grants.repository_place(repository))
    return removal.step(engine, blobs)


def _note_damages(report: StoreReport, events: EventWriter, now: Callable[[], int]) -> int:
    """Write an audit event for each new damage. Returns their number."""
    damages = report.take_new_damages(_DAMAGES_MAX)
    for damage in damages:
        detail: Detail = {"reason": damage.reason}
        event = Event(now(), "store.damage", SYSTEM.actor, "", "failed", damage.subject, detail)
        events.add(event, by_admin=True)
    return len(damages)
