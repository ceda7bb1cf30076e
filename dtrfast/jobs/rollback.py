"""Giving an index back to the version before, as that one keeps it."""

from __future__ import annotations

import time
from contextlib import ExitStack

from dtrfast.config import Config
from dtrfast.index.engine import WriteTransaction
from dtrfast.jobs import adoption
from dtrfast.jobs.tasks import empty_trash, housekeeping, remove_repositories
from dtrfast.registry import jobs as records
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.trash import count_of
from dtrfast.store.store import Store


def give_back(store: Store, config: Config, *, with_trash: bool) -> int:
    """Have the index as the version before keeps it; returns how many things left the trash, which
    stays with `with_trash`. Nothing else may run.
    """
    holdings = index_holdings(store.engine, store.blobs, config, _now)
    with ExitStack() as stack:
        count = 0 if with_trash else _empty_trash(store, holdings)
        # What was given up is unlinked, since the version before has no list of it.
        tasks = housekeeping(store, config, stack)
        for _ in range(3):
            for task in tasks:
                task.run()
        adoption.give_back(store, holdings)
    store.engine.write(_forget_tasks)
    return count


def _forget_tasks(transaction: WriteTransaction) -> None:
    """The version before lists its own tasks anew, and would list ours for ever."""
    for state in records.tasks(transaction):
        records.forget_task(transaction, state.name)


def _empty_trash(store: Store, holdings: Holdings) -> int:
    with store.engine.read() as transaction:
        count = count_of(transaction)
    while empty_trash(store.engine, holdings, _now(), all_of_it=True):
        pass
    while remove_repositories(store.engine, store.blobs):
        pass
    return count


def _now() -> int:
    return int(time.time())
