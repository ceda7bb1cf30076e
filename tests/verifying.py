"""The findings of `dtrfast verify` in a store and in the tables of the registry."""

from __future__ import annotations

from functools import partial

from dtrfast.registry import unheld
from dtrfast.registry import verify as registry_verify
from dtrfast.store.store import Store


def findings(store: Store) -> list[str]:
    """Return all findings, one sentence each."""
    told: list[str] = []
    store.verify(partial(unheld.are_kept, store.engine), ignore_progress, told.append)
    registry_verify.verify(store.engine, store.blobs.sizes, ignore_progress, told.append)
    return told


def ignore_progress(what: str, done: int, total: int) -> None:
    """Ignore a progress report."""
