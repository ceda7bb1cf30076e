"""The tail file of an upload: between two requests, the bytes that no chunk was cut from yet.

The file has slots. A tail that a state on disk names stays unchanged until another state replaces
that state.
"""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from dtrfast.machine import disk
from dtrfast.store.pending import PendingBytes

SIZE_MAX = 262144  # the largest chunk: a tail is shorter
# One for the state where the last body began, one for the state where this body began, one for the
# saved state, and one to write to.
_SLOTS = 4


@dataclass(frozen=True, slots=True)
class SavedTail:
    """The tail on disk: its size in bytes, and its slot in the file."""

    size: int
    slot: int


class TailFile:
    """An upload's tail file. `saved` is the tail that the saved state names."""

    def __init__(self, path: Path, saved: SavedTail) -> None:
        self._path = path
        self.saved = saved

    def write(self, pending: PendingBytes, named: Set[int]) -> SavedTail:
        """Write the pending bytes; return the new tail, which is not `saved` yet.

        If the first pending bytes lie only in the saved tail, the others are written behind them.
        Otherwise all go to a slot that neither the saved tail nor `named` has. `named`: the slots
        of states to which the upload may go back.
        """
        slot = self.saved.slot
        if not pending.saved:
            taken = {self.saved.slot, *named}
            slot = next(slot for slot in range(_SLOTS) if slot not in taken)
        data = pending.in_memory()
        if data:
            descriptor = disk.open_or_create(self._path)
            try:
                disk.write_at(descriptor, [data], slot * SIZE_MAX + pending.saved)
            finally:
                os.close(descriptor)
        return SavedTail(pending.size, slot)

    def read_into(self, into: memoryview) -> None:
        """Fill `into` with the first bytes of the saved tail."""
        descriptor = disk.open_existing(self._path)
        try:
            disk.read_into(descriptor, into, self.saved.slot * SIZE_MAX)
        finally:
            os.close(descriptor)
