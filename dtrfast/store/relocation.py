"""Moving live bytes out of packs into a new pack: copied, synced, then written to the index.

A pack is given up once nothing of it is live. Until then both packs are whole, and a crash at any
moment costs the work of one step.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import islice

import xxhash

from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import BLOBS, CONTENTS, number_of
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import codec, contents, damage, packs, recipes
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.moves import (
    ChunkMove,
    ChunkRemoval,
    IndexedEntry,
    Move,
    PackRemoval,
    RecipeMove,
    ReplayMove,
    find_entry,
)
from dtrfast.store.new_pack import NewPack
from dtrfast.store.packs import PackEntry, RecipePiece, ReplayPiece
from dtrfast.store.recipes import LiveBytes
from dtrfast.store.records import Content, Pack, decode_content
from dtrfast.store.tier import recipe_copy, replays
from dtrfast.store.tier.replays import Replay

# Bytes that a step copies, and chunks that it looks at: some tenths of a second.
_BYTES_MAX = 32 << 20
_CHUNKS_MAX = 8192
# Rows that a transaction changes: some milliseconds.
_CHANGES_MAX = 400


class Relocation:
    """One step: `take` packs until it is full, then `finish`, then `close`.

    `named`: ids of chunks that stay although no content refers to them.
    """

    def __init__(self, context: StoreContext, named: frozenset[int]) -> None:
        self._context = context
        self._named = named
        self._target: NewPack | None = None
        self._moves: list[Move] = []
        self._copied = self._chunks = 0

    @property
    def is_full(self) -> bool:
        return self._copied >= _BYTES_MAX or self._chunks >= _CHUNKS_MAX

    def take(self, number: int, pack: Pack, start: int | None) -> int | None:
        """Copy the live bytes of a pack, from the offset `start` or, if None, from its beginning.

        Return the offset to go on at, or None at the pack's end. Raises `Corrupt` if the file is
        gone or a record is not whole.
        """
        try:
            descriptor = disk.open_existing(self._context.layout.pack(pack.file_id))
        except FileNotFoundError as error:
            raise Corrupt("its file is gone") from error
        begin = end = packs.HEADER_SIZE if start is None else start
        try:
            if start is None and not self._has_garbage(descriptor, number, pack):
                return None
            for record, end in packs.walk(descriptor, pack.size, begin):
                if isinstance(record, ReplayPiece):
                    self._take_replay(number, record)
                elif isinstance(record, RecipePiece):
                    self._take_recipe(number, record)
                else:
                    self._take_chunks(descriptor, number, record)
                if self.is_full and end < pack.size:
                    return end
        finally:
            os.close(descriptor)
        if end < pack.size:
            raise Corrupt(f"it has no whole record at {end}")
        self._moves.append(PackRemoval(number, pack.losses))
        return None

    def copy_recipe(self, number: int, content: Content) -> None:
        """Write a copy of the recipe of a content that has none in a pack."""
        self._copy_recipe(number, RecipePiece(content.sha256, content.size, 0, []), source=0)

    def finish(self) -> None:
        """Sync the copies, then change the index, in slices."""
        if self._target is not None:
            self._target.sync()
        moves = iter(self._moves)
        while some := list(islice(moves, _CHANGES_MAX)):
            self._context.engine.write(partial(self._apply, moves=some))

    def close(self) -> None:
        if self._target is not None:
            self._target.close()

    def _apply(self, transaction: WriteTransaction, moves: list[Move]) -> None:
        if self._target is not None:
            self._target.enter(transaction)
        live = LiveBytes(transaction)
        for move in moves:
            move.apply(transaction, live)
        live.write()

    def _has_garbage(self, descriptor: int, number: int, pack: Pack) -> bool:
        """True if a part of the pack can be freed. Chunks that idle uploads name cannot, yet."""
        end = packs.HEADER_SIZE
        for record, behind in packs.walk(descriptor, pack.size):
            end = behind
            if isinstance(record, list):
                found = self._find(record)
                if not all(one.is_at(number) and self._stays(one) for one in found):
                    return True
            elif isinstance(record, ReplayPiece) and not self._is_needed(number, record):
                return True
        return end < pack.size or end == packs.HEADER_SIZE or (pack.live == 0 and not self._named)

    def _find(self, entries: list[PackEntry]) -> list[IndexedEntry]:
        with self._context.engine.read() as transaction:
            return [find_entry(transaction, entry) for entry in entries]

    def _stays(self, one: IndexedEntry) -> bool:
        chunk = one.chunk
        assert chunk is not None, "the caller passes only entries whose chunk lies in the pack"
        is_named = one.entry.id in self._named and not chunk.is_damaged
        return chunk.references > 0 or is_named

    # ---- copying ------------------------------------------------------------------------------
    def _take_chunks(self, descriptor: int, number: int, entries: list[PackEntry]) -> None:
        here = [one for one in self._find(entries) if one.is_at(number)]
        self._chunks += len(entries)
        kept = []
        for one in here:
            assert one.chunk is not None, "it lies in the pack"
            if not self._stays(one):
                self._moves.append(ChunkRemoval(number, one.entry))
            elif not one.chunk.is_damaged:
                stored = self._read(descriptor, one.entry)
                if stored is not None:
                    kept.append((one.entry, stored))
        if kept:
            self._copy(number, kept)

    def _read(self, descriptor: int, entry: PackEntry) -> bytes | None:
        """The chunk's stored bytes. If they are damaged, mark the chunk and return None."""
        try:
            stored = disk.read_at(descriptor, entry.stored, entry.offset)
            content = codec.decode(entry.codec, stored, entry.length)
            if xxhash.xxh3_128_digest(content) == entry.hash:
                return stored
            reason = "its content has another hash"
        except (Corrupt, StorageFailed) as error:
            reason = str(error)
        damage.mark_chunk(self._context, entry.id, reason)
        return None

    def _copy(self, number: int, kept: list[tuple[PackEntry, bytes]]) -> None:
        target = self._open_target()
        head = packs.record_head([entry for entry, _ in kept])
        offset = target.append([head, *(stored for _, stored in kept)]) + len(head)
        for entry, _ in kept:
            self._moves.append(ChunkMove(number, entry, target.number, offset))
            offset += entry.stored
        self._copied += sum(entry.stored for entry, _ in kept)

    def _take_recipe(self, number: int, piece: RecipePiece) -> None:
        """Copy the whole recipe at its first piece, if the index says that this pack holds it."""
        if piece.offset:
            return
        with self._context.engine.read() as transaction:
            key = transaction.get(BLOBS, Digest("sha256", piece.sha256).key())
            data = None if key is None else transaction.get(CONTENTS, key)
        if key is None or data is None or decode_content(data).recipe_pack != number:
            return
        self._copy_recipe(number_of(key), piece, source=number)

    def _copy_recipe(self, number: int, piece: RecipePiece, source: int) -> None:
        target = self._open_target()
        begin = target.size
        for moved in recipes.pieces(self._context.engine, number, piece):
            target.append([packs.recipe_piece(moved)])
        self._moves.append(RecipeMove(number, source, target.number, target.size - begin))

    def _take_replay(self, number: int, piece: ReplayPiece) -> None:
        """Copy the whole replay recipe at its last piece, if the index says that it is here."""
        if piece.rows[-1][0] != recipe_copy.HEAD:
            return
        copied = self._find_replay(number, piece)
        if copied is None:
            return
        found, replay = copied
        target = self._open_target()
        size = recipe_copy.write(self._context, target, found, replay)
        self._moves.append(ReplayMove(found.number, number, target.number, size))
        self._copied += size

    def _is_needed(self, number: int, piece: ReplayPiece) -> bool:
        """Return False for the end of a copy that the index does not need any more."""
        is_end = piece.rows[-1][0] == recipe_copy.HEAD
        return not is_end or self._find_replay(number, piece) is not None

    def _find_replay(
        self, number: int, piece: ReplayPiece
    ) -> tuple[NumberedContent, Replay] | None:
        """Return the content and its replay recipe if the index says that its copy is here."""
        with self._context.engine.read() as transaction:
            found = contents.find(transaction, Digest("sha256", piece.sha256))
            replay = None if found is None else replays.find(transaction, found.number)
        if found is None or replay is None or replay.pack != number:
            return None
        return found, replay

    def _open_target(self) -> NewPack:
        if self._target is None:
            self._target = NewPack(self._context)
        return self._target
