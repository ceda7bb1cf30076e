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
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.jobs import adoption, change_log
from dtrfast.machine.paths import Layout
from dtrfast.registry import deleted, history, outlines, policies, policing, readmes, removal, trash
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.policing import Policed
from dtrfast.registry.writing import Author
from dtrfast.store.report import StoreReport
from dtrfast.store.store import Store
from dtrfast.store.tasks import Task

_DAMAGES_TOLD_MAX = 100
# Links and contents that one step drops: some milliseconds.
_DROPPED_MAX = 200


def housekeeping(
    store: Store, config: Config, stack: ExitStack, *, clock: Callable[[], float] = time.time
) -> list[Task]:
    """All tasks over an open store: its own, and the registry's. `stack` ends what they hold."""
    holdings = index_holdings(store.engine, store.blobs, config, lambda: int(clock()))
    return [
        # Before all that count links: a step of the others may take seconds.
        Task("counts of links", 60.0, partial(adoption.adopt, store), eager=True),
        *content_tasks(store, holdings),
        *registry_tasks(store, config, stack, clock=clock),
    ]


def content_tasks(store: Store, holdings: Holdings) -> list[Task]:
    """The store's own tasks, and those that carry to it what the index of the registry lists."""
    return [
        Task("change log", 0.5, partial(change_log.drain, store.engine, store.change_log)),
        Task("unreferenced blobs", 5.0, partial(holdings.drop_unheld, _DROPPED_MAX), eager=True),
        *store.tasks(holdings.are_held),
    ]


def registry_tasks(
    store: Store, config: Config, stack: ExitStack, *, clock: Callable[[], float] = time.time
) -> list[Task]:
    """Tasks over an open store. `stack` ends what they hold."""

    def now() -> int:
        return int(clock())

    engine = store.engine
    tasks = [
        Task("trash", 5.0, lambda: empty_trash(engine, now()), eager=True),
        Task("untagged manifests", 30.0, lambda: policing.step(engine, now()), eager=True),
        Task("deleted repositories", 2.0, lambda: removal.step(engine, store.blobs), eager=True),
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


def empty_trash(engine: Engine, now: int, *, all_of_it: bool = False) -> int:
    """Let some of what has been in the trash for long enough go; returns how many things."""
    with engine.read() as transaction:
        days = 0.0 if all_of_it else policies.read(transaction).trash_days
    before = now - int(days * policies.DAY_SECONDS) + 1
    purges: dict[trash.Kind, trash.Purge] = {
        "manifest": deleted.purge,
        "tag": history.purge,
        "repository": _purge_repository,
    }
    return trash.purge(engine, purges, before)


def _purge_repository(transaction: WriteTransaction, key: bytes, deleted_at: int) -> None:
    """With all that was granted on it."""
    repository = removal.purge(transaction, key, deleted_at)
    if repository is not None:
        place = grants.repository_place(repository)
        grants.remove_place(transaction, Author(SYSTEM.actor, deleted_at), place)


def _tell(report: StoreReport, events: EventWriter, now: int) -> int:
    """An audit event for each damage that is new."""
    found = report.take_new_damages(_DAMAGES_TOLD_MAX)
    for one in found:
        detail = {"reason": one.reason}
        event = Event(now, "store.damage", SYSTEM.actor, "", "failed", one.subject, dict(detail))
        events.add(event, by_admin=True)
    return len(found)
