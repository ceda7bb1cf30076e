"""What the registry wants done from time to time, beside the store's own tasks."""

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
from dtrfast.identity.synchronise import synchronise_if_due
from dtrfast.index.engine import Engine
from dtrfast.jobs import adoption, change_log
from dtrfast.machine.paths import Layout
from dtrfast.registry import outlines, policies, policing, readmes, removal
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.policing import Policed
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStore
from dtrfast.store.report import StoreReport
from dtrfast.store.store import Store
from dtrfast.store.tasks import Task

_DAMAGES_TOLD_MAX = 100
# Links and contents that one step drops: some milliseconds.
_DROPPED_MAX = 200
# Things that leave the trash in one step: a manifest has some ten references.
_TRASHED_MAX = 50


def housekeeping(
    store: Store, config: Config, stack: ExitStack, *, clock: Callable[[], float] = time.time
) -> list[Task]:
    """All tasks over an open store: its own, and the registry's. `stack` ends what they hold."""
    holdings = index_holdings(store.engine, store.blobs, config, lambda: int(clock()))
    return [
        # Before all that count links: a step of the others may take seconds.
        Task("counts of links", 60.0, partial(adoption.adopt, store), eager=True),
        *content_tasks(store, holdings),
        *registry_tasks(store, holdings, config, stack, clock=clock),
    ]


def content_tasks(store: Store, holdings: Holdings) -> list[Task]:
    """The store's own tasks, and those that carry to it what the index of the registry lists."""
    return [
        Task("change log", 0.5, partial(change_log.drain, store.engine, store.change_log)),
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
    """Tasks over an open store. `stack` ends what they hold."""

    def now() -> int:
        return int(clock())

    engine = store.engine
    remove = partial(remove_repositories, engine, store.blobs)
    tasks = [
        Task("trash", 5.0, lambda: empty_trash(engine, holdings, now()), eager=True),
        Task("untagged manifests", 30.0, lambda: policing.step(engine, now()), eager=True),
        Task("deleted repositories", 2.0, remove, eager=True),
        Task("outlines", 10.0, outlines.Backlog(engine).step, eager=True),
        Task("READMEs", 2.0, readmes.Backlog(engine).step, eager=True),
    ]
    if config.auth.mode == "managed":
        events = EventWriter(Layout(config.store.data).audit, config.log.audit_size_max)
        stack.callback(events.close)
        sync = partial(synchronise_if_due, engine, events, now)
        tasks[0] = replace(tasks[0], run=_noting(events, clock, "trash.purge", tasks[0].run))
        tell = partial(_tell_policed, events, clock)
        tasks[1] = replace(tasks[1], run=lambda: policing.step(engine, now(), tell))
        # A look at one row; the settings say how often there is more to do.
        tasks.append(Task("LDAP synchronisation", 10.0, sync))
        tasks.append(Task("events of damage", 10.0, lambda: _tell(store.report, events, now())))
    return tasks


def _noting(
    events: EventWriter, clock: Callable[[], float], kind: str, run: Callable[[], object]
) -> Callable[[], object]:
    """`run`, and an event of what it did; `run` returns a count."""

    def noted() -> object:
        count = run()
        if isinstance(count, int) and count:
            detail: Detail = {"count": int(count)}
            events.add(Event(clock(), kind, SYSTEM.actor, "", "ok", "", detail), by_admin=True)
        return count

    return noted


def _tell_policed(events: EventWriter, clock: Callable[[], float], done: Policed) -> None:
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
    """Let some of what has been in the trash for long enough go; returns how many things."""
    with engine.read() as transaction:
        days = 0.0 if all_of_it else policies.read(transaction).trash_days
    return holdings.drop_deleted(now - int(days * policies.DAY_SECONDS) + 1, _TRASHED_MAX)


def remove_repositories(engine: Engine, blobs: BlobStore) -> int:
    """Remove some rows of repositories that left the trash, and before them all that was granted
    there; returns how many rows.
    """
    with engine.read() as transaction:
        found = removal.next_to_remove(transaction)
        if found is None:
            return 0
        repository, deleted_at = found
        place = grants.repository_place(repository)
        has_grants = any(True for _ in grants.at_place(transaction, place))
    if has_grants:
        author = Author(SYSTEM.actor, deleted_at)
        engine.write(partial(grants.remove_place, author=author, place=place))
    return removal.step(engine, blobs)


def _tell(report: StoreReport, events: EventWriter, now: int) -> int:
    """An audit event for each damage that is new."""
    found = report.take_new_damages(_DAMAGES_TOLD_MAX)
    for one in found:
        detail = {"reason": one.reason}
        event = Event(now, "store.damage", SYSTEM.actor, "", "failed", one.subject, dict(detail))
        events.add(event, by_admin=True)
    return len(found)
