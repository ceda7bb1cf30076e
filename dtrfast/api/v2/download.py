"""Blob bytes on their way out: read on threads in pieces, sent while somebody listens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import Receive, Scope, Send

from dtrfast.api.errors import ClientGone
from dtrfast.api.types import Hop
from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.store.blobs import BlobReader, Extent, Segment

# A piece is gathered until it has this size, from reads of no more: it stays under twice as much.
PIECE_SIZE = 512 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A range of the blob, and what is sent before it."""

    head: bytes
    offset: int
    length: int


class Source:
    """The bytes of an answer: parts of a blob and what frames them. One thread at a time.

    Holds at most one reader. After the last piece it holds nothing; until then it must be closed.
    """

    def __init__(
        self,
        open_range: Callable[[int, int], BlobReader],
        parts: Sequence[Part],
        tail: bytes = b"",
    ) -> None:
        self._open_range = open_range
        self._parts = parts
        self._tail = tail
        self._bytes = self._iterate()
        self.left = sum(len(part.head) + part.length for part in parts) + len(tail)

    def read(self) -> bytes:
        """The next piece; empty after the last. Raises `Corrupt`, `StorageFailed`."""
        gathered: list[bytes] = []
        size = 0
        while size < PIECE_SIZE and size < self.left:
            data = next(self._bytes)
            gathered.append(data)
            size += len(data)
        self.left -= size
        if self.left == 0:
            self._end()
        return gathered[0] if len(gathered) == 1 else b"".join(gathered)

    def close(self) -> None:
        """Let go of the reader, wherever it is. Idempotent."""
        self._bytes.close()

    def _end(self) -> None:
        if next(self._bytes, None) is not None:
            raise Corrupt("a blob is longer than its size")

    def _iterate(self) -> Generator[bytes, None, None]:
        for part in self._parts:
            if part.head:
                yield part.head
            yield from self._read_part(part)
        if self._tail:
            yield self._tail

    def _read_part(self, part: Part) -> Iterator[bytes]:
        left = part.length
        with self._open_range(part.offset, part.length) as reader:
            for segment in reader:
                for data in _read_segment(segment):
                    left -= len(data)
                    yield data
            if left:
                raise Corrupt(f"{reader.stat.digest} has not all of its bytes on disk")


def _read_segment(segment: Segment) -> Iterator[bytes]:
    if not isinstance(segment, Extent):
        yield segment
        return
    offset, end = segment.offset, segment.offset + segment.length
    while offset < end:
        data = _read_at(segment.descriptor, min(end - offset, PIECE_SIZE), offset)
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
    """An answer whose first piece was read already: only then is its head sent."""

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
            if self._source.left:
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
