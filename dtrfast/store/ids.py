"""Numbers for chunks, packs and contents, given out without a transaction each.

A process reserves a stretch in the index and hands it out; what it has not used when it ends is a
gap. So an upload names its chunks while it receives them, and its recipe never changes afterwards.
"""

from __future__ import annotations

import threading

from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import STORE

# 4 GiB of new chunks of average size between two reservations.
_STRETCH = 1 << 16


class Ids:
    """Unique numbers from 1, safe from many threads and, over one index, many processes."""

    def __init__(self, engine: Engine, name: bytes) -> None:
        self._engine = engine
        self._name = name
        self._lock = threading.Lock()
        self._next = self._end = 0

    def take(self, count: int = 1) -> int:
        """The first of the next `count` numbers. Must not be called inside a transaction."""
        assert count <= _STRETCH
        with self._lock:
            if self._end - self._next < count:
                self._next = self._engine.write(self._reserve)
                self._end = self._next + _STRETCH
            number = self._next
            self._next += count
            return number

    def _reserve(self, transaction: WriteTransaction) -> int:
        return transaction.take(STORE, self._name, _STRETCH)
