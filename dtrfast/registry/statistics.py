"""Counters of the things that the registry holds. Reading them costs one look-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dtrfast.index.counts import Counts
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import META


@dataclass(frozen=True, slots=True)
class RegistryStatistics:
    """The counters. `repositories` includes those that hold nothing."""

    repositories: int = 0
    manifests: int = 0
    manifest_bytes: int = 0
    tags: int = 0
    links: int = 0
    linked_bytes: int = 0  # each blob counted in each repository: the logical bytes

    def shared_bytes(self, stored_bytes: int) -> int:
        """Return the logical bytes that need no disk, because repositories share them."""
        return max(0, self.linked_bytes - stored_bytes)


_counts = Counts(META, b"registry_statistics", RegistryStatistics)
read = _counts.read
add = _counts.add


def read_now(engine: Engine) -> RegistryStatistics:
    """Return the counts as they are at this moment."""
    with engine.read() as transaction:
        return read(transaction)


def move_links(
    engine: Engine,
    change_store: Callable[[WriteTransaction], object],
    *,
    links: int,
    linked_bytes: int,
) -> None:
    """Add to the counts of links, and change the store's own counts in the same commit.
    `change_store` writes local tables only.
    """
    engine.write_both(change_store, partial(add, links=links, linked_bytes=linked_bytes))
