"""Recipes: the chunks of which contents consist, indexed and removed in slices.

A slice is one transaction, so small that other commits do not wait for a large blob.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    CHUNK_HASHES,
    CHUNKS,
    PACKS,
    PACKS_SPARSE,
    RECIPES,
    number_key,
)
from dtrfast.store import damage, packs, recipe_rows, records, statistics
from dtrfast.store.packs import RecipePiece
from dtrfast.store.parts import UploadPart
from dtrfast.store.records import Chunk, Pack, decode_pack, encode

_logger = logging.getLogger("dtrfast.damage")

# A chunk costs one random key: its hash if it is new, since new ids are consecutive, or its own row
# if it is shared. So a slice stays below the thousand keys that a group of commits may have, and
# takes 3 ms.
SLICE_PARTS_MAX = 896
# Chunks and rows whose references one transaction removes. Rows of slices have up to 256 chunks,
# others 128, and some chunks share a page.
_CHUNKS_REMOVED = 512
_ROWS_REMOVED = 64
_ROWS_READ = 64  # rows that one transaction reads
# A pack is sparse if less than two thirds are live: at most two bytes are copied to free one.
_SPARSE_FACTOR, _SPARSE_DIVISOR = 2, 3


class ChunkLost(StorageFailed):
    """A stored chunk that new content was to share is gone or damaged by now."""


@dataclass(frozen=True, slots=True)
class RecipeTarget:
    """The content that gets the parts, the pack of its new chunks, and the next row's offset."""

    content: int
    pack: int
    offset: int


def add_slice(
    transaction: WriteTransaction, target: RecipeTarget, parts: list[UploadPart], now: int
) -> int:
    """Index `parts`: count a reference to each chunk and write the rows.

    Return the offset after them. Raises `ChunkLost` if a shared chunk is gone or damaged.
    """
    add_references(transaction, target.pack, parts)
    offset = target.offset
    for first in range(0, len(parts), records.CHUNKS_IN_ROW_MAX):
        row = [(p.id, p.length) for p in parts[first : first + records.CHUNKS_IN_ROW_MAX]]
        key = records.recipe_key(target.content, offset)
        transaction.put(RECIPES, key, records.chunks_row(row))
        offset += sum(length for _, length in row)
    return offset


def add_references(transaction: WriteTransaction, pack: int, parts: list[UploadPart]) -> None:
    """Count a reference for each part. The new chunks among them are in the pack with this number.

    Raises `ChunkLost` if a shared chunk is gone or damaged.
    """
    live = LiveBytes(transaction)
    for part in parts:
        if part.is_new:
            place = (pack, part.offset, part.stored)
            chunk = Chunk(part.codec, 1, *place, part.length, part.hash)
            transaction.put(CHUNKS, number_key(part.id), chunk.encode())
            transaction.put(CHUNK_HASHES, records.chunk_hash_key(part.hash, part.id), b"")
            live.add(pack, part.stored)
        else:
            _refer(transaction, part, live)
    live.write()
    new = [part for part in parts if part.is_new]
    statistics.add(transaction, chunks=len(new), chunk_bytes=sum(part.length for part in new))


def add_live(transaction: WriteTransaction, pack: int, difference: int) -> None:
    """Change the live bytes of a pack by bytes that are not chunks.

    `difference` may be negative.
    """
    live = LiveBytes(transaction)
    if difference < 0:
        live.lose(pack, -difference)
    else:
        live.add(pack, difference)
    live.write()


def remove(engine: Engine, contents: Sequence[int]) -> None:
    """Delete recipes and their references, in slices. May be repeated after a crash."""
    for content in contents:
        while engine.write(partial(remove_slice, content=content)):
            pass


def pieces(engine: Engine, content: int, piece: RecipePiece) -> Iterator[RecipePiece]:
    """A content's recipe as the index has it, in pieces of full length, as an upload writes them.

    `piece` has the content's SHA-256 and size.
    """
    parts: list[tuple[int, int]] = []
    begin = 0
    for row in rows(engine, content):
        parts += records.row_parts(row)
        while len(parts) >= packs.RECIPE_PARTS_MAX:
            some, parts = parts[: packs.RECIPE_PARTS_MAX], parts[packs.RECIPE_PARTS_MAX :]
            yield RecipePiece(piece.sha256, piece.size, begin, some)
            begin += sum(length for _, length in some)
    if parts:
        yield RecipePiece(piece.sha256, piece.size, begin, parts)


