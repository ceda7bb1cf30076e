"""Memory that uploads receive into: large buffers, borrowed while bytes flow and used again.

The kernel takes 0.9 ms for the fresh pages of one buffer, longer than hashing its bytes takes. So
some buffers are kept.
"""

from __future__ import annotations

import threading

# A megabyte to receive into, behind an uncut tail of up to 256 KiB. Together with the memory that
# cutting needs a transfer stays below 2 MiB.
BUFFER_SIZE = (1 << 20) + (1 << 18)
# As many as transfers run at once on a few cores. They stay allocated: 5 MiB.
_IDLE_MAX = 4
# Buffers that uploads may hold. With more of them, uploads give back those that lie still.
_HELD_MAX = 64


class Buffers:
    """A pool of buffers of `BUFFER_SIZE` bytes. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[memoryview] = []
        self._lent = 0

    @property
    def lent(self) -> int:
        """The number of borrowed buffers."""
        return self._lent

    @property
    def is_scarce(self) -> bool:
        """True if uploads should give back buffers that lie still."""
        return self._lent > _HELD_MAX

    def borrow(self) -> memoryview:
        """Return a buffer, with arbitrary content, for use until `give_back`."""
        with self._lock:
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        return memoryview(bytearray(BUFFER_SIZE))

    def give_back(self, buffer: memoryview) -> None:
        """Take a buffer back. The caller must keep no view of it."""
        with self._lock:
            self._lent -= 1
            if len(self._idle) < _IDLE_MAX:
                self._idle.append(buffer)
