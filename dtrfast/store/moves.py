"""The changes of the index that a relocation makes, after the bytes were copied and synced.

Between the copy and the change a chunk may have gained or lost references, or its pack may have
changed. So each change compares, in its transaction, that the index still says what was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    CHUNK_HASHES,
    CHUNKS,
    CONTENTS,
    PACKS,
    PACKS_SPARSE,
    REPLAYS,
    number_key,
)
from dtrfast.store import statistics, unowned
from dtrfast.store.packs import PackEntry
from dtrfast.store.recipes import LiveBytes
from dtrfast.store.records import (
    PACK_FILE,
    Chunk,
    chunk_hash_key,
    decode_content,
    decode_pack,
    encode,
)
from dtrfast.store.tier import replays


class Move(Protocol):
    """One change of the index. `live` sums up the live bytes of packs until it is written."""

    def apply(self, transaction: WriteTransaction, live: LiveBytes) -> None: ...


@dataclass(frozen=True, slots=True)
class IndexedEntry:
    """A chunk of a pack and its record in the index; `chunk` is None if the index has no record."""

    entry: PackEntry
    chunk: Chunk | None

    def is_at(self, pack: int) -> bool:
        """True if the chunk lies where the entry was read: in this pack, at the same offset."""
        chunk = self.chunk
        return chunk is not None and (chunk.pack, chunk.offset) == (pack, self.entry.offset)


def find_entry(transaction: ReadTransaction, entry: PackEntry) -> IndexedEntry:
    data = transaction.get(CHUNKS, number_key(entry.id))
    return IndexedEntry(entry, None if data is None else Chunk.decode(data))


@dataclass(frozen=True, slots=True)
class ChunkRemoval:
    """Removes a chunk, unless it has references again: then it stays, and so does its pack."""

    pack: int
    entry: PackEntry

    def apply(self, transaction: WriteTransaction, live: LiveBytes) -> None:
        found = find_entry(transaction, self.entry)
        if found.chunk is None or not found.is_at(self.pack) or found.chunk.references:
            return
        transaction.delete(CHUNKS, number_key(self.entry.id))
        transaction.delete(CHUNK_HASHES, chunk_hash_key(self.entry.hash, self.entry.id))
        statistics.add(transaction, chunks=-1, chunk_bytes=-self.entry.length)


@dataclass(frozen=True, slots=True)
class ChunkMove:
    """Moves a chunk from the pack `source` to `offset` of the pack `target`."""

    source: int
    entry: PackEntry
    target: int
    offset: int

    def apply(self, transaction: WriteTransaction, live: LiveBytes) -> None:
        found = find_entry(transaction, self.entry)
        if found.chunk is None or not found.is_at(self.source):
            return
        moved = msgspec.structs.replace(found.chunk, pack=self.target, offset=self.offset)
        transaction.put(CHUNKS, number_key(self.entry.id), moved.encode())
        if found.chunk.references:
            live.add(self.source, -self.entry.stored)
            live.add(self.target, self.entry.stored)
        else:
            # An idle upload names the chunk. After the upload only this row leads to the garbage.
            transaction.put(PACKS_SPARSE, number_key(self.target), b"")


@dataclass(frozen=True, slots=True)
class RecipeMove:
    """Moves the copy of a content's recipe from the pack `source`, 0 for none, to `target`.

    `size`: bytes of the copy in `target`.
    """

    content: int
    source: int
    target: int
    size: int

    def apply(self, transaction: WriteTransaction, live: LiveBytes) -> None:
        data = transaction.get(CONTENTS, number_key(self.content))
        content = None if data is None else decode_content(data)
        if content is None or content.recipe_pack != self.source:
            return
        if self.source:
            live.add(self.source, -content.recipe_size)
        live.add(self.target, self.size)
        moved = msgspec.structs.replace(content, recipe_pack=self.target, recipe_size=self.size)
        transaction.put(CONTENTS, number_key(self.content), encode(moved))


@dataclass(frozen=True, slots=True)
class ReplayMove:
    """Moves the copy of a content's replay recipe from the pack `source` to `target`.

    `size`: bytes of the copy in `target`.
    """

    content: int
    source: int
    target: int
    size: int

    def apply(self, transaction: WriteTransaction, live: LiveBytes) -> None:
        replay = replays.find(transaction, self.content)
        if replay is None or replay.pack != self.source:
            return
        live.add(self.source, -replay.pack_size)
        live.add(self.target, self.size)
        moved = msgspec.structs.replace(replay, pack=self.target, pack_size=self.size)
        transaction.put(REPLAYS, number_key(self.content), replays.encode(moved))


@dataclass(frozen=True, slots=True)
class PackRemoval:
    """Gives a pack up if nothing of it is live, and it has lost nothing since it was read.

    `losses`: the pack's losses when it was read.
    """

    pack: int
    losses: int

    def apply(self, transaction: WriteTransaction, live: LiveBytes) -> None:
        live.write()
        data = transaction.get(PACKS, number_key(self.pack))
        pack = None if data is None else decode_pack(data)
        if pack is None or pack.losses != self.losses:
            return
        transaction.delete(PACKS_SPARSE, number_key(self.pack))
        if pack.live == 0:
            transaction.delete(PACKS, number_key(self.pack))
            unowned.give_up(transaction, pack.file_id, PACK_FILE)
            statistics.add(transaction, packs=-1, pack_bytes=-pack.size)
