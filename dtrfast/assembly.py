"""Opens the store of a data directory, for all programs.

So all programs have the same decorators around the blob seam. Tests may replace parts of the store.
DTRFAST_TEST_ASSEMBLY names a `module:function` that gets the open store and the settings and
returns the store to use. Without that variable nothing is imported.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import partial

from dtrfast.config import TEST_ASSEMBLY, Config
from dtrfast.registry import policies
from dtrfast.store.counting import CountingBlobs
from dtrfast.store.store import Store


def open_store(config: Config, *, may_upgrade: bool = True) -> Store:
    """Open the store of `config.store.data`. Raises what `Store.open` raises."""
    store = Store.open(config.store.data, config.store, may_upgrade=may_upgrade)
    try:
        store = _changed_by_tests(store, config)
    except BaseException:
        store.close()
        raise
    store.blobs = CountingBlobs(store.blobs, store.blob_counts)
    # The store must not read shared tables, where the settings are, so it gets a function.
    store.set_limits(partial(policies.read_limits, store.engine))
    return store


def _changed_by_tests(store: Store, config: Config) -> Store:
    name = os.environ.get(TEST_ASSEMBLY, "")
    if not name:
        return store
    module, _, function = name.partition(":")
    change: Callable[[Store, Config], Store] = getattr(importlib.import_module(module), function)
    return change(store, config)
