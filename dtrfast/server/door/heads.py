"""Limits on the time and memory of unfinished request heads.

A head must be complete `HEAD_SECONDS` after its first byte, even if bytes keep arriving. Small
heads are not counted, because `server.connections_max` bounds them. The large heads of a worker
share `_SIZE_MAX` bytes. When that is full, the head that has been large for the longest time is
dropped. Heads of honest clients are complete within moments, so a flood of unfinished heads drops
its own heads.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Protocol

log = logging.getLogger("dtrfast.door")

HEAD_SECONDS = 15.0
# Requests of browsers and of clients with tokens of usual size are smaller.
SMALL_SIZE = 8 * 1024
# The bytes of 128 heads of the largest size that the default settings allow.
_SIZE_MAX = 16 << 20


class HeadOwner(Protocol):
    """A connection with an unfinished head."""

    def drop_head(self) -> None:
        """Close at once, because other connections need the memory."""
        ...


class HeadMemory:
    """Counts the bytes of large unfinished heads. Use it on the event loop's thread only."""

    def __init__(self, size_max: int = _SIZE_MAX) -> None:
        self._size_max = size_max
        self._sizes: OrderedDict[HeadOwner, int] = OrderedDict()
        self.size = 0

    def hold(self, connection: HeadOwner, size: int) -> None:
        """Record that `connection` holds `size` bytes now, and drop the oldest large heads."""
        if size <= SMALL_SIZE:
            self.release(connection)
            return
        self.size += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        while self.size > self._size_max:
            oldest, freed = self._sizes.popitem(last=False)
            self.size -= freed
            log.info("unfinished heads take too much memory: closing the oldest connection")
            oldest.drop_head()

    def release(self, connection: HeadOwner) -> None:
        self.size -= self._sizes.pop(connection, 0)
