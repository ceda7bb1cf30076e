"""Moving what is live out of packs, into a new one: copied and synced, then told to the index.

Between the two a chunk may have gained or lost references; so each move compares, in its
transaction, that the chunk still lies where it was read. A pack is given up when nothing of it is
left. Until then both packs are whole, and a crash at any moment costs the work of a step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import msgspec
import xxhash

from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CHUNK_HASHES,
    CHUNKS,
    CONTENTS,
    FILES,
    PACKS,
    PACKS_SPARSE,
    RECIPES,
    number_key,
    number_of,
)
from dtrfast.machine import disk
from dtrfast.machine.write_back import WriteBack
from dtrfast.oci.digests import Digest
from dtrfast.store import codec, damage, packs, records, statistics, unowned
from dtrfast.store.context import Context
from dtrfast.store.packs import Entry, RecipePiece
from dtrfast.store.recipes import LiveBytes
from dtrfast.store.records import (
    PACK_FILE,
    Chunk,
    Content,
    Pack,
    decode_content,
    decode_pack,
    encode,
)
from dtrfast.store.upload_state import new_file_id

# What a step copies, and how many chunks it looks at: some tenths of a second.
_BYTES_MAX = 32 << 20
_CHUNKS_MAX = 8192
# Rows that a transaction changes: some milliseconds.
_CHANGES_MAX = 400

_Change = Callable[[WriteTransaction, LiveBytes], None]


@dataclass(frozen=True, slots=True)
class _Found:
    """A chunk of a pack, as the index knows it; `place` is None when it lies elsewhere, or is no
    more.
    """

    entry: Entry
    place: Chunk | None

    def is_at(self, pack: int) -> bool:
        place = self.place
        return place is not None and (place.pack, place.offset) == (pack, self.entry.offset)


class _Target:
    """The new pack: a file that is listed as unowned until the index has it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.file_id = new_file_id(context.clock() * 1000)
        self.number = context.numbers.take()
        context.engine.write(partial(unowned.add, file_id=self.file_id, kind=PACK_FILE))
        self._path = context.layout.pack(self.file_id)
        self.descriptor = disk.create(self._path)
        self._write_back = WriteBack(self.descriptor)
        header = packs.header(context.store_id, self.file_id, context.clock())
        self.size = disk.write_at(self.descriptor, [header], 0)

    def append(self, buffers: list[bytes]) -> int:
        """Returns where they begin."""
        offset = self.size
        self.size += disk.write_at(self.descriptor, buffers, offset)
        self._write_back.note(self.size)
        return offset

    def sync(self) -> None:
        disk.sync(self.descriptor)
        disk.sync_directory(self._path.parent)

    def close(self) -> None:
        self._write_back.close()
        os.close(self.descriptor)

    def enter(self, transaction: WriteTransaction) -> None:
        """Make it the index's."""
        if transaction.get(PACKS, number_key(self.number)) is None:
            now = self._context.clock()
            pack = Pack(version=1, file_id=self.file_id, size=self.size, live=0, created_at=now)
            transaction.put(PACKS, number_key(self.number), encode(pack))
            transaction.put(FILES, self.file_id, PACK_FILE + number_key(self.number))
            unowned.remove(transaction, self.file_id)
            statistics.add(transaction, packs=1, pack_bytes=self.size)


