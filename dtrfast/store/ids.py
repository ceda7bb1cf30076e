"""Numbers for chunks, packs and contents, given out without a transaction for each.

A process reserves a range of numbers in the index. The numbers that it has not used when it ends
are skipped. So an upload numbers its chunks while it receives them, and its recipe never changes
afterwards.
"""

from __future__ import annotations

import threading

from dtrfast.index.engine import Engine
from dtrfast.index.tables import STORE

# Enough for 4 GiB of new chunks of average size.
_STRETCH = 1 << 16


class Ids:
    """Unique numbers from 1, safe from many threads and, over one index, many processes."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._name = name
        self._lock = threading.Lock()
        self._next = self._end = 0

    def take(self, count: int = 1) -> int:
        """Return the first of the next `count` numbers. Must not be called inside a transaction."""
        assert count <= _STRETCH
        with self._lock:
            if self._end - self._next < count:
                self._next = self._engine.write(lambda t: t.take(STORE, self._name, _STRETCH))
                self._end = self._next + _STRETCH
            number = self._next
            self._next += count
            return number
