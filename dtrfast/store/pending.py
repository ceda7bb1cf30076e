"""The bytes of an upload that are not in a chunk or a loose file yet.

Many bytes lie at the front of a borrowed buffer, few in memory of their own. The first bytes may
lie only in the upload's tail file. Then the buffer has room for them in front, and they are read
when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable

from dtrfast.store.buffers import Buffers

# Up to so many bytes are copied out of the buffer when the client pauses. That takes 1 µs, and a
# slow client does not keep a megabyte.
_FEW = 65536


class PendingBytes:
    """A queue of bytes: `room` and `add` append at the end, `drop` removes at the front."""

    def __init__(self, buffers: Buffers, data: bytes = b"", *, saved: int = 0) -> None:
        """`data` follows `saved` bytes, which lie in the tail file."""
        self.saved = saved
        self.size = saved + len(data)
        self._buffers = buffers
        self._buffer: memoryview | None = None
        self._few = data  # the bytes in memory, while no buffer is borrowed

    @property
    def is_large(self) -> bool:
        """True if the bytes need a buffer."""
        return self.size - self.saved > _FEW

    def room(self) -> memoryview:
        """Return writable memory for the next bytes."""
        if self._buffer is None:
            self._buffer = self._buffers.borrow()
            self._buffer[self.saved : self.size] = self._few
            self._few = b""
        return self._buffer[self.size :]

    def add(self, count: int) -> None:
        """Append the `count` bytes that were put at the front of the room."""
        self.size += count

    def load(self, read: Callable[[memoryview], None]) -> None:
        """Let `read` fill in the bytes that lie in the tail file."""
        if self.saved:
            self.room()
            assert self._buffer is not None
            read(self._buffer[: self.saved])
            self.saved = 0

    def in_memory(self) -> memoryview:
        """Return the bytes behind the saved ones. The view is valid until the next change."""
        if self._buffer is None:
            return memoryview(self._few)
        return self._buffer[self.saved : self.size]

    def last(self, count: int) -> memoryview:
        """Return the last `count` bytes, which are in memory."""
        data = self.in_memory()
        return data[len(data) - count :]

    def drop(self, count: int) -> None:
        """Remove the first `count` bytes, all of which are in memory."""
        rest = self.in_memory()[count:]
        self.size -= count
        if self._buffer is None:
            self._few = bytes(rest)
        else:
            self._buffer[: self.size] = rest

    def park(self) -> None:
        """Give the buffer back if the bytes or the free buffers are few: no bytes come for now."""
        if self._buffer is not None and (self._buffers.is_scarce or not self.is_large):
            self._few = bytes(self.in_memory())
            self._give_back()

    def leave(self, saved: int) -> None:
        """Drop the bytes in memory. Then there are `saved` bytes, all in the tail file."""
        self._few = b""
        self.saved = self.size = saved
        self._give_back()

    def _give_back(self) -> None:
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None


def source(data: memoryview) -> Callable[[memoryview], int]:
    """Return a `fill` for `Upload.append_from` that copies `data`."""
    taken = 0

    def fill(room: memoryview) -> int:
        nonlocal taken
        count = min(len(room), len(data) - taken)
        room[:count] = data[taken : taken + count]
        taken += count
        return count

    return fill