class Relocation:
    """One step: takes packs until it is full, then `finish`. `named` are chunks that stay although
    nothing refers to them.
    """

    def __init__(self, context: Context, named: frozenset[int]) -> None:
        self._context = context
        self._named = named
        self._target: _Target | None = None
        self._changes: list[_Change] = []
        self._copied = self._chunks = 0

    @property
    def is_full(self) -> bool:
        return self._copied >= _BYTES_MAX or self._chunks >= _CHUNKS_MAX

    def take(self, number: int, pack: Pack, start: int | None) -> int | None:
        """Copy what is live from `start` on; returns where to go on, None at the pack's end."""
        try:
            descriptor = disk.open_existing(self._context.layout.pack(pack.file_id))
        except FileNotFoundError as error:
            raise Corrupt("its file is gone") from error
        begin = end = packs.HEADER_SIZE if start is None else start
        try:
            if start is None and not self._has_garbage(descriptor, number, pack):
                return None
            for record, end in packs.walk(descriptor, pack.size, begin):
                if isinstance(record, RecipePiece):
                    self._take_recipe(number, record)
                else:
                    self._take_chunks(descriptor, number, record)
                if self.is_full and end < pack.size:
                    return end
        finally:
            os.close(descriptor)
        if end < pack.size:
            raise Corrupt(f"it has no whole record at {end}")
        self._changes.append(partial(self._give_up, number=number, losses=pack.losses))
        return None

    def _has_garbage(self, descriptor: int, number: int, pack: Pack) -> bool:
        """Whether anything of a pack can be freed: what idle uploads name cannot, yet."""
        end = packs.HEADER_SIZE
        for record, behind in packs.walk(descriptor, pack.size):
            end = behind
            if isinstance(record, list):
                with self._context.engine.read() as transaction:
                    found = [_find(transaction, entry) for entry in record]
                if not all(one.is_at(number) and self._stays(one) for one in found):
                    return True
        return end < pack.size or end == packs.HEADER_SIZE or (pack.live == 0 and not self._named)

    def _stays(self, one: _Found) -> bool:
        place = one.place
        assert place is not None
        is_named = one.entry.id in self._named and not place.is_damaged
        return place.references > 0 or is_named

    def finish(self) -> None:
        """Sync what was copied, and tell the index, in slices."""
        if self._target is not None:
            self._target.sync()
        changes = iter(self._changes)
        while some := list(islice(changes, _CHANGES_MAX)):
            self._context.engine.write(partial(self._apply, changes=some))

    def close(self) -> None:
        if self._target is not None:
            self._target.close()

    # ---- copying ------------------------------------------------------------------------------
    def _take_chunks(self, descriptor: int, number: int, entries: list[Entry]) -> None:
        with self._context.engine.read() as transaction:
            found = [_find(transaction, entry) for entry in entries]
        here = [f for f in found if f.is_at(number)]
        self._chunks += len(entries)
        kept = []
        for one in here:
            place = one.place
            assert place is not None
            if not self._stays(one):
                self._changes.append(partial(_free, number=number, entry=one.entry))
            elif not place.is_damaged:
                stored = self._read(descriptor, one.entry)
                if stored is not None:
                    kept.append((one.entry, stored))
        if kept:
            self._copy(number, kept)

    def _read(self, descriptor: int, entry: Entry) -> bytes | None:
        """The chunk's stored bytes; None when they are not what was written: that is noted."""
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

    def _copy(self, number: int, kept: list[tuple[Entry, bytes]]) -> None:
        target = self._open_target()
        head = packs.record_head([entry for entry, _ in kept])
        offset = target.append([head, *(stored for _, stored in kept)]) + len(head)
        for entry, _ in kept:
            self._changes.append(
                partial(_move, source=number, entry=entry, target=target.number, offset=offset)
            )
            offset += entry.stored
        self._copied += sum(entry.stored for entry, _ in kept)

    def _take_recipe(self, number: int, piece: RecipePiece) -> None:
        """Write the blob's recipe as the index has it, once, if this is its place."""
        if piece.offset:
            return
        with self._context.engine.read() as transaction:
            key = transaction.get(BLOBS, Digest("sha256", piece.sha256).key())
            data = None if key is None else transaction.get(CONTENTS, key)
        if key is None or data is None or decode_content(data).recipe_pack != number:
            return
        self._copy_recipe(number_of(key), piece, source=number)

    def copy_recipe(self, number: int, content: Content) -> None:
        """Give a content that has none a copy of its recipe."""
        piece = RecipePiece(content.sha256, content.size, 0, [])
        self._copy_recipe(number, piece, source=0)

    def _copy_recipe(self, number: int, piece: RecipePiece, source: int) -> None:
        target = self._open_target()
        begin = target.size
        for moved in self._pieces(number, piece):
            target.append([packs.recipe_piece(moved)])
        size = target.size - begin
        self._changes.append(
            partial(_move_recipe, content=number, source=source, target=target.number, size=size)
        )

    def _pieces(self, content: int, piece: RecipePiece) -> Iterator[RecipePiece]:
        """The content's recipe, in pieces of full length as an upload writes them."""
        parts: list[tuple[int, int]] = []
        offset = begin = 0
        for row in self._rows(content):
            parts += row
            offset += sum(length for _, length in row)
            while len(parts) >= packs.RECIPE_PARTS_MAX:
                some, parts = parts[: packs.RECIPE_PARTS_MAX], parts[packs.RECIPE_PARTS_MAX :]
                yield RecipePiece(piece.sha256, piece.size, begin, some)
                begin += sum(length for _, length in some)
        if parts:
            yield RecipePiece(piece.sha256, piece.size, begin, parts)

    def _rows(self, content: int) -> Iterator[list[tuple[int, int]]]:
        """The rows of a recipe, some a transaction."""
        prefix = number_key(content)
        after: bytes | None = None
        while True:
            with self._context.engine.read() as transaction:
                rows = list(transaction.scan(RECIPES, prefix, after=after, limit=64))
            for _, row in rows:
                yield records.row_parts(row)
            if len(rows) < 64:
                return
            after = rows[-1][0]

    def _open_target(self) -> _Target:
        if self._target is None:
            self._target = _Target(self._context)
        return self._target

    # ---- telling the index ----------------------------------------------------------------------
    def _apply(self, transaction: WriteTransaction, changes: list[_Change]) -> None:
        if self._target is not None:
            self._target.enter(transaction)
        live = LiveBytes(transaction)
        for change in changes:
            change(transaction, live)
        live.write()

    def _give_up(
        self, transaction: WriteTransaction, live: LiveBytes, number: int, losses: int
    ) -> None:
        """The pack goes if nothing was left in it, and nothing happened to it meanwhile."""
        live.write()
        data = transaction.get(PACKS, number_key(number))
        pack = None if data is None else decode_pack(data)
        if pack is None or pack.losses != losses:
            return
        transaction.delete(PACKS_SPARSE, number_key(number))
        if pack.live == 0:
            transaction.delete(PACKS, number_key(number))
            unowned.give_up(transaction, pack.file_id, PACK_FILE)
            statistics.add(transaction, packs=-1, pack_bytes=-pack.size)


