"""The body of a request: where it ends, and its content without framing.

Bytes come from the event loop by way of the door, or from the socket by way of the lane. Both feed
the same decoder, so nothing else decides where a request ends.
"""

from __future__ import annotations

from dtrfast import _core


class RequestBody:
    """The rest of a request's body.

    Once the framing was malformed, each call of a method raises ValueError.
    """

    __slots__ = ("_decoder", "_left")

    def __init__(self, head: _core.Head) -> None:
        self._decoder = _core.ChunkedDecoder() if head.chunked else None
        self._left: int = head.content_length or 0

    @property
    def is_finished(self) -> bool:
        return self._left == 0 if self._decoder is None else self._decoder.finished

    @property
    def left(self) -> int | None:
        """Bytes to come; None for a chunked body."""
        return self._left if self._decoder is None else None

    def take(self, data: bytes) -> tuple[bytes, int]:
        """Return the content in `data`, and the count of its bytes that belong to the body."""
        if self._decoder is None:
            size = min(self._left, len(data))
            self._left -= size
            return data[:size], size
        content = bytearray(len(data))
        consumed, produced = self._decoder.decode(data, content)
        return bytes(memoryview(content)[:produced]), consumed

    def take_in_place(self, data: memoryview) -> tuple[int, int]:
        """Move the content to the front of `data`.

        Return the content's size, and the count of bytes of `data` that belonged to the body.
        """
        if self._decoder is None:
            size = min(self._left, len(data))
            self._left -= size
            return size, size
        consumed, produced = self._decoder.decode(data, data)
        return produced, consumed
