"""`dtrfast rollback` and `seal`: go back to the previous version, or give up that possibility."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dtrfast.cli.command_events import note
from dtrfast.cli.opening import opened
from dtrfast.cli.options import ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.config import Config, load
from dtrfast.errors import StartRefused
from dtrfast.jobs.rollback import give_back
from dtrfast.machine import locks
from dtrfast.store.store import Store


def rollback(*, config: ConfigFile = None, data: Data = None) -> None:
    """Let the previous version open the data directory again. Stop the server first.

    No data is lost, with one exception: if the previous version has no trash, the trash is emptied.
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
    say(
        f"the previous version can open {settings.store.data} again;"
        f" {emptied} things left the trash"
    )
    if features.are_accounts_new:
        say(
            "versions without accounts let every client read, replace and delete everything:"
            " restrict access to the address"
        )


def seal(*, config: ConfigFile = None, data: Data = None) -> None:
    """Give up the possibility of a rollback. No feature needs this yet."""
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
