"""Heads of requests that are not whole yet: for how long, and how much memory all of them take.

A head has `HEAD_SECONDS` from its first byte, however slowly bytes come. Small ones take no
share of the memory: `server.connections_max` bounds them. The large ones of a worker share
`_SIZE_MAX`; where that is full, the one that has been large for longest is dropped. Heads of honest
clients are whole within moments, so a flood of unfinished heads pushes out its own.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Protocol

log = logging.getLogger("dtrfast.door")

HEAD_SECONDS = 15.0
# Requests of browsers and of clients with tokens of usual size are smaller.
SMALL_SIZE = 8 * 1024
# As many bytes as 128 heads of the largest size that the settings allow at first.
_SIZE_MAX = 16 << 20


class Unfinished(Protocol):
    """A connection whose bytes are not a request yet."""

    def drop_head(self) -> None:
        """Close at once: others need the memory."""
        ...


class HeadMemory:
    """Counts the bytes of large unfinished heads. On the event loop's thread only."""

    def __init__(self, size_max: int = _SIZE_MAX) -> None:
        self._size_max = size_max
        self._sizes: OrderedDict[Unfinished, int] = OrderedDict()
        self.size = 0

    def hold(self, connection: Unfinished, size: int) -> None:
        """`connection` holds so many bytes now. Drops what has been large for longest."""
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

    def release(self, connection: Unfinished) -> None:
        self.size -= self._sizes.pop(connection, 0)
