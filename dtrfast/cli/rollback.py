"""`dtrfast rollback` and `seal`: go back to the previous version, or give up that possibility."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dtrfast.cli import progress
from dtrfast.cli.command_events import note
from dtrfast.cli.opening import opened
from dtrfast.cli.options import ConfigFile, Data, Json
from dtrfast.cli.output import finish
from dtrfast.config import Config, load
from dtrfast.errors import StartRefused
from dtrfast.jobs.rollback import give_back
from dtrfast.machine import locks
from dtrfast.store.store import Store


def rollback(*, config: ConfigFile = None, data: Data = None, json: Json = False) -> None:
    """Let the previous version open the data directory again. Stop the server first.

    No data is lost, with one exception: if the previous version has no trash, the trash is emptied.
    """
    settings = load(config, os.environ, {"store.data": data})
    with _alone(settings):
        features = Store.read_features(settings.store.data)
        if not features.unsealed:
            raise StartRefused("the store is sealed: restore a backup from before the upgrade")
        if features.has_tier:
            raise StartRefused(
                "the previous version cannot re-create layers: run `dtrfast tier expand` first"
            )
        with opened(settings) as store, progress.shown("give back"):
            emptied = give_back(store, settings, with_trash=not features.is_trash_new)
        Store.write_features(settings.store.data, features.rolled_back())
        note(settings, "store.rollback", {"emptied": emptied})
    lines = [
        f"the previous version can open {settings.store.data} again;"
        f" {emptied} things left the trash"
    ]
    if features.are_accounts_new:
        lines.append(
            "versions without accounts let every client read, replace and delete everything:"
            " restrict access to the address"
        )
    document = {"emptied": emptied, "losesAccounts": features.are_accounts_new}
    finish(document, lines, is_json=json)


def seal(*, config: ConfigFile = None, data: Data = None, json: Json = False) -> None:
    """Give up the possibility of a rollback. No feature needs this yet."""
    settings = load(config, os.environ, {"store.data": data})
    with _alone(settings):
        features = Store.read_features(settings.store.data)
        Store.write_features(settings.store.data, features.sealed())
        note(settings, "store.seal", {})
    finish({"isSealed": True}, [f"{settings.store.data} is sealed"], is_json=json)


@contextmanager
def _alone(settings: Config) -> Iterator[None]:
    descriptor = locks.take_server(settings.store.data)
    try:
        yield
    finally:
        os.close(descriptor)
