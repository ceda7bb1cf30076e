"""Counts and lists that the version before kept elsewhere: taken over, and given back by a
rollback.

Before 1.4 the store counted the links, and listed content as soon as its last link was gone. These
versions keep all tables in one environment of LMDB, so the counts move in one commit.
"""

from __future__ import annotations

from functools import partial

from dtrfast.index.engine import WriteTransaction
from dtrfast.registry import statistics, unheld
from dtrfast.registry.holdings import Holdings
from dtrfast.store.store import Store

_DROPPED_MAX = 1000


def adopt(store: Store) -> int:
    """Take the counts over from a store of the version before; returns how many links they tell."""
    old = store.statistics()
    links, size = old.old_links, old.old_linked_bytes
    if links or size:
        store.engine.write_both(
            partial(store.count_links, links=-links, linked_bytes=-size),
            partial(_count, links=links, linked_bytes=size),
        )
    return links


def give_back(store: Store, holdings: Holdings) -> None:
    """Give the counts back, and free what waits for it: the version before does not know the list.
    Nothing else may run, but for a backup.
    """
    while holdings.drop_unheld(_DROPPED_MAX):
        pass
    with store.engine.read() as transaction:
        counted = statistics.read(transaction)
        is_left = unheld.is_any(transaction)
    if is_left:  # a backup needs it, or it cannot be read: into the list that it does know
        store.list_unheld(store.engine, holdings.are_held)
    links, size = counted.links, counted.linked_bytes
    store.engine.write_both(
        partial(store.count_links, links=links, linked_bytes=size),
        partial(_count, links=-links, linked_bytes=-size),
    )


def _count(transaction: WriteTransaction, links: int, linked_bytes: int) -> None:
    statistics.add(transaction, links=links, linked_bytes=linked_bytes)
