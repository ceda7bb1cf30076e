"""Reading of blobs: parts of a blob one after the other, in pieces or as segments."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.store.blobs import BlobReader, Extent, Segment

# Bytes are gathered to pieces of this size; a piece may be a chunk longer.
PIECE_SIZE = 512 * 1024
# The size of the pieces of a range, whose client may disconnect at any byte.
RANGE_PIECE_SIZE = 256 * 1024


@dataclass(frozen=True, slots=True)
class BlobPart:
    """A range of a blob in bytes, and the head that comes before it."""

    head: bytes
    offset: int
    length: int


class BlobSource:
    """Parts of a blob, with the heads and the tail that frame them.

    Take them either in pieces (`read`) or as segments (`segments`), from one thread at a time. It
    holds at most one reader of the blob. Until the last byte was taken it must be closed.
    """

    def __init__(
        self,
        open_range: Callable[[int, int], BlobReader],
        parts: Sequence[BlobPart],
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

    def prepare_segments(self) -> None:
        """Read the first segment, so an early failure happens before the answer begins."""
        self._first = next(self._segments, None)

    def read(self) -> bytes:
        """Return the next piece; empty after the last. Raises `Corrupt`, `StorageFailed`.

        It is shorter if the next bytes take their time.
        """
        gathered: list[bytes] = []
        size = 0
        while size < self._piece_size and size < self.left:
            data = next(self._bytes)
            if not data and size:
                break
            gathered.append(data)
            size += len(data)
        self.left -= size
        if self.left == 0:
            self._end()
        return gathered[0] if len(gathered) == 1 else b"".join(gathered)

    def segments(self) -> Iterator[Segment]:
        """Yield all segments. Call `prepare_segments` before. Raises `Corrupt`, `StorageFailed`."""
        segment, self._first = self._first, None
        while segment is not None:
            yield segment
            self.left -= _size(segment)
            if self.left == 0:
                self._end()
                return
            segment = next(self._segments)

    def close(self) -> None:
        """Close the reader, at whatever byte it is. Idempotent."""
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

    def _part_segments(self, part: BlobPart) -> Iterator[Segment]:
        left = part.length
        with self._open_range(part.offset, part.length) as reader:
            for segment in reader:
                left -= _size(segment)
                if left < 0:
                    raise Corrupt("a blob is longer than its size")
                yield segment
            if left:
                raise Corrupt(f"{reader.stat.digest} has fewer bytes on disk than its size")


def _size(segment: Segment) -> int:
    return segment.length if isinstance(segment, Extent) else len(segment)


def _read_segments(segments: Iterator[Segment], piece_size: int) -> Iterator[bytes]:
    """Yield the bytes of segments. Extents of files are read in pieces of up to `piece_size`."""
    for segment in segments:
        if not isinstance(segment, Extent):
            yield segment
            continue
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
