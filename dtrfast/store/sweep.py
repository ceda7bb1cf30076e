"""The sweep after a power cut: removes files that no upload and no index row owns.

While the machine runs, each data file belongs to an upload's state file or to the index. A power
cut can lose the state file and keep the data file. So once after each boot the names in the
directories are compared with the index, some in each step. The files are not read, and no request
waits.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from dtrfast.errors import DtrfastError
from dtrfast.index.tables import COMMITS, STORE
from dtrfast.machine import disk
from dtrfast.store import leftovers
from dtrfast.store.context import StoreContext

_SWEPT = b"swept_boot"
_NAMES_MAX = 500  # names of a step: some milliseconds


class Sweep:
    """One pass over the data directories. One thread."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self._names: Iterator[Path] | None = None
        self._done = False
        self._failed = False

    def step(self) -> int:
        """Check some names; return the number of removed files. Does nothing after the pass."""
        if self._done:
            return 0
        if self._names is None:
            self._names = self._start()
        names = list(islice(self._names, _NAMES_MAX))
        try:
            removed = sum(map(self._settle, names))
        except DtrfastError:
            self._failed = True  # the next start of the housekeeper repeats the pass
            raise
        if len(names) < _NAMES_MAX:
            self._end_commits()
            if not self._failed:
                swept = self._context.boot_id.encode()
                self._context.engine.write(lambda t: t.put(STORE, _SWEPT, swept))
            self._done = True
        return removed

    def _start(self) -> Iterator[Path]:
        """Return the files of uploads and blobs; none if the sweep of this boot is complete."""
        with self._context.engine.read() as transaction:
            if transaction.get(STORE, _SWEPT) == self._context.boot_id.encode():
                return iter(())
        layout = self._context.layout
        directories = chain(layout.blobs.iterdir(), layout.packs.iterdir(), [layout.uploads])
        return (Path(entry) for directory in directories for entry in os.scandir(directory))

    def _settle(self, path: Path) -> bool:
        """Remove the file and return True, unless an upload or the index owns it."""
        try:
            file_id = uuid.UUID(hex=path.stem).bytes
        except ValueError:
            return False  # not a file of dtrfast
        # In this order, because an upload's state is removed only after the index has its file.
        if self._context.layout.upload(file_id, "state").exists():
            return False
        if path.parent != self._context.layout.uploads:
            with self._context.engine.read() as transaction:
                if leftovers.is_owned(transaction, file_id):
                    return False
        disk.remove(path)
        return True

    def _end_commits(self) -> None:
        """Undo interrupted commits whose upload's state is lost."""
        with self._context.engine.read() as transaction:
            file_ids = [key for key, _ in transaction.scan(COMMITS)]
        for file_id in file_ids:
            if not self._context.layout.upload(file_id, "state").exists():
                leftovers.abandon(self._context, file_id)
