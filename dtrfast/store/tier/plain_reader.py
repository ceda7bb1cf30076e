"""Reads plain bytes of a converted content from its chunks."""

from __future__ import annotations

import threading
from collections import OrderedDict

from dtrfast import _core
from dtrfast.errors import Corrupt
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CHUNKS, number_key, number_of
from dtrfast.store import recipe_rows
from dtrfast.store.context import StoreContext
from dtrfast.store.recipe_rows import Columns
from dtrfast.store.records import Chunk

# A chunk of headers belongs to many rows. So the content of recent chunks is kept.
_KEPT_BYTES_MAX = 1 << 20


class PlainReader:
    """Reads the plain bytes that the plain recipe with the number `recipe` describes.

    Safe from many threads.
    """

    def __init__(self, context: StoreContext, recipe: int) -> None:
        self._context = context
        self._recipe = recipe
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0

    def read(self, begin: int, end: int) -> bytearray:
        """Return the plain bytes from `begin` to `end`.

        Raises `Corrupt`, `StorageFailed`, `FormatUnknown`.
        """
        into = bytearray(end - begin)
        at = begin
        for offset, row in recipe_rows.read(self._context.engine, self._recipe, begin, end):
            if offset > at:
                raise Corrupt(f"a plain recipe has a hole at {at}")
            at = offset + self._copy(recipe_rows.decode_columns(row), offset - begin, into)
            if at >= end:
                return into
        if begin == end:
            return into
        raise Corrupt(f"a plain recipe ends at {at}, before {end}")

    def _copy(self, row: Columns, offset: int, into: bytearray) -> int:
        """Copy a row, which begins at `offset` of `into`, as far as it lies there.

        Return the row's length.
        """
        slices = row.lengths, row.indexes
        try:
            wanted = _core.sliced_chunks(*slices, len(row.ids), -offset, len(into) - offset)
            found = self._contents(sorted({row.ids[index] for index in wanted}))
            contents = [found.get(chunk, b"") for chunk in row.ids]
            _core.copy_slices(into, offset, contents, row.starts, *slices)
        except ValueError as error:
            raise Corrupt(f"a row of a plain recipe is wrong: {error}") from error
        return row.length

    def _contents(self, chunks: list[int]) -> dict[int, bytes]:
        with self._lock:
            found = {chunk: self._kept[chunk] for chunk in chunks if chunk in self._kept}
            for chunk in found:
                self._kept.move_to_end(chunk)
        missing = [chunk for chunk in chunks if chunk not in found]
        if missing:
            new = self._read_chunks(missing)
            found |= new
            self._keep(new)
        return found

    def _read_chunks(self, chunks: list[int]) -> dict[int, bytes]:
        with self._context.engine.read() as transaction:
            places = _places(transaction, chunks)
        read: dict[int, bytes] = {}
        for chunk, place in places.items():
            read[chunk] = self._read_chunk(chunk, place)
        return read

    def _read_chunk(self, chunk: int, place: Chunk) -> bytes:
        while True:
            try:
                return self._context.chunk_files.read(place)
            except Corrupt:
                # Compaction may have moved it since its place was looked up.
                with self._context.engine.read() as transaction:
                    now = _places(transaction, [chunk])[chunk]
                if (now.pack, now.offset) == (place.pack, place.offset):
                    raise
                place = now

    def _keep(self, contents: dict[int, bytes]) -> None:
        with self._lock:
            for chunk, content in contents.items():
                if chunk not in self._kept:
                    self._kept[chunk] = content
                    self._kept_bytes += len(content)
            while self._kept_bytes > _KEPT_BYTES_MAX:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])


class OverlapReader:
    """Reads ranges that overlap, in order, and their common bytes once. One thread at a time."""

    def __init__(self, reader: PlainReader) -> None:
        self._reader = reader
        self._begin = 0
        self._held = bytearray()

    def read(self, begin: int, end: int) -> bytearray:
        """Return the plain bytes from `begin` to `end`, valid until the next call.

        Raises `Corrupt`, `StorageFailed`.
        """
        held_end = self._begin + len(self._held)
        if self._begin <= begin <= held_end <= end:
            del self._held[: begin - self._begin]
            self._held += self._reader.read(held_end, end)
        else:
            self._held = self._reader.read(begin, end)
        self._begin = begin
        return self._held


def _places(transaction: ReadTransaction, chunks: list[int]) -> dict[int, Chunk]:
    found = transaction.get_many(CHUNKS, [number_key(chunk) for chunk in chunks])
    places = {number_of(key): Chunk.decode(data) for key, data in found.items()}
    for chunk in chunks:
        if chunk not in places:
            raise Corrupt(f"chunk {chunk} is not in the index")
        if places[chunk].is_damaged:
            raise Corrupt(f"chunk {chunk} is damaged")
    return places
