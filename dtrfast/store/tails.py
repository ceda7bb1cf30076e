"""The tail file of an upload: between two requests, the bytes that no chunk was cut from yet.

It has slots, so that what the state on disk names stays as it is until there is another state.
"""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from dtrfast.machine import disk
from dtrfast.store.pending import Pending

SIZE_MAX = 262144  # the largest chunk: a tail is shorter
# Where the last body began, where this one did, what is saved, and one to write to.
_SLOTS = 4


@dataclass(frozen=True, slots=True)
class SavedTail:
    """The tail on disk: its size in bytes, and its slot in the file."""

    size: int
    slot: int


def write(path: Path, pending: Pending, saved: SavedTail, named: Set[int]) -> SavedTail:
    """Save what is pending, behind the part of it that is saved already; else into a slot that is
    not among those `named` by states that may count again.
    """
    slot = saved.slot
    if not pending.saved:
        slot = next(slot for slot in range(_SLOTS) if slot != saved.slot and slot not in named)
    data = pending.in_memory()
    if data:
        descriptor = disk.open_or_create(path)
        try:
            disk.write_at(descriptor, [data], slot * SIZE_MAX + pending.saved)
        finally:
            os.close(descriptor)
    return SavedTail(pending.size, slot)


def read_into(path: Path, into: memoryview, saved: SavedTail) -> None:
    """The tail's first bytes, as many as there is room for."""
    descriptor = disk.open_existing(path)
    try:
        disk.read_into(descriptor, into, saved.slot * SIZE_MAX)
    finally:
        os.close(descriptor)