def rows(engine: Engine, content: int, limit: int = _ROWS_READ) -> Iterator[bytes]:
    """The rows of a recipe. A transaction reads up to `limit` of them."""
    prefix = number_key(content)
    after: bytes | None = None
    while True:
        with engine.read() as transaction:
            some = list(transaction.scan(RECIPES, prefix, after=after, limit=limit))
        yield from (row for _, row in some)
        if len(some) < limit:
            return
        after = some[-1][0]


def is_sparse(pack: Pack) -> bool:
    """Return True if so few bytes of a pack are live that compaction pays."""
    return pack.live * _SPARSE_DIVISOR < pack.size * _SPARSE_FACTOR


def _refer(transaction: WriteTransaction, part: UploadPart, live: LiveBytes) -> None:
    key = number_key(part.id)
    data = transaction.get(CHUNKS, key)
    if data is None:
        # Unexpected: compaction keeps chunks that a present upload may share.
        raise ChunkLost("a chunk that the upload shares is gone: push the blob again")
    chunk = Chunk.decode(data)
    if chunk.is_damaged:
        raise ChunkLost("a chunk that the upload shares is damaged: push the blob again")
    transaction.put(CHUNKS, key, chunk.referenced(1).encode())
    if chunk.references == 0:
        live.add(chunk.pack, chunk.stored)


def remove_slice(transaction: WriteTransaction, content: int) -> bool:
    """Delete some rows of a recipe and their references; return False if none is left."""
    rows, is_last = _removable(transaction, content)
    live = LiveBytes(transaction)
    for key, chunks in rows:
        for identifier in chunks:
            _dereference(transaction, identifier, live)
        transaction.delete(RECIPES, key)
    live.write()
    return not is_last


def _removable(
    transaction: ReadTransaction, content: int
) -> tuple[list[tuple[bytes, list[int]]], bool]:
    """Return the keys of the first rows of a recipe, with their chunks; True if no row is left.

    Returns at least one row of a recipe that has rows. Raises `FormatUnknown`.
    """
    rows: list[tuple[bytes, list[int]]] = []
    left = _CHUNKS_REMOVED
    for key, row in transaction.scan(RECIPES, number_key(content)):
        try:
            chunks = recipe_rows.chunk_ids(row)
        except Corrupt as error:
            # Without its row the content can be freed. Its chunks keep a reference too many.
            _logger.error("recipe %d: %s, and is deleted: run `dtrfast repair`", content, error)
            chunks = []
        left -= len(chunks)
        if rows and (left < 0 or len(rows) == _ROWS_REMOVED):
            return rows, False
        rows.append((key, chunks))
    return rows, True


def _dereference(transaction: WriteTransaction, identifier: int, live: LiveBytes) -> None:
    key = number_key(identifier)
    data = transaction.get(CHUNKS, key)
    if data is None:
        return
    chunk = Chunk.decode(data).referenced(-1)
    transaction.put(CHUNKS, key, chunk.encode())
    if chunk.references == 0:
        live.lose(chunk.pack, chunk.stored)
        if chunk.is_damaged:
            damage.forget_chunk(transaction, identifier)


class LiveBytes:
    """Changes of the live bytes of packs, summed up until `write`."""

    def __init__(self, transaction: WriteTransaction) -> None:
        self._transaction = transaction
        self._differences: dict[int, int] = {}
        self._losing: set[int] = set()

    def add(self, pack: int, count: int) -> None:
        """Add `count` live bytes to a pack; a negative count does not count as a loss."""
        self._differences[pack] = self._differences.get(pack, 0) + count

    def lose(self, pack: int, count: int) -> None:
        """Remove `count` live bytes from a pack, as a loss: the pack may be sparse now."""
        self.add(pack, -count)
        self._losing.add(pack)

    def write(self) -> None:
        for number, difference in self._differences.items():
            data = self._transaction.get(PACKS, number_key(number))
            if data is None:
                continue
            pack = decode_pack(data)
            losses = pack.losses + (number in self._losing)
            pack = msgspec.structs.replace(pack, live=pack.live + difference, losses=losses)
            self._transaction.put(PACKS, number_key(number), encode(pack))
            if number in self._losing and is_sparse(pack):
                self._transaction.put(PACKS_SPARSE, number_key(number), b"")
        self._differences = {}
