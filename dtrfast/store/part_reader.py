"""Reading the chunks of an upload before its commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dtrfast.errors import Corrupt
from dtrfast.index.tables import CHUNKS, number_key
from dtrfast.machine import disk
from dtrfast.store import codec, parts
from dtrfast.store.context import StoreContext
from dtrfast.store.parts import UploadPart
from dtrfast.store.records import Chunk

_PARTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class PartReader:
    """Reads an upload's chunks. `pack` and `parts` are descriptors, which the upload closes."""

    context: StoreContext
    pack: int
    parts: int

    def read(self, count: int, begin: int, end: int) -> Iterator[bytes]:
        """The bytes from `begin` to `end` of the content, limited to the first `count` parts."""
        offset = 0
        for first in range(0, count, _PARTS_AT_ONCE):
            for part in parts.read(self.parts, first, min(_PARTS_AT_ONCE, count - first)):
                if offset >= end:
                    return
                if offset + part.length > begin:
                    yield self._content(part)[max(0, begin - offset) : end - offset]
                offset += part.length

    def _content(self, part: UploadPart) -> bytes:
        if part.stored:
            stored = disk.read_at(self.pack, part.stored, part.offset)
            return codec.decode(part.codec, stored, part.length)
        try:
            return self._shared(part)
        except Corrupt:
            return self._shared(part)  # its pack was compacted between index and file

    def _shared(self, part: UploadPart) -> bytes:
        with self.context.engine.read() as transaction:
            data = transaction.get(CHUNKS, number_key(part.id))
        if data is None:
            raise Corrupt("a chunk that the upload shares is gone: push the blob again")
        return self.context.chunk_files.read(Chunk.decode(data))
