"""A number that changes whenever a request wants an upload that another request holds.

It lies in a small file that each process maps into memory, so that a worker can read it often, also
for thousands of uploads. The state file of an upload says whether that one is recalled.
"""

from __future__ import annotations

import mmap
import os
import secrets
from pathlib import Path

from dtrfast.machine import disk

_SIZE = 8


class Recalls:
    """The number. Safe from many threads and processes."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    @classmethod
    def open(cls, path: Path) -> Recalls:
        """Open the file of a store. Raises `StorageFull`, `StorageFailed`."""
        descriptor = disk.open_or_create(path)
        try:
            with disk.reported():
                if os.fstat(descriptor).st_size < _SIZE:
                    # Not sparse: with a full disk the first change would end the process by SIGBUS.
                    os.posix_fallocate(descriptor, 0, _SIZE)
                return cls(mmap.mmap(descriptor, _SIZE))
        finally:
            os.close(descriptor)

    @property
    def number(self) -> int:
        return int.from_bytes(self._memory[:], "big")

    def change(self) -> None:
        # A random number: two processes that increment it at the same time might write the same
        # one.
        self._memory[:] = secrets.token_bytes(_SIZE)

    def close(self) -> None:
        self._memory.close()
