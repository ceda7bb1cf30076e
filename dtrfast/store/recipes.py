"""Recipes: which chunks a content is made of, indexed and given back in slices.

A slice is one transaction, small enough that other commits do not wait behind a big blob.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from dtrfast.errors import StorageFailed
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import (
    CHUNK_HASHES,
    CHUNKS,
    CHUNKS_UNREFERENCED,
    PACKS,
    RECIPES,
    number_key,
)
from dtrfast.store import records, statistics
from dtrfast.store.parts import Part
from dtrfast.store.records import Chunk, decode_pack, encode

# One random key a chunk, since new chunks' ids follow one another: its hash, or if it is shared its
# own row. So a slice stays below the thousand that a group of commits may hold, and takes 3 ms.
SLICE_PARTS_MAX = 896


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
    live = _LiveBytes(transaction)
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


def remove(engine: Engine, content: int, now: int) -> None:
    """Take back all references of a content's recipe, in slices. May be repeated after a crash."""
    while engine.write(lambda transaction: _remove_slice(transaction, content, now)):
        pass


def _add_chunk(transaction: WriteTransaction, pack: int, part: Part) -> None:
    chunk = Chunk(part.codec, 1, pack, part.offset, part.stored, part.length, part.hash)
    transaction.put(CHUNKS, number_key(part.id), chunk.encode())
    transaction.put(CHUNK_HASHES, part.hash + number_key(part.id), b"")


def _refer(transaction: WriteTransaction, part: Part, live: _LiveBytes) -> None:
    key = number_key(part.id)
    data = transaction.get(CHUNKS, key)
    if data is None:
        # No chunk is freed while an upload that began before its last reference went is alive.
        raise StorageFailed("a chunk that the upload shares is gone: push the blob again")
    chunk = Chunk.decode(data)
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


def _remove_slice(transaction: WriteTransaction, content: int, now: int) -> bool:
    """Take back one row; False when there was none."""
    rows = list(transaction.scan(RECIPES, number_key(content), limit=1))
    live = _LiveBytes(transaction)
    for key, row in rows:
        if row[0] == records.CHUNKS:
            for identifier, _ in records.row_parts(row):
                _dereference(transaction, identifier, live, now)
        transaction.delete(RECIPES, key)
    live.write()
    return bool(rows)


def _dereference(
    transaction: WriteTransaction, identifier: int, live: _LiveBytes, now: int
) -> None:
    key = number_key(identifier)
    data = transaction.get(CHUNKS, key)
    if data is None:
        return
    chunk = Chunk.decode(data).referenced(-1)
    transaction.put(CHUNKS, key, chunk.encode())
    if chunk.references == 0:
        live.add(chunk.pack, -chunk.stored)
        transaction.put(CHUNKS_UNREFERENCED, number_key(now) + key, b"")


class _LiveBytes:
    """Differences of packs' live bytes, summed up before they are written."""

    def __init__(self, transaction: WriteTransaction) -> None:
        self._transaction = transaction
        self._differences: dict[int, int] = {}

    def add(self, pack: int, difference: int) -> None:
        self._differences[pack] = self._differences.get(pack, 0) + difference

    def write(self) -> None:
        for number, difference in self._differences.items():
            data = self._transaction.get(PACKS, number_key(number))
            if data is not None and difference:
                pack = decode_pack(data)
                pack = msgspec.structs.replace(pack, live=pack.live + difference)
                self._transaction.put(PACKS, number_key(number), encode(pack))
