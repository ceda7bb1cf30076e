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
from dtrfast.jobs import lock
from dtrfast.jobs.tasks import empty_trash, registry_tasks
from dtrfast.registry import removal
from dtrfast.registry.trash import count_of
from dtrfast.store import layout as layouts
from dtrfast.store.features import ACCOUNTS
from dtrfast.store.layout import Layout


def rollback(*, config: ConfigFile = None, data: Data = None) -> None:
    """Let the version before open the data directory again. Nothing may run on it.

    Nothing is lost but what lies in the trash, which that version does not know.
    """
    settings = load(config, os.environ, {"store.data": data})
    with _alone(settings):
        layout = Layout(settings.store.data)
        features = layouts.read_features(layout)
        if not features.unsealed:
            raise StartRefused("the store is sealed: restore a backup from before the upgrade")
        emptied = _empty_trash(settings)
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


def _empty_trash(settings: Config) -> int:
    with ExitStack() as stack:
        store = stack.enter_context(opened(settings))
        with store.engine.read() as transaction:
            count = count_of(transaction)
        while empty_trash(store.engine, int(time.time()), all_of_it=True):
            pass
        while removal.step(store.engine):
            pass
        # What was given up is unlinked, since the version before has no list of it.
        tasks = [*store.tasks(), *registry_tasks(store, settings, stack)]
        for _ in range(3):
            for task in tasks:
                task.run()
    return count


@contextmanager
def _alone(settings: Config) -> Iterator[None]:
    descriptor = lock.take_server(settings.store.data)
    try:
        yield
    finally:
        os.close(descriptor)
