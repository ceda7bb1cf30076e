"""Parses request heads that may arrive in many pieces."""

from __future__ import annotations

from dtrfast import _core

_HEAD_END = b"\r\n\r\n"


class HeadParser:
    """Finds the head at the front of a connection's bytes, in time linear in its size."""

    __slots__ = ("_parsed_size", "_size_max")

    def __init__(self, size_max: int) -> None:
        """`size_max`: the largest head in bytes."""
        self._size_max = size_max
        self._parsed_size = 0  # size of the incomplete head at the last attempt

    def parse(self, data: bytes | bytearray | memoryview) -> _core.Head | None:
        """Return the head at the front of `data`, or None while it is incomplete.

        Raises ValueError for a malformed head, and OverflowError for one that is too long.
        """
        if self._parsed_size and len(data) < 2 * self._parsed_size:
            # A client may send a head byte by byte. Parsing it at each byte takes quadratic time.
            start = max(0, self._parsed_size - len(_HEAD_END))
            if _HEAD_END not in bytes(memoryview(data)[start:]):
                return None
        head = _core.parse_head(data, size_max=self._size_max)
        self._parsed_size = len(data) if head is None else 0
        return head

    def reset(self) -> None:
        """Forget the incomplete head."""
        self._parsed_size = 0
