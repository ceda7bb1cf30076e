"""Blob bytes on their way out: read on threads in pieces, sent while somebody listens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import Receive, Scope, Send

from dtrfast.api.errors import ClientGone
from dtrfast.api.types import Hop, Lane, lane_of
from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.store.blobs import BlobReader, Extent, Segment

# A piece of what is not a lane's is gathered until it has this size; a chunk may come on top.
PIECE_SIZE = 512 * 1024
# The same of a range: its client may hang up at any byte.
RANGE_PIECE_SIZE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A range of the blob, and what is sent before it."""

    head: bytes
    offset: int
    length: int


class Source:
    """The bytes of an answer: parts of a blob and what frames them. One thread at a time.

    Taken either in pieces (`read`) or as segments (`segments`). Holds at most one reader.
    After the last byte it holds nothing; until then it must be closed.
    """

    def __init__(
        self,
        open_range: Callable[[int, int], BlobReader],
        parts: Sequence[Part],
        tail: bytes = b"",
        piece_size: int = PIECE_SIZE,
    ) -> None:
        self._open_range = open_range
        self._parts = parts
        self._tail = tail
        self._segments = self._iterate()
        self._bytes = _read_segments(self._segments, piece_size)
        self._piece_size = piece_size
        self._first: Segment | None = None
        self.left = sum(len(part.head) + part.length for part in parts) + len(tail)

    def prepare(self, lane: Lane | None) -> bytes:
        """Take what comes first: for a lane the first segment, which is kept; else a piece.

        What fails early then fails before an answer begins.
        """
        if lane is None:
            return self.read()
        self._first = next(self._segments, None)
        return b""

    def read(self) -> bytes:
        """The next piece; empty after the last. Raises `Corrupt`, `StorageFailed`."""
        gathered: list[bytes] = []
        size = 0
        while size < self._piece_size and size < self.left:
            data = next(self._bytes)
            gathered.append(data)
            size += len(data)
        self.left -= size
        if self.left == 0:
            self._end()
        return gathered[0] if len(gathered) == 1 else b"".join(gathered)

    def segments(self) -> Iterator[Segment]:
        """All segments, after `prepare`. Raises `Corrupt`, `StorageFailed`."""
        segment, self._first = self._first, None
        while segment is not None:
            yield segment
            self.left -= _size(segment)
            if self.left == 0:
                self._end()
                return
            segment = next(self._segments)

    def close(self) -> None:
        """Let go of the reader, wherever it is. Idempotent."""
        self._segments.close()

    def _end(self) -> None:
        if next(self._segments, None) is not None:
            raise Corrupt("a blob is longer than its size")

    def _iterate(self) -> Generator[Segment, None, None]:
        for part in self._parts:
            if part.head:
                yield part.head
            yield from self._part_segments(part)
        if self._tail:
            yield self._tail

    def _part_segments(self, part: Part) -> Iterator[Segment]:
        left = part.length
        with self._open_range(part.offset, part.length) as reader:
            for segment in reader:
                left -= _size(segment)
                if left < 0:
                    raise Corrupt("a blob is longer than its size")
                yield segment
            if left:
                raise Corrupt(f"{reader.stat.digest} has not all of its bytes on disk")


def _size(segment: Segment) -> int:
    return segment.length if isinstance(segment, Extent) else len(segment)


def _read_segments(segments: Iterator[Segment], piece_size: int) -> Iterator[bytes]:
    for segment in segments:
        yield from _read_segment(segment, piece_size)


def _read_segment(segment: Segment, piece_size: int) -> Iterator[bytes]:
    if not isinstance(segment, Extent):
        yield segment
        return
    offset, end = segment.offset, segment.offset + segment.length
    while offset < end:
        data = _read_at(segment.descriptor, min(end - offset, piece_size), offset)
        offset += len(data)
        yield data


def _read_at(descriptor: int, length: int, offset: int) -> bytes:
    try:
        data = os.pread(descriptor, length, offset)
    except OSError as error:
        raise StorageFailed(f"the disk could not be read: {error.strerror}") from error
    if not data:
        raise Corrupt("a file is shorter than the index says")
    return data


class DownloadResponse:
    """An answer whose source is prepared already: only then is its head sent."""

    def __init__(
        self, hop: Hop, status: int, headers: dict[str, str], source: Source, first: bytes
    ) -> None:
        self._hop = hop
        self._status = status
        self._headers = headers
        self._source = source
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = MutableHeaders(self._headers)
            head = {"type": "http.response.start", "status": self._status, "headers": headers.raw}
            await send(head)
            lane = lane_of(scope)
            if lane is not None:
                await lane.send(self._source.segments())
                await send({"type": "http.response.body", "body": b""})
            elif self._source.left:
                await self._send_pieces(receive, send)
            else:
                await send({"type": "http.response.body", "body": self._first})
        finally:
            if self._source.left:
                await self._hop.run(self._source.close)

    async def _send_pieces(self, receive: Receive, send: Send) -> None:
        watcher = asyncio.create_task(_wait_disconnect(receive))
        try:
            # A client may take hours: only the piece on its way is held.
            piece, self._first = self._first, b""
            while piece:
                if watcher.done():
                    raise ClientGone
                more = self._source.left > 0
                await send({"type": "http.response.body", "body": piece, "more_body": more})
                piece = await self._hop.run(self._source.read) if more else b""
        finally:
            watcher.cancel()


async def _wait_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
