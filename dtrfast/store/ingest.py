"""One pass over the bytes of a chunked upload: cut, hash, look up, compare, append.

`Ingest` owns the upload's pack and parts files while a request runs. It decides nothing about
commits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import xxhash

from dtrfast import _core
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CHUNK_HASHES, CHUNKS, number_of
from dtrfast.machine import disk
from dtrfast.store import codec, packs
from dtrfast.store.context import Context
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

_Encoded: TypeAlias = tuple[int, bytes | memoryview]  # codec, and the stored bytes


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

    def __init__(self, context: Context, descriptors: tuple[int, int], at: Position) -> None:
        self._engine = context.engine
        self._files = context.chunk_files
        self._ids = context.chunk_ids
        self._thread = context.second_thread
        self._pack, self._parts = descriptors
        self._chunker = _core.Chunker()
        self._recent: OrderedDict[bytes, Part] = OrderedDict()
        self._incompressible = 0
        self.at = at

    def feed(self, data: memoryview, *, scanned: int = 0, final: bool = False) -> int:
        """Take the chunks that `data` holds whole; returns their length. `data` starts at a chunk
        boundary; its first `scanned` bytes were given before, and hold no cut.

        With `final` nothing stays over. Raises `StorageFull` or `StorageFailed`; `at` is then
        unchanged.
        """
        cuts = self._chunker.cut(data, final=final, scanned=scanned)
        if not cuts:
            return 0
        self._take([data[start:end] for start, end in zip([0, *cuts], cuts, strict=False)])
        return cuts[-1]

    def _take(self, chunks: list[memoryview]) -> None:
        hashes = [xxhash.xxh3_128_digest(chunk) for chunk in chunks]
        parts = self._known(chunks, hashes)
        firsts = _firsts(chunks, hashes, parts)
        new = [position for position, first in firsts.items() if position == first]
        size = self._add(chunks, hashes, parts, new)
        for position, first in firsts.items():
            if position != first:
                parts[position] = _again(parts[first])
        self._write_parts(parts, size)

    def _known(self, chunks: list[memoryview], hashes: list[bytes]) -> list[Part | None]:
        """Which of the chunks are stored already, by their bytes."""
        candidates = self._candidates(hashes)
        return [
            self._in_index(chunk, candidates.get(digest, ())) or self._in_pack(chunk, digest)
            for chunk, digest in zip(chunks, hashes, strict=True)
        ]

    def _candidates(self, hashes: list[bytes]) -> dict[bytes, list[tuple[int, Chunk]]]:
        """What the index has under these hashes, from one transaction."""
        with self._engine.read() as transaction:
            return {h: found for h in set(hashes) if (found := _lookup(transaction, h))}

    def _in_index(self, chunk: memoryview, candidates: Iterable[tuple[int, Chunk]]) -> Part | None:
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
        content = codec.decode(part.codec, stored, part.length)
        return _again(part) if _core.equal(content, chunk) else None

    def _add(
        self,
        chunks: list[memoryview],
        hashes: list[bytes],
        parts: list[Part | None],
        new: list[int],
    ) -> int:
        """Append the new chunks as a record and set their parts; returns the pack's size then."""
        size = self.at.pack_size
        if not new:
            return size
        identifier = self._ids.take(len(new))
        offset = size + packs.record_size(len(new))
        added: list[Part] = []
        encoded = self._encoded([chunks[position] for position in new])
        for position, (kind, stored) in zip(new, encoded, strict=True):
            length = len(chunks[position])
            part = Part(identifier, hashes[position], length, True, kind, offset, len(stored))
            parts[position] = part
            added.append(part)
            identifier += 1
            offset += len(stored)
        buffers = [packs.record_head(added), *(stored for _, stored in encoded)]
        size += disk.write_at(self._pack, buffers, size)
        self._remember(added)
        return size

    def _encoded(self, chunks: list[memoryview]) -> list[_Encoded]:
        """The chunks as they are stored, by two threads where that pays."""
        if self._incompressible >= _INCOMPRESSIBLE_RUN or not self._thread.is_free:
            return [self._encode(chunk) for chunk in chunks]
        half = len(chunks) // 2
        beside = self._thread.begin(lambda: [_compressed(chunk) for chunk in chunks[half:]])
        encoded = [_compressed(chunk) for chunk in chunks[:half]]
        encoded += beside.wait()
        for kind, _ in encoded:
            self._count(kind)
        return encoded

    def _encode(self, chunk: memoryview) -> _Encoded:
        """The chunk as it is stored. After many that did not compress few are tried."""
        if self._incompressible >= _INCOMPRESSIBLE_RUN and self._incompressible % 8:
            encoded: _Encoded = (codec.RAW, chunk)
        else:
            encoded = _compressed(chunk)
        self._count(encoded[0])
        return encoded

    def _count(self, kind: int) -> None:
        self._incompressible = 0 if kind == codec.ZSTD else self._incompressible + 1

    def _write_parts(self, parts: list[Part | None], pack_size: int) -> None:
        """Append the parts; `at` moves only when all is written."""
        table = b"".join([part.encode() for part in parts if part is not None])
        disk.write_at(self._parts, [table], self.at.parts * PART_SIZE)
        self.at = Position(pack_size, self.at.parts + len(parts))

    def _remember(self, parts: list[Part]) -> None:
        for part in parts:
            self._recent[part.hash] = part
        while len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)


def _compressed(chunk: memoryview) -> _Encoded:
    """The chunk as a zstd frame where that pays."""
    frame = codec.compress(chunk)
    if len(frame) * 100 <= len(chunk) * _COMPRESSED_PERCENT_MAX:
        return codec.ZSTD, frame
    return codec.RAW, chunk


def _firsts(
    chunks: list[memoryview], hashes: list[bytes], known: list[Part | None]
) -> dict[int, int]:
    """The positions of chunks that are not known: of each, and of the first with equal bytes."""
    firsts: dict[int, int] = {}
    by_hash: dict[bytes, int] = {}
    for position, part in enumerate(known):
        if part is None:
            first = by_hash.setdefault(hashes[position], position)
            is_equal = first == position or _core.equal(chunks[first], chunks[position])
            firsts[position] = first if is_equal else position
    return firsts


def _again(part: Part | None) -> Part:
    """The same chunk once more in the same upload."""
    assert part is not None, "new chunks are placed before those that equal them"
    return msgspec.structs.replace(part, is_new=False)


def _lookup(transaction: ReadTransaction, digest: bytes) -> list[tuple[int, Chunk]]:
    """Chunks with this hash; nearly always one, or none."""
    found = []
    for key, _ in transaction.scan(CHUNK_HASHES, digest, limit=_CANDIDATES_MAX):
        identifier = key[len(digest) :]
        data = transaction.get(CHUNKS, identifier)
        chunk = None if data is None else Chunk.decode(data)
        # One without references is on its way out (docs/reliability.md, "Packs").
        if chunk is not None and chunk.references and not chunk.is_damaged:
            found.append((number_of(identifier), chunk))
    return found
