"""Counts and lists that versions before 1.4 keep in the store's tables: taking them over, and
giving them back at a rollback.

Those versions count links in the store, and list content there as soon as its last link is gone.
They keep all tables in one LMDB environment, so one commit moves the counts.
"""

from __future__ import annotations

from functools import partial

from dtrfast.registry import statistics, unheld
from dtrfast.registry.holdings import Holdings
from dtrfast.store.store import Store

_DROPPED_MAX = 1000


def adopt(store: Store) -> int:
    """Move the counts of links from the store to the registry. Returns the number of links."""
    old = store.statistics()
    links, size = old.old_links, old.old_linked_bytes
    if links or size:
        remove = partial(store.count_links, links=-links, linked_bytes=-size)
        statistics.move_links(store.engine, remove, links=links, linked_bytes=size)
    return links


def give_back(store: Store, holdings: Holdings) -> None:
    """Move the counts back to the store, and free all content that no repository holds, since the
    previous version does not know the list of it. Only a backup may run at the same time.
    """
    while holdings.drop_unheld(_DROPPED_MAX):
        pass
    if unheld.is_any(store.engine):
        # A backup needs this content, or it cannot be read. The previous version knows this list.
        store.list_unheld(store.engine, holdings.are_held)
    counted = statistics.read_now(store.engine)
    links, size = counted.links, counted.linked_bytes
    add = partial(store.count_links, links=links, linked_bytes=size)
    statistics.move_links(store.engine, add, links=-links, linked_bytes=-size)
