"""One pass over the bytes of a chunked upload: cut, hash, look up, compare, append.

`Ingest` owns the upload's pack and parts files while a request runs. It decides nothing about
commits.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import xxhash

from dtrfast import _core
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import CHUNK_HASHES, CHUNKS, number_of
from dtrfast.store import codec, disk, packs
from dtrfast.store.chunk_files import ChunkFiles
from dtrfast.store.ids import Ids
from dtrfast.store.parts import PART_SIZE, Part
from dtrfast.store.records import Chunk

# A compressed chunk is kept when it saves an eighth: less does not pay for decompressing at each
# pull.
_COMPRESSED_PERCENT_MAX = 87
# After this many chunks in a row that did not compress, only every eighth is tried.
_INCOMPRESSIBLE_RUN = 8
# Chunks of this upload that a later one of the same upload is compared with (about 1 MiB of Python
# objects).
_RECENT_MAX = 4096
# Chunks of one hash that a new one is compared with; only who makes collisions sees more.
_CANDIDATES_MAX = 8


@dataclass(slots=True)
class Position:
    """How far an upload's files have come: the pack's size in bytes, and the number of parts."""

    pack_size: int
    parts: int


class Ingest:
    """Feeds an upload's bytes to its pack. One thread at a time.

    The pack file is at `pack`, the parts file at `parts`: descriptors that the upload owns and
    closes.
    """

    def __init__(
        self,
        engine: Engine,
        files: ChunkFiles,
        ids: Ids,
        descriptors: tuple[int, int],
        at: Position,
    ) -> None:
        self._engine = engine
        self._files = files
        self._ids = ids
        self._pack, self._parts = descriptors
        self._chunker = _core.Chunker()
        self._recent: OrderedDict[bytes, Part] = OrderedDict()
        self._incompressible = 0
        self.at = at

    def feed(self, data: bytes | bytearray | memoryview, *, final: bool = False) -> int:
        """Take the chunks that `data` holds whole; returns their length. `data` starts at a chunk
        boundary.

        With `final` nothing stays over. Raises `StorageFull` or `StorageFailed`; `at` is then
        unchanged.
        """
        view = memoryview(data)
        cuts = self._chunker.cut(view, final=final)
        if not cuts:
            return 0
        starts = [0, *cuts[:-1]]
        chunks = [view[start:end] for start, end in zip(starts, cuts, strict=True)]
        self._take(chunks)
        return cuts[-1]

    def _take(self, chunks: list[memoryview]) -> None:
        hashes = [xxhash.xxh3_128_digest(chunk) for chunk in chunks]
        candidates = self._candidates(hashes)
        record = _Record()
        parts = [
            self._in_index(chunk, candidates.get(digest, []))
            or self._in_pack(chunk, digest)
            or record.find(chunk, digest)
            or self._added(chunk, digest, record)
            for chunk, digest in zip(chunks, hashes, strict=True)
        ]
        self._write(parts, record)

    def _candidates(self, hashes: list[bytes]) -> dict[bytes, list[tuple[int, Chunk]]]:
        """What the index has under these hashes, from one transaction."""
        with self._engine.read() as transaction:
            return {h: found for h in set(hashes) if (found := _lookup(transaction, h))}

    def _in_index(self, chunk: memoryview, candidates: list[tuple[int, Chunk]]) -> Part | None:
        """The committed chunk with the same bytes. XXH3 is not collision-proof: only bytes prove
        it.
        """
        for identifier, place in candidates:
            if place.length == len(chunk) and self._files.equal(place, chunk):
                return Part(identifier, place.hash, place.length, is_new=False)
        return None

    def _in_pack(self, chunk: memoryview, digest: bytes) -> Part | None:
        """The chunk of this very upload with the same bytes, where it was seen lately."""
        part = self._recent.get(digest)
        if part is None or part.length != len(chunk):
            return None
        self._recent.move_to_end(digest)
        stored = disk.read_at(self._pack, part.stored, part.offset)
        return replace(part, is_new=False) if _same(part, stored, chunk) else None

    def _added(self, chunk: memoryview, digest: bytes, record: _Record) -> Part:
        kind, stored = self._encoded(chunk)
        part = Part(
            self._ids.take(), digest, len(chunk), is_new=True, codec=kind, stored=len(stored)
        )
        record.add(part, stored)
        return part

    def _encoded(self, chunk: memoryview) -> tuple[int, bytes | memoryview]:
        """The chunk as it is stored: a zstd frame where that pays."""
        if self._incompressible >= _INCOMPRESSIBLE_RUN and self._incompressible % 8:
            self._incompressible += 1
            return codec.RAW, chunk
        frame = codec.compress(chunk)
        if len(frame) * 100 <= len(chunk) * _COMPRESSED_PERCENT_MAX:
            self._incompressible = 0
            return codec.ZSTD, frame
        self._incompressible += 1
        return codec.RAW, chunk

    def _write(self, parts: list[Part], record: _Record) -> None:
        """Append the record and the parts; `at` moves only when both are written."""
        size = self.at.pack_size
        places = record.places(size)
        if places:
            size += disk.write_at(self._pack, record.buffers(), size)
        placed = [
            replace(places[part.id], is_new=part.is_new) if part.id in places else part
            for part in parts
        ]
        table = b"".join(part.encode() for part in placed)
        disk.write_at(self._parts, [table], self.at.parts * PART_SIZE)
        self.at = Position(size, self.at.parts + len(placed))
        self._remember(places)

    def _remember(self, places: dict[int, Part]) -> None:
        for part in places.values():
            self._recent[part.hash] = part
        while len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)


class _Record:
    """The new chunks of one buffer, on their way into the pack as one record."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._stored: list[bytes | memoryview] = []
        self._by_hash: dict[bytes, int] = {}

    def add(self, part: Part, stored: bytes | memoryview) -> None:
        self._by_hash[part.hash] = len(self._parts)
        self._parts.append(part)
        self._stored.append(stored)

    def find(self, chunk: memoryview, digest: bytes) -> Part | None:
        """The chunk of this record with the same bytes."""
        index = self._by_hash.get(digest)
        if index is None:
            return None
        part = self._parts[index]
        if part.length != len(chunk) or not _same(part, self._stored[index], chunk):
            return None
        return replace(part, is_new=False)

    def places(self, offset: int) -> dict[int, Part]:
        """The parts by chunk id, placed in a pack where the record begins at `offset`."""
        offset += packs.record_size(len(self._parts))
        places = {}
        for part in self._parts:
            places[part.id] = replace(part, offset=offset)
            offset += part.stored
        return places

    def buffers(self) -> list[bytes | memoryview]:
        entries = [packs.Entry(p.id, p.hash, p.codec, p.length, p.stored, 0) for p in self._parts]
        return [packs.record_head(entries), *self._stored]


def _lookup(transaction: ReadTransaction, digest: bytes) -> list[tuple[int, Chunk]]:
    """Chunks with this hash; nearly always one, or none."""
    found = []
    for key, _ in transaction.scan(CHUNK_HASHES, digest, limit=_CANDIDATES_MAX):
        identifier = key[len(digest) :]
        data = transaction.get(CHUNKS, identifier)
        if data is not None:
            found.append((number_of(identifier), Chunk.decode(data)))
    return found


def _same(part: Part, stored: bytes | memoryview, chunk: memoryview) -> bool:
    content = codec.decompress(bytes(stored), part.length) if part.codec == codec.ZSTD else stored
    return _core.equal(content, chunk)
