"""The bytes of an upload that are in no chunk and no file yet.

Many lie at the front of a borrowed buffer, few in memory of their own. The first of them may lie
in the upload's tail file only: then room is left for them in front, and they are read when they are
needed.
"""

from __future__ import annotations

from collections.abc import Callable

from dtrfast.store.buffers import Buffers

# So many are copied rather than left in a buffer: it takes 1 µs, and a client that dribbles bytes
# keeps no megabyte.
_FEW = 65536


class Pending:
    """Grows at the end through `room` and `add`, shrinks at the front through `drop`."""

    def __init__(self, buffers: Buffers, data: bytes = b"", *, saved: int = 0) -> None:
        """`data`, behind `saved` bytes that lie in the tail file."""
        self.saved = saved
        self.size = saved + len(data)
        self._buffers = buffers
        self._buffer: memoryview | None = None
        self._few = data  # what is in memory, while no buffer is borrowed

    @property
    def is_large(self) -> bool:
        """Whether a buffer is needed to keep them."""
        return self.size - self.saved > _FEW

    def room(self) -> memoryview:
        """Writable memory for the bytes that come next."""
        if self._buffer is None:
            self._buffer = self._buffers.borrow()
            self._buffer[self.saved : self.size] = self._few
            self._few = b""
        return self._buffer[self.size :]

    def add(self, count: int) -> None:
        """`count` bytes were put at the front of the room."""
        self.size += count

    def load(self, read: Callable[[memoryview], None]) -> None:
        """Let `read` fill in those that lie in the tail file."""
        if self.saved:
            self.room()
            assert self._buffer is not None
            read(self._buffer[: self.saved])
            self.saved = 0

    def in_memory(self) -> memoryview:
        """Those behind the saved ones; valid until the next change."""
        if self._buffer is None:
            return memoryview(self._few)
        return self._buffer[self.saved : self.size]

    def last(self, count: int) -> memoryview:
        """The last `count` of those in memory."""
        data = self.in_memory()
        return data[len(data) - count :]

    def drop(self, count: int) -> None:
        """Forget the first `count`, all of which are in memory."""
        rest = self.in_memory()[count:]
        self.size -= count
        if self._buffer is None:
            self._few = bytes(rest)
        else:
            self._buffer[: self.size] = rest

    def park(self) -> None:
        """Nothing comes for now: give the buffer back if they are few, or buffers are."""
        if self._buffer is not None and (self._buffers.is_scarce or not self.is_large):
            self._few = bytes(self.in_memory())
            self._give_back()

    def leave(self, saved: int) -> None:
        """Forget what is in memory: there are `saved` bytes, all in the tail file."""
        self._few = b""
        self.saved = self.size = saved
        self._give_back()

    def _give_back(self) -> None:
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None


def source(data: memoryview) -> Callable[[memoryview], int]:
    """A `fill` for `Upload.append_from`, of bytes that are there."""
    taken = 0

    def fill(room: memoryview) -> int:
        nonlocal taken
        count = min(len(room), len(data) - taken)
        room[:count] = data[taken : taken + count]
        taken += count
        return count

    return fill
