"""After the machine went down: files that no upload and no index row speaks for.

While the kernel runs, a data file belongs to an upload's state file or to the index. A power cut
can lose the state file and keep the data file. So once after each boot the names in the directories
are compared with the index, one directory a step; the content is not read, and nobody waits.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import FILES, STORE
from dtrfast.store import disk
from dtrfast.store.context import Context

_SWEPT = b"swept_boot"


class Sweep:
    """One pass over the data directories. One thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._left: list[Path] | None = None

    def step(self) -> int:
        """Look at one directory; returns how many files were removed. Does nothing once the boot is
        done.
        """
        if self._left is None:
            self._left = self._directories()
        if not self._left:
            return 0
        removed = sum(self._settle(path) for path in list(self._left[-1].iterdir()))
        self._left.pop()
        if not self._left:
            self._context.engine.write(self._remember)
        return removed

    def _directories(self) -> list[Path]:
        with self._context.engine.read() as transaction:
            if transaction.get(STORE, _SWEPT) == self._context.boot_id.encode():
                return []
        layout = self._context.layout
        return [path for parent in (layout.blobs, layout.packs) for path in parent.iterdir()]

    def _settle(self, path: Path) -> bool:
        """Remove the file if nobody speaks for it; True if so."""
        try:
            file_id = uuid.UUID(hex=path.name).bytes
        except ValueError:
            return False  # not ours
        # In this order: an upload's state goes away only after the index has its file.
        if self._context.layout.upload(file_id, "state").exists():
            return False
        with self._context.engine.read() as transaction:
            if transaction.get(FILES, file_id) is not None:
                return False
        disk.remove(path)
        return True

    def _remember(self, transaction: WriteTransaction) -> None:
        transaction.put(STORE, _SWEPT, self._context.boot_id.encode())
