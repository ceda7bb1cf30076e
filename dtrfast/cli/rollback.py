"""`dtrfast rollback` and `seal`: the way back to the version before, and its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dtrfast.cli.events import note
from dtrfast.cli.opening import opened
from dtrfast.cli.options import ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.config import Config, load
from dtrfast.errors import StartRefused
from dtrfast.jobs.rollback import give_back
from dtrfast.machine import locks
from dtrfast.store.store import Store


def rollback(*, config: ConfigFile = None, data: Data = None) -> None:
    """Let the version before open the data directory again. Nothing may run on it.

    Nothing is lost, unless that version knows no trash: then what lies there is.
    """
    settings = load(config, os.environ, {"store.data": data})
    with _alone(settings):
        features = Store.read_features(settings.store.data)
        if not features.unsealed:
            raise StartRefused("the store is sealed: restore a backup from before the upgrade")
        with opened(settings) as store:
            emptied = give_back(store, settings, with_trash=not features.is_trash_new)
        Store.write_features(settings.store.data, features.rolled_back())
        note(settings, "store.rollback", {"emptied": emptied})
    say(f"the version before opens {settings.store.data} again; {emptied} things left the trash")
    if features.are_accounts_new:
        say("versions that know no accounts serve everybody everything: mind who reaches them")


def seal(*, config: ConfigFile = None, data: Data = None) -> None:
    """End the way back to the version before. Nothing needs that yet."""
    settings = load(config, os.environ, {"store.data": data})
    with _alone(settings):
        features = Store.read_features(settings.store.data)
        Store.write_features(settings.store.data, features.sealed())
        note(settings, "store.seal", {})
    say(f"{settings.store.data} is sealed")


@contextmanager
def _alone(settings: Config) -> Iterator[None]:
    descriptor = locks.take_server(settings.store.data)
    try:
        yield
    finally:
        os.close(descriptor)
