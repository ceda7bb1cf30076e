"""Rollback: the index as the previous version keeps it."""

from __future__ import annotations

import time
from contextlib import ExitStack

from dtrfast.config import Config
from dtrfast.jobs import adoption
from dtrfast.jobs.tasks import empty_trash, housekeeping, remove_repositories
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.job_records import JobLedger
from dtrfast.store.store import Store


def give_back(store: Store, config: Config, *, with_trash: bool) -> int:
    """Change the index to what the previous version expects. No other process may run.

    With `with_trash` the trash stays; otherwise it is emptied. Returns the number of things that
    left it.
    """
    holdings = index_holdings(store.engine, store.blobs, config, _now)
    with ExitStack() as stack:
        emptied = 0
        if not with_trash:
            while count := empty_trash(store.engine, holdings, _now(), all_of_it=True):
                emptied += count
            while remove_repositories(store.engine, store.blobs):
                pass
        # The tasks unlink files that are given up, since the previous version has no list of them.
        tasks = housekeeping(store, config, stack)
        for _ in range(3):
            for task in tasks:
                task.run()
        adoption.give_back(store, holdings)
    # The previous version lists its own tasks anew, and would show ours for ever.
    JobLedger(store.engine).forget_tasks()
    return emptied


def _now() -> int:
    return int(time.time())
