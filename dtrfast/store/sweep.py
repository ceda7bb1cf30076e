"""After the machine went down: files that no upload and no index row speaks for.

While the kernel runs, a data file belongs to an upload's state file or to the index. A power cut
can lose the state file and keep the data file. So once after each boot the names in the directories
are compared with the index, some a step; the content is not read, and nobody waits.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import COMMITS, STORE
from dtrfast.machine import disk
from dtrfast.store import leftovers
from dtrfast.store.context import Context

_SWEPT = b"swept_boot"
_NAMES_MAX = 500  # a step: some milliseconds


class Sweep:
    """One pass over the data directories. One thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._names: Iterator[Path] | None = None
        self._done = False
        self._failed = False

    def step(self) -> int:
        """Look at some names; returns how many files were removed. Nothing once a boot is done."""
        if self._done:
            return 0
        if self._names is None:
            self._names = self._start()
        names = list(islice(self._names, _NAMES_MAX))
        try:
            removed = sum(map(self._settle, names))
        except DtrfastError:
            self._failed = True  # the names of this step are looked at after the next start
            raise
        if len(names) < _NAMES_MAX:
            self._end_commits()
            if not self._failed:
                self._context.engine.write(self._remember)
            self._done = True
        return removed

    def _start(self) -> Iterator[Path]:
        """All files of uploads and blobs, unless this boot is done."""
        with self._context.engine.read() as transaction:
            if transaction.get(STORE, _SWEPT) == self._context.boot_id.encode():
                return iter(())
        layout = self._context.layout
        directories = chain(layout.blobs.iterdir(), layout.packs.iterdir(), [layout.uploads])
        return (Path(entry) for directory in directories for entry in os.scandir(directory))

    def _settle(self, path: Path) -> bool:
        """Remove the file if nobody speaks for it; True if so."""
        try:
            file_id = uuid.UUID(hex=path.stem).bytes
        except ValueError:
            return False  # not ours
        # In this order: an upload's state goes away only after the index has its file.
        if self._context.layout.upload(file_id, "state").exists():
            return False
        if path.parent != self._context.layout.uploads and self._is_owned(file_id):
            return False
        disk.remove(path)
        return True

    def _end_commits(self) -> None:
        """Take back commits that were cut off, and whose upload's state is lost."""
        with self._context.engine.read() as transaction:
            file_ids = [key for key, _ in transaction.scan(COMMITS)]
        for file_id in file_ids:
            if not self._context.layout.upload(file_id, "state").exists():
                leftovers.abandon(self._context, file_id)

    def _is_owned(self, file_id: bytes) -> bool:
        with self._context.engine.read() as transaction:
            return leftovers.is_owned(transaction, file_id)

    def _remember(self, transaction: WriteTransaction) -> None:
        transaction.put(STORE, _SWEPT, self._context.boot_id.encode())
