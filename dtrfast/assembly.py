"""Opening the store of a data directory: the one place where a program chooses its parts.

Every program opens its store here, so all of them have the same decorators around the blob seam.
Tests may change the parts: DTRFAST_TEST_ASSEMBLY names a `module:function` that gets the open store
and the settings, and returns the store to use. Nothing is imported without that variable.
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
    """Open the store of `config.store.data`. Raises what `Store.open` does."""
    store = Store.open(config.store.data, config.store, may_upgrade=may_upgrade)
    try:
        store = _changed_by_tests(store, config)
    except BaseException:
        store.close()
        raise
    store.blobs = CountingBlobs(store.blobs, store.blob_counts)
    # The store asks for its limits here: settings are in shared tables, and it has the local ones.
    store.set_limits(partial(policies.read_limits, store.engine))
    return store


def _changed_by_tests(store: Store, config: Config) -> Store:
    name = os.environ.get(TEST_ASSEMBLY, "")
    if not name:
        return store
    module, _, function = name.partition(":")
    change: Callable[[Store, Config], Store] = getattr(importlib.import_module(module), function)
    return change(store, config)
