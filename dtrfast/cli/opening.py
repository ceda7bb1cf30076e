"""The store of a command that works on a data directory, beside a server that may be running."""

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
    """Open the store of the data directory for the length of the block. Raises `StartRefused` if
    the user may not open it.
    """
    data = config.store.data
    if not os.access(Layout(data).format, os.R_OK | os.W_OK):
        raise StartRefused(
            f"{data} is not a data directory that you may open: name one with --data"
        )
    store = open_store(config, may_upgrade=False)
    try:
        yield store
    finally:
        store.close()
