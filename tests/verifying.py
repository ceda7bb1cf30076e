"""What `dtrfast verify` finds in a store and in what the registry keeps over it."""

from __future__ import annotations

from functools import partial

from dtrfast.registry import unheld
from dtrfast.registry import verify as registry_verify
from dtrfast.store.store import Store


def findings(store: Store) -> list[str]:
    """All of it, a sentence each."""
    told: list[str] = []
    store.verify(partial(unheld.are_kept, store.engine), tell_nobody, told.append)
    registry_verify.verify(store.engine, store.blobs.sizes, tell_nobody, told.append)
    return told


def tell_nobody(what: str, done: int, total: int) -> None:
    """How far it has come is told nobody."""
