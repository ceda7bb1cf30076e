"""Opening a data directory for a command, beside the server that may be running there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dtrfast.assembly import open_store
from dtrfast.config import Config
from dtrfast.errors import StartRefused
from dtrfast.machine.paths import Layout
from dtrfast.store.store import Store


@contextmanager
def opened(config: Config) -> Iterator[Store]:
    """The store in the data directory. Raises `StartRefused` when one may not open it."""
    data = config.store.data
    if not os.access(Layout(data).format, os.R_OK | os.W_OK):
        raise StartRefused(f"{data} is no data directory that you may open: name one with --data")
    store = open_store(config, may_upgrade=False)
    try:
        yield store
    finally:
        store.close()
