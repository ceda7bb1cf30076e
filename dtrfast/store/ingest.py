"""One pass over the bytes of a chunked upload: cut, then store.

`Ingest` writes the upload's pack and parts file while a request runs. It takes no part in the
commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from dtrfast import _core
from dtrfast.machine import disk
from dtrfast.store.chunk_writer import ChunkWriter
from dtrfast.store.context import StoreContext
from dtrfast.store.parts import PART_SIZE


@dataclass(slots=True)
class Position:
    """The ends of an upload's files: the pack's size in bytes, and the number of parts."""

    pack_size: int
    parts: int


class Ingest:
    """Feeds an upload's bytes to its pack. One thread at a time.

    `descriptors`: the pack and the parts file. The upload owns and closes them.
    """

    def __init__(self, context: StoreContext, descriptors: tuple[int, int], at: Position) -> None:
        pack, self._parts = descriptors
        self._writer = ChunkWriter(context, pack)
        self._chunker = _core.Chunker()
        self.at = at

    def feed(self, data: memoryview, *, scanned: int = 0, final: bool = False) -> int:
        """Store the complete chunks in `data`; return their length in bytes.

        `data` starts at a chunk boundary. Its first `scanned` bytes were given before and hold no
        cut. With `final` the rest is a chunk, too. Raises `StorageFull` or `StorageFailed`; then
        `at` is unchanged.
        """
        cuts = self._chunker.cut(data, final=final, scanned=scanned)
        if not cuts:
            return 0
        chunks = [data[start:end] for start, end in pairwise([0, *cuts])]
        parts, size = self._writer.store(chunks, self.at.pack_size)
        table = b"".join([part.encode() for part in parts])
        disk.write_at(self._parts, [table], self.at.parts * PART_SIZE)
        self.at = Position(size, self.at.parts + len(parts))
        return cuts[-1]
