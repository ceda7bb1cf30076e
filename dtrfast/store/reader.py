"""A blob's bytes as segments: a recipe, read row by row, neighbouring chunks merged into extents.

Each row is read in a transaction of its own, so that a slow client holds no snapshot; chunks are
found by id at the moment they are needed, wherever they lie by then.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from types import TracebackType
from typing import Self

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CHUNKS, RECIPES, number_key, number_of
from dtrfast.store import codec, disk, records
from dtrfast.store.blobs import BlobStat, Extent, Segment
from dtrfast.store.chunk_files import OpenPack
from dtrfast.store.context import Context
from dtrfast.store.records import Chunk


class _Slice(msgspec.Struct, frozen=True, gc=False):
    """Bytes `start` to `end` of a chunk's content."""

    place: Chunk
    start: int
    end: int


class LocalReader:
    """`BlobReader` over a recipe. One thread at a time."""

    def __init__(
        self, context: Context, stat: BlobStat, content: int, offset: int, length: int
    ) -> None:
        assert 0 <= offset <= offset + length <= stat.size, "a range lies inside its blob"
        self.stat = stat
        self._context = context
        self._content = content
        self._offset = offset
        self._end = offset + length
        self._pack: OpenPack | None = None
        self._pack_number = 0
        self._gone = 0  # a pack that was not there
        self._file = -1

    def __iter__(self) -> Iterator[Segment]:
        while self._offset < self._end:
            row_offset, row, slices = self._read_row()
            kind = row[0]
            if kind == records.CHUNKS:
                yield from self._chunk_segments(slices)
            else:
                yield self._whole_segment(kind, records.row_payload(row), row_offset)

    def close(self) -> None:
        if self._pack is not None:
            self._context.chunk_files.release(self._pack)
            self._pack = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_row(self) -> tuple[int, bytes, list[_Slice]]:
        """The row that holds the next byte: where it begins, what it is, and the chunks that are
        wanted of it.
        """
        with self._context.engine.read() as transaction:
            prefix = number_key(self._content)
            behind = prefix + number_key(self._offset + 1)
            for key, row in transaction.scan(RECIPES, prefix, after=behind, limit=1, reverse=True):
                row_offset = number_of(key[len(prefix) :])
                if row[0] == records.CHUNKS:
                    return row_offset, row, self._slices(transaction, row, row_offset)
                return row_offset, row, []
        raise Corrupt(f"the recipe of {self.stat.digest} is gone or has a hole")

    def _slices(self, transaction: ReadTransaction, row: bytes, position: int) -> list[_Slice]:
        """What is wanted of the chunks in a row that begins at `position` of the blob."""
        parts = records.row_parts(row)
        ends = list(accumulate([length for _, length in parts], initial=position))
        first = bisect_right(ends, self._offset) - 1
        slices = []
        for (identifier, length), start in zip(parts[first:], ends[first:], strict=False):
            if start >= self._end:
                break
            data = transaction.get(CHUNKS, number_key(identifier))
            if data is None:
                raise Corrupt(f"a chunk of {self.stat.digest} is not in the index")
            begin, end = max(self._offset - start, 0), min(self._end - start, length)
            place = Chunk.decode(data)
            if place.is_damaged:
                raise Corrupt(f"a chunk of {self.stat.digest} is damaged: push the blob again")
            slices.append(_Slice(place, begin, end))
        if not slices:
            raise Corrupt(f"the recipe of {self.stat.digest} has a hole at {self._offset}")
        return slices

    def _whole_segment(self, kind: int, payload: bytes, row_offset: int) -> Segment:
        start, length = self._offset - row_offset, self._end - self._offset
        self._offset = self._end
        if kind == records.INLINE:
            return payload[start : start + length]
        if kind != records.FILE:
            raise Corrupt("a recipe row has an unknown type: run a newer dtrfast")
        return Extent(self._open_file(payload), start, length)

    def _open_file(self, file_id: bytes) -> int:
        try:
            self._file = disk.open_existing(self._context.layout.blob(file_id))
        except FileNotFoundError as error:
            raise Corrupt(
                f"the file of {self.stat.digest} is not on the disk: push it again"
            ) from error
        return self._file

    def _chunk_segments(self, slices: list[_Slice]) -> Iterator[Segment]:
        """Those of one row; ends early where a pack was compacted since the row was read."""
        position = 0
        while position < len(slices):
            first = slices[position]
            descriptor = self._open_pack(first.place.pack)
            if descriptor is None:
                return
            if first.place.codec == codec.ZSTD:
                stored = disk.read_at(descriptor, first.place.stored, first.place.offset)
                content = codec.decompress(stored, first.place.length)
                self._offset += first.end - first.start
                yield content[first.start : first.end]
                position += 1
            else:
                extent, position = _merge(slices, position, descriptor)
                self._offset += extent.length
                yield extent

    def _open_pack(self, number: int) -> int | None:
        """The pack's descriptor; None when the index has to be asked again. Raises `Corrupt` when
        that was done, and says the same.
        """
        if self._pack is None or self._pack_number != number:
            pack = self._context.chunk_files.acquire(number)
            if pack is None:
                if self._gone == number:
                    raise Corrupt(f"a pack of {self.stat.digest} is not on the disk: restore it")
                self._gone = number
                return None
            if self._pack is not None:
                self._context.chunk_files.release(self._pack)
            self._pack, self._pack_number = pack, number
        return self._pack.descriptor


def _merge(slices: list[_Slice], position: int, descriptor: int) -> tuple[Extent, int]:
    """The longest extent of raw chunks from `position` that lie one behind another, and the
    position behind it.
    """
    first = slices[position]
    start = first.place.offset + first.start
    end = first.place.offset + first.end
    position += 1
    while position < len(slices):
        place = slices[position].place
        if place.codec != codec.RAW or place.pack != first.place.pack or place.offset != end:
            break
        end = place.offset + slices[position].end
        position += 1
    return Extent(descriptor, start, end - start), position
