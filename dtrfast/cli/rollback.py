"""`dtrfast rollback` and `seal`: the way back to the version before, and its end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from dtrfast.cli.events import note
from dtrfast.cli.opening import opened
from dtrfast.cli.options import ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.config import Config, load
from dtrfast.errors import StartRefused
from dtrfast.jobs import adoption
from dtrfast.jobs.tasks import empty_trash, housekeeping
from dtrfast.machine import locks
from dtrfast.machine.paths import Layout
from dtrfast.registry import removal
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.trash import count_of
from dtrfast.store import layout as layouts
from dtrfast.store.features import ACCOUNTS, TRASH
from dtrfast.store.store import Store


def rollback(*, config: ConfigFile = None, data: Data = None) -> None:
    """Let the version before open the data directory again. Nothing may run on it.

    Nothing is lost, unless that version knows no trash: then what lies there is.
    """
    settings = load(config, os.environ, {"store.data": data})
    with _alone(settings):
        layout = Layout(settings.store.data)
        features = layouts.read_features(layout)
        if not features.unsealed:
            raise StartRefused("the store is sealed: restore a backup from before the upgrade")
        emptied = _give_back(settings, with_trash=TRASH not in features.unsealed)
        layouts.replace_features(layout, features.rolled_back())
        note(settings, "store.rollback", {"emptied": emptied})
    say(f"the version before opens {settings.store.data} again; {emptied} things left the trash")
    if ACCOUNTS in features.unsealed:
        say("versions that know no accounts serve everybody everything: mind who reaches them")


def seal(*, config: ConfigFile = None, data: Data = None) -> None:
    """End the way back to the version before. Nothing needs that yet."""
    settings = load(config, os.environ, {"store.data": data})
    with _alone(settings):
        layout = Layout(settings.store.data)
        layouts.replace_features(layout, layouts.read_features(layout).sealed())
        note(settings, "store.seal", {})
    say(f"{settings.store.data} is sealed")


def _give_back(settings: Config, *, with_trash: bool) -> int:
    """Have the index as the version before keeps it; returns how many things left the trash."""
    with ExitStack() as stack:
        store = stack.enter_context(opened(settings))
        count = 0 if with_trash else _empty_trash(store)
        # What was given up is unlinked, since the version before has no list of it.
        tasks = housekeeping(store, settings, stack)
        for _ in range(3):
            for task in tasks:
                task.run()
        adoption.give_back(store, index_holdings(store.engine, store.blobs, settings, _now))
    return count


def _empty_trash(store: Store) -> int:
    with store.engine.read() as transaction:
        count = count_of(transaction)
    while empty_trash(store.engine, _now(), all_of_it=True):
        pass
    while removal.step(store.engine, store.blobs):
        pass
    return count


def _now() -> int:
    return int(time.time())


@contextmanager
def _alone(settings: Config) -> Iterator[None]:
    descriptor = locks.take_server(settings.store.data)
    try:
        yield
    finally:
        os.close(descriptor)
