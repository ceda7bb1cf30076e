"""Chunks on their way into a pack: hash, look up, compare, compress, append.

`ChunkWriter` finds the chunks that are stored already, and appends the others to a pack. It takes
no part in the commit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

import msgspec
import xxhash

from dtrfast import _core
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CHUNK_HASHES, CHUNKS, number_of
from dtrfast.machine import disk
from dtrfast.store import codec, packs
from dtrfast.store.context import StoreContext
from dtrfast.store.parts import UploadPart
from dtrfast.store.records import Chunk, hashed_chunk

# A chunk is stored compressed if that saves an eighth. Less does not pay for the decompression at
# each pull.
_COMPRESSED_PERCENT_MAX = 87
# After this many chunks in a row that did not compress, only every eighth is tried.
_INCOMPRESSIBLE_RUN = 8
# Recent chunks of the upload, with which its later chunks are compared: about 1 MiB of Python
# objects.
_RECENT_MAX = 4096
# Chunks of one hash with which a new chunk is compared. More exist only if a client makes
# collisions.
_CANDIDATES_MAX = 8

_Encoded: TypeAlias = tuple[int, bytes | memoryview]  # codec, and the stored bytes


class ChunkWriter:
    """Stores chunks in one pack. One thread at a time.

    `pack`: the descriptor of the pack, which the caller owns. `level`: that of the compression.
    """

    def __init__(self, context: StoreContext, pack: int, level: int = codec.LEVEL) -> None:
        self._level = level
        self._engine = context.engine
        self._files = context.chunk_files
        self._ids = context.chunk_ids
        self._thread = context.second_thread
        self._pack = pack
        self._recent: OrderedDict[bytes, UploadPart] = OrderedDict()
        self._incompressible = 0

    def store(self, chunks: list[memoryview], pack_size: int) -> tuple[list[UploadPart], int]:
        """Store `chunks` at the end of the pack, which has `pack_size` bytes.

        Return a part for each chunk, and the pack's new size. Raises `StorageFull` or
        `StorageFailed`; then bytes behind `pack_size` do not count.
        """
        hashes = [xxhash.xxh3_128_digest(chunk) for chunk in chunks]
        with self._engine.read() as transaction:
            candidates = {h: found for h in set(hashes) if (found := _lookup(transaction, h))}
        parts = [
            self._in_index(chunk, candidates.get(digest, ())) or self._in_pack(chunk, digest)
            for chunk, digest in zip(chunks, hashes, strict=True)
        ]
        firsts = _firsts(chunks, hashes, parts)
        new = [position for position, first in firsts.items() if position == first]
        size = self._add(chunks, hashes, parts, new, pack_size)
        for position, first in firsts.items():
            if position != first:
                parts[position] = _again(parts[first])
        return [part for part in parts if part is not None], size

    def _in_index(
        self, chunk: memoryview, candidates: Iterable[tuple[int, Chunk]]
    ) -> UploadPart | None:
        """Return the committed chunk with the same bytes, or None.

        The bytes are compared, because XXH3 does not resist deliberate collisions.
        """
        for identifier, place in candidates:
            if place.length == len(chunk) and self._files.equal(place, chunk):
                return UploadPart(identifier, place.hash, place.length, is_new=False)
        return None

    def _in_pack(self, chunk: memoryview, digest: bytes) -> UploadPart | None:
        """Return the chunk with the same bytes among recent chunks of this upload, or None."""
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
        parts: list[UploadPart | None],
        new: list[int],
        size: int,
    ) -> int:
        """Append the new chunks as a record and set their parts; return the pack's new size."""
        if not new:
            return size
        identifier = self._ids.take(len(new))
        offset = size + packs.record_size(len(new))
        added: list[UploadPart] = []
        encoded = self._encoded([chunks[position] for position in new])
        for position, (kind, stored) in zip(new, encoded, strict=True):
            length = len(chunks[position])
            part = UploadPart(identifier, hashes[position], length, True, kind, offset, len(stored))
            parts[position] = part
            added.append(part)
            identifier += 1
            offset += len(stored)
        buffers = [packs.record_head(added), *(stored for _, stored in encoded)]
        size += disk.write_at(self._pack, buffers, size)
        self._recent.update((part.hash, part) for part in added)
        while len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)
        return size

    def _encoded(self, chunks: list[memoryview]) -> list[_Encoded]:
        """Return the chunks as they are stored. Two threads compress them where that pays."""
        if self._incompressible >= _INCOMPRESSIBLE_RUN or not self._thread.is_free:
            return [self._encode(chunk) for chunk in chunks]
        half = len(chunks) // 2
        beside = self._thread.begin(
            lambda: [encode_chunk(chunk, self._level) for chunk in chunks[half:]]
        )
        encoded = [encode_chunk(chunk, self._level) for chunk in chunks[:half]]
        encoded += beside.wait()
        for kind, _ in encoded:
            self._count(kind)
        return encoded

    def _encode(self, chunk: memoryview) -> _Encoded:
        """Return the chunk as it is stored.

        After many incompressible chunks only few are compressed.
        """
        if self._incompressible >= _INCOMPRESSIBLE_RUN and self._incompressible % 8:
            encoded: _Encoded = (codec.RAW, chunk)
        else:
            encoded = encode_chunk(chunk, self._level)
        self._count(encoded[0])
        return encoded

    def _count(self, kind: int) -> None:
        self._incompressible = 0 if kind == codec.ZSTD else self._incompressible + 1


def encode_chunk(chunk: memoryview, level: int) -> _Encoded:
    """Return a chunk's codec and stored bytes: a zstd frame, unless that saves too little."""
    frame = codec.compress(chunk, level)
    if len(frame) * 100 <= len(chunk) * _COMPRESSED_PERCENT_MAX:
        return codec.ZSTD, frame
    return codec.RAW, chunk


def _firsts(
    chunks: list[memoryview], hashes: list[bytes], known: list[UploadPart | None]
) -> dict[int, int]:
    """Map the position of each unknown chunk to that of the first chunk with equal bytes."""
    firsts: dict[int, int] = {}
    by_hash: dict[bytes, int] = {}
    for position, part in enumerate(known):
        if part is None:
            first = by_hash.setdefault(hashes[position], position)
            is_equal = first == position or _core.equal(chunks[first], chunks[position])
            firsts[position] = first if is_equal else position
    return firsts


def _again(part: UploadPart | None) -> UploadPart:
    """Return the part of a chunk that occurs once more in the same upload."""
    assert part is not None, "new chunks are placed before those that equal them"
    return msgspec.structs.replace(part, is_new=False)


def _lookup(transaction: ReadTransaction, digest: bytes) -> list[tuple[int, Chunk]]:
    """Return the chunks with this hash: nearly always one, or none."""
    found = []
    for key, _ in transaction.scan(CHUNK_HASHES, digest, limit=_CANDIDATES_MAX):
        identifier = hashed_chunk(key)
        data = transaction.get(CHUNKS, identifier)
        chunk = None if data is None else Chunk.decode(data)
        # A chunk without references may be freed (docs/reliability.md, "Packs").
        if chunk is not None and chunk.references and not chunk.is_damaged:
            found.append((number_of(identifier), chunk))
    return found
