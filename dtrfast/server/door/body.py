"""The body of a request: where it ends, and its content without framing.

Bytes come either from the door, which was given them by the event loop, or from the socket by way
of the push lane. Both feed the same decoder, so that nothing else decides where a request ends.
"""

from __future__ import annotations

from dtrfast import _core


class Body:
    """What is still to come of a body. Raises ValueError when its framing is broken, for good."""

    __slots__ = ("_decoder", "_left")

    def __init__(self, head: _core.Head) -> None:
        self._decoder = _core.ChunkedDecoder() if head.chunked else None
        self._left: int = head.content_length or 0

    @property
    def finished(self) -> bool:
        return self._left == 0 if self._decoder is None else self._decoder.finished

    @property
    def left(self) -> int | None:
        """Bytes to come; None where only the framing tells."""
        return self._left if self._decoder is None else None

    def take(self, data: bytes) -> tuple[bytes, int]:
        """The content in `data`, and how many of its bytes belong to the body."""
        if self._decoder is None:
            size = min(self._left, len(data))
            self._left -= size
            return data[:size], size
        content = bytearray(len(data))
        consumed, produced = self._decoder.decode(data, content)
        return bytes(memoryview(content)[:produced]), consumed

    def take_in_place(self, data: memoryview) -> tuple[int, int]:
        """Move the content to the front of `data`; its size, and how much of `data` was body."""
        if self._decoder is None:
            size = min(self._left, len(data))
            self._left -= size
            return size, size
        consumed, produced = self._decoder.decode(data, data)
        return produced, consumed
