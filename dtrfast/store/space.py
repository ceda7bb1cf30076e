"""Free space on the disk. Pushes stop while enough is left for deletes, reclaim and the index."""

from __future__ import annotations

import threading
import time

from dtrfast.errors import StorageFull
from dtrfast.machine import disk, space
from dtrfast.machine.paths import Layout
from dtrfast.store.limits import CurrentLimits

# A measurement of the file system counts for this time. A disk of 2 GB/s writes as much as the
# reserve in it.
_SECONDS = 0.5
# The least number of free inodes: each upload creates some files.
_INODES_MIN = 1000
_MIB = 1 << 20


class Space:
    """The free space of one store's file system. Safe from many threads."""

    def __init__(self, limits: CurrentLimits, layout: Layout) -> None:
        self._limits = limits
        self._path = layout.data
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._room: int | None = 0

    def check(self, size: int = 0, work: str = "") -> None:
        """Raise `StorageFull` unless `size` bytes, and at least one, may be written.

        `work`: the work for the message, if it is not a push.
        """
        with self._lock:
            if time.monotonic() - self._looked_at > _SECONDS:
                self._room = self._look()
                self._looked_at = time.monotonic()
            room = self._room
        if room is None:
            raise StorageFull(
                "the file system has no room for more files: delete some, or make one with more"
                " inodes, then try again"
            )
        if room < max(size, 1):
            raise StorageFull(_message(size, room, work))

    def _look(self) -> int | None:
        """Return the bytes that may be written before the reserve is reached.

        None: the file system has nearly no inodes left.
        """
        with disk.reported():
            found = space.measure(self._path)
        wanted = self._limits.read().reserve_bytes
        if found.files_free is not None and found.files_free < _INODES_MIN:
            return None
        return found.free_bytes - found.reserve_bytes(wanted)


def _message(size: int, room: int, work: str) -> str:
    if not work:
        return (
            "the disk is full: delete something and empty the trash, or make it larger, then push"
            " again"
        )
    needed, free = -(-size // _MIB), max(0, room) // _MIB
    return (
        f"{work} needs {needed:,} MiB, and {free:,} MiB are free besides the reserve: delete"
        " something and empty the trash, or make the disk larger, then run it again"
    )