def _find(transaction: ReadTransaction, entry: Entry) -> _Found:
    data = transaction.get(CHUNKS, number_key(entry.id))
    return _Found(entry, None if data is None else Chunk.decode(data))


def _at(transaction: ReadTransaction, number: int, entry: Entry) -> Chunk | None:
    """The chunk, if it still lies where it was read."""
    found = _find(transaction, entry)
    return found.place if found.is_at(number) else None


def _free(transaction: WriteTransaction, live: LiveBytes, number: int, entry: Entry) -> None:
    """Forget a chunk without references. One that has some again lets nobody give up its pack."""
    place = _at(transaction, number, entry)
    if place is None or place.references:
        return
    key = number_key(entry.id)
    transaction.delete(CHUNKS, key)
    transaction.delete(CHUNK_HASHES, entry.hash + key)
    statistics.add(transaction, chunks=-1, chunk_bytes=-entry.length)


def _move(
    transaction: WriteTransaction,
    live: LiveBytes,
    source: int,
    entry: Entry,
    target: int,
    offset: int,
) -> None:
    place = _at(transaction, source, entry)
    if place is None:
        return
    moved = msgspec.structs.replace(place, pack=target, offset=offset)
    transaction.put(CHUNKS, number_key(entry.id), moved.encode())
    if place.references:
        live.add(source, -entry.stored)
        live.add(target, entry.stored)
    else:  # an idle upload names it: when that is gone, nothing else tells of it
        transaction.put(PACKS_SPARSE, number_key(target), b"")


def _move_recipe(
    transaction: WriteTransaction,
    live: LiveBytes,
    content: int,
    source: int,
    target: int,
    size: int,
) -> None:
    data = transaction.get(CONTENTS, number_key(content))
    found = None if data is None else decode_content(data)
    if found is None or found.recipe_pack != source:
        return
    if source:
        live.add(source, -found.recipe_size)
    live.add(target, size)
    moved = msgspec.structs.replace(found, recipe_pack=target, recipe_size=size)
    transaction.put(CONTENTS, number_key(content), encode(moved))
