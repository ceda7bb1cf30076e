"""A blob's bytes as segments: its recipe is read row by row, and adjacent chunks become one extent.

Each row is read in a transaction of its own, so that a slow client holds no snapshot. The place of
a chunk is looked up when its row is read, since compaction may have moved it. A ranged read takes
small steps at first (`read_ahead.py`).
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from types import TracebackType
from typing import Self

import msgspec

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CHUNKS, RECIPES, number_key
from dtrfast.machine import disk
from dtrfast.store import codec, read_ahead, records
from dtrfast.store.blobs import BlobStat, Extent, Segment
from dtrfast.store.chunk_files import OpenPack
from dtrfast.store.context import StoreContext
from dtrfast.store.read_ahead import STEP_SIZE, ReadAhead
from dtrfast.store.records import Chunk


class _ChunkSlice(msgspec.Struct, frozen=True, gc=False):
    """Bytes `start` to `end` of a chunk's content."""

    place: Chunk
    start: int
    end: int


class _Run(msgspec.Struct, gc=False):
    """Adjacent slices with one codec. Their stored bytes are `offset` to `end` of a pack."""

    pack: int
    codec: int
    offset: int
    end: int
    size: int  # of their content
    slices: list[_ChunkSlice]


class LocalReader:
    """`BlobReader` over a recipe. One thread at a time."""

    def __init__(
        self,
        context: StoreContext,
        stat: BlobStat,
        content: int,
        offset: int,
        length: int,
        ahead: ReadAhead | None = None,
    ) -> None:
        """`length` bytes at `offset` of the content with the number `content`.

        `ahead` paces the read. Without it the kernel alone reads ahead.
        """
        assert 0 <= offset <= offset + length <= stat.size, "a range lies inside its blob"
        self.stat = stat
        self._context = context
        self._content = content
        self._offset = offset
        self._end = offset + length
        self._pack: OpenPack | None = None
        self._pack_number = 0
        self._gone = 0  # the number of a pack that was missing
        self._file = -1
        self._ahead = ahead

    def __iter__(self) -> Iterator[Segment]:
        while self._offset < self._end:
            row_offset, row, slices = self._read_row()
            kind = row[0]
            if kind == records.CHUNKS:
                yield from self._chunk_segments(slices)
            else:
                yield from self._whole_segments(kind, records.row_payload(row), row_offset)

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

    def _read_row(self) -> tuple[int, bytes, list[_ChunkSlice]]:
        """Return the row that holds the next byte: the row's offset in the blob, its bytes, and the
        slices to read (none unless it is a row of chunks).

        Raises `Corrupt`.
        """
        with self._context.engine.read() as transaction:
            prefix = number_key(self._content)
            behind = records.recipe_key(self._content, self._offset + 1)
            for key, row in transaction.scan(RECIPES, prefix, after=behind, limit=1, reverse=True):
                row_offset = records.recipe_offset(key)
                if row[0] == records.CHUNKS:
                    return row_offset, row, self._slices(transaction, row, row_offset)
                return row_offset, row, []
        raise Corrupt(f"the recipe of {self.stat.digest} is gone or has a hole")

    def _slices(self, transaction: ReadTransaction, row: bytes, position: int) -> list[_ChunkSlice]:
        """Return the slices to read in a row of chunks that begins at `position` of the blob."""
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
            slices.append(_ChunkSlice(place, begin, end))
        if not slices:
            raise Corrupt(f"the recipe of {self.stat.digest} has a hole at {self._offset}")
        return slices

    def _whole_segments(self, kind: int, payload: bytes, row_offset: int) -> Iterator[Segment]:
        start, length = self._offset - row_offset, self._end - self._offset
        if kind == records.INLINE:
            self._offset = self._end
            yield payload[start : start + length]
            return
        if kind != records.FILE:
            raise FormatUnknown("a recipe row has an unknown type: run a newer dtrfast")
        try:
            self._file = disk.open_existing(self._context.layout.blob(payload))
        except FileNotFoundError as error:
            raise Corrupt(
                f"the file of {self.stat.digest} is not on the disk: push it again"
            ) from error
        self._offset = self._end
        extent = Extent(self._file, start, length)
        if self._ahead is None:
            yield extent
        else:
            yield from self._ahead.steps(extent)

    def _chunk_segments(self, slices: list[_ChunkSlice]) -> Iterator[Segment]:
        """The segments of one row. Ends early if a pack was compacted since the row was read."""
        runs = list(_runs(slices, sys.maxsize))
        paced = self._is_paced(runs)
        if paced:
            runs = list(_runs(slices, STEP_SIZE))
        fetched = 0
        for number, run in enumerate(runs):
            descriptor = self._open_pack(run.pack)
            if descriptor is None:
                return
            if paced:
                fetched = self._fetch(runs, number, fetched)
            yield from self._run_segments(run, descriptor)

    def _is_paced(self, runs: Sequence[_Run]) -> bool:
        """True if the read takes small steps and some of the bytes are not in memory."""
        if self._ahead is None:
            return False
        for run in runs:
            with suppress(Corrupt), self._context.chunk_files.lent(run.pack) as descriptor:
                if not self._ahead.is_paced(descriptor):
                    return False
                if not read_ahead.is_cached(descriptor, run.offset, run.end - run.offset):
                    return True
        return False

    def _fetch(self, runs: Sequence[_Run], number: int, fetched: int) -> int:
        """Let the kernel begin to read two steps of `runs` from the index `number` on.

        The runs before the index `fetched` were requested before. Return the new `fetched`.
        """
        size = sum(run.size for run in runs[number:fetched])
        while fetched < len(runs) and size < 2 * STEP_SIZE:
            run = runs[fetched]
            with suppress(Corrupt), self._context.chunk_files.lent(run.pack) as descriptor:
                read_ahead.fetch(descriptor, run.offset, run.end - run.offset)
            size += run.size
            fetched += 1
        return fetched

    def _run_segments(self, run: _Run, descriptor: int) -> Iterator[Segment]:
        if run.codec == codec.RAW:
            self._pass(run.size)
            yield Extent(descriptor, run.offset, run.size)
            return
        for part in run.slices:
            stored = disk.read_at(descriptor, part.place.stored, part.place.offset)
            content = codec.decompress(stored, part.place.length)
            self._pass(part.end - part.start)
            yield content[part.start : part.end]

    def _pass(self, size: int) -> None:
        """Count `size` bytes, before they are handed out."""
        self._offset += size
        if self._ahead is not None:
            self._ahead.count(size)

    def _open_pack(self, number: int) -> int | None:
        """Return the pack's descriptor, or None if the caller must read the index again.

        Raises `Corrupt` if the index names the missing pack a second time.
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


def _runs(slices: Sequence[_ChunkSlice], size_max: int) -> Iterator[_Run]:
    """Merge adjacent slices into runs. A run ends once it has `size_max` bytes or more."""
    run: _Run | None = None
    for part in slices:
        place = part.place
        offset, end = place.offset, place.offset + place.stored
        if place.codec == codec.RAW:
            offset, end = place.offset + part.start, place.offset + part.end
        if (
            run is not None
            and run.end == offset
            and run.pack == place.pack
            and run.codec == place.codec
            and run.size < size_max
        ):
            run.end = end
            run.size += part.end - part.start
            run.slices.append(part)
            continue
        if run is not None:
            yield run
        run = _Run(place.pack, place.codec, offset, end, part.end - part.start, [part])
    if run is not None:
        yield run
