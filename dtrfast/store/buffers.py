"""Memory that uploads receive into: large buffers, borrowed while bytes flow and used again.

Fresh pages for one take the kernel 0.9 ms, longer than to hash what fits in; so some are kept.
"""

from __future__ import annotations

import threading

# A megabyte to receive into, behind an uncut tail of up to 256 KiB: with what cutting needs beside
# it a transfer stays below 2 MiB.
BUFFER_SIZE = (1 << 20) + (1 << 18)
# As many as transfers run at once on a few cores; kept for good, 5 MiB.
_IDLE_MAX = 4
# Uploads that hold a buffer between two calls. With more of them each gives up what it can.
_HELD_MAX = 64


class Buffers:
    """A pool of buffers of `BUFFER_SIZE` bytes. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[memoryview] = []
        self._lent = 0

    @property
    def lent(self) -> int:
        """How many are borrowed."""
        return self._lent

    @property
    def is_scarce(self) -> bool:
        """Whether nobody should keep a buffer that lies still."""
        return self._lent > _HELD_MAX

    def borrow(self) -> memoryview:
        """A buffer with any content, until it is given back."""
        with self._lock:
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        return memoryview(bytearray(BUFFER_SIZE))

    def give_back(self, buffer: memoryview) -> None:
        """The caller keeps no view of it."""
        with self._lock:
            self._lent -= 1
            if len(self._idle) < _IDLE_MAX:
                self._idle.append(buffer)
