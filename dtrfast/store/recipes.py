"""Recipes: which chunks a content is made of, indexed and given back in slices.

A slice is one transaction, small enough that other commits do not wait behind a big blob.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from dtrfast.errors import StorageFailed
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import (
    CHUNK_HASHES,
    CHUNKS,
    PACKS,
    PACKS_SPARSE,
    RECIPES,
    number_key,
)
from dtrfast.store import damage, records, statistics
from dtrfast.store.parts import Part
from dtrfast.store.records import Chunk, Pack, decode_pack, encode

# One random key a chunk, since new chunks' ids follow one another: its hash, or if it is shared its
# own row. So a slice stays below the thousand that a group of commits may hold, and takes 3 ms.
SLICE_PARTS_MAX = 896
# Rows whose references one transaction takes back: 512 chunks, some of which lie in one page.
_ROWS_MAX = 4
# A pack is sparse below two thirds: then at most two bytes are copied to free one.
_SPARSE_FACTOR, _SPARSE_DIVISOR = 2, 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where the parts of an upload go: the content, the pack of its new chunks, the next row's
    offset.
    """

    content: int
    pack: int
    offset: int


def add_slice(transaction: WriteTransaction, target: Target, parts: list[Part], now: int) -> int:
    """Index `parts`: count a reference to each chunk, write the rows. Returns the offset behind
    them.
    """
    live = LiveBytes(transaction)
    for part in parts:
        if part.is_new:
            _add_chunk(transaction, target.pack, part)
            live.add(target.pack, part.stored)
        else:
            _refer(transaction, part, live)
    live.write()
    new = [part for part in parts if part.is_new]
    statistics.add(transaction, chunks=len(new), chunk_bytes=sum(part.length for part in new))
    return _write_rows(transaction, target, parts)


def add_live(transaction: WriteTransaction, pack: int, difference: int) -> None:
    """Count bytes of a pack, beside its chunks, that are of use now or, below 0, no more."""
    live = LiveBytes(transaction)
    if difference < 0:
        live.lose(pack, -difference)
    else:
        live.add(pack, difference)
    live.write()


def remove(engine: Engine, contents: Sequence[int]) -> None:
    """Take back all references of some recipes, in slices. May be repeated after a crash."""
    for content in contents:
        while engine.write(partial(_remove_slice, content=content)):
            pass


def is_sparse(pack: Pack) -> bool:
    """Whether so little of a pack is of use that to compact it pays."""
    return pack.live * _SPARSE_DIVISOR < pack.size * _SPARSE_FACTOR


def _add_chunk(transaction: WriteTransaction, pack: int, part: Part) -> None:
    chunk = Chunk(part.codec, 1, pack, part.offset, part.stored, part.length, part.hash)
    transaction.put(CHUNKS, number_key(part.id), chunk.encode())
    transaction.put(CHUNK_HASHES, part.hash + number_key(part.id), b"")


def _refer(transaction: WriteTransaction, part: Part, live: LiveBytes) -> None:
    key = number_key(part.id)
    data = transaction.get(CHUNKS, key)
    if data is None:
        # No chunk is freed that an upload may have found before its last reference went.
        raise StorageFailed("a chunk that the upload shares is gone: push the blob again")
    chunk = Chunk.decode(data)
    if chunk.is_damaged:
        raise StorageFailed("a chunk that the upload shares is damaged: push the blob again")
    transaction.put(CHUNKS, key, chunk.referenced(1).encode())
    if chunk.references == 0:
        live.add(chunk.pack, chunk.stored)


def _write_rows(transaction: WriteTransaction, target: Target, parts: list[Part]) -> int:
    offset = target.offset
    for first in range(0, len(parts), records.CHUNKS_IN_ROW_MAX):
        row = [(p.id, p.length) for p in parts[first : first + records.CHUNKS_IN_ROW_MAX]]
        key = number_key(target.content) + number_key(offset)
        transaction.put(RECIPES, key, records.chunks_row(row))
        offset += sum(length for _, length in row)
    return offset


def _remove_slice(transaction: WriteTransaction, content: int) -> bool:
    """Take back some rows; False when none is left."""
    rows = list(transaction.scan(RECIPES, number_key(content), limit=_ROWS_MAX))
    live = LiveBytes(transaction)
    for key, row in rows:
        if row[0] == records.CHUNKS:
            for identifier, _ in records.row_parts(row):
                _dereference(transaction, identifier, live)
        transaction.delete(RECIPES, key)
    live.write()
    return len(rows) == _ROWS_MAX


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
    """Differences of packs' live bytes, summed up until `write`."""

    def __init__(self, transaction: WriteTransaction) -> None:
        self._transaction = transaction
        self._differences: dict[int, int] = {}
        self._losing: set[int] = set()

    def add(self, pack: int, count: int) -> None:
        """So many bytes came to be of use."""
        self._differences[pack] = self._differences.get(pack, 0) + count

    def lose(self, pack: int, count: int) -> None:
        """So many bytes ceased to be of use."""
        self.add(pack, -count)
        self._losing.add(pack)

    def write(self) -> None:
        for number, difference in self._differences.items():
            data = self._transaction.get(PACKS, number_key(number))
            if data is not None:
                self._write(number, decode_pack(data), difference)
        self._differences = {}

    def _write(self, number: int, pack: Pack, difference: int) -> None:
        losses = pack.losses + (number in self._losing)
        pack = msgspec.structs.replace(pack, live=pack.live + difference, losses=losses)
        self._transaction.put(PACKS, number_key(number), encode(pack))
        if number in self._losing and is_sparse(pack):
            self._transaction.put(PACKS_SPARSE, number_key(number), b"")
