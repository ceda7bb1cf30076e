"""The conversion of one layer: its plain bytes become chunks, and a replay recipe is verified.

1. The layer is inflated, batch by batch. New chunks of a batch go into a pack, which is synced
   before the index names it. The rows of the plain recipe are written with them.
2. The whole layer is re-created from the stored chunks, segment by segment as a pull does it, and
   compared with the original byte for byte. Each segment gets its checksum and its checkpoint.
3. A copy of the recipe goes into a pack, for repair.
4. One transaction gives the content its replay recipe. The original stays until it is evicted.

Until step 4 the plain recipe is listed as unfinished, and nothing refers to it. If the process ends
before, `tidying` removes its rows, and compaction frees the chunks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec
import xxhash

from dtrfast import _core
from dtrfast.errors import Conflict, Corrupt
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import CHUNKS, CONTENTS, RECIPES, number_key
from dtrfast.store import codec, contents, pins, recipe_rows, recipes, records
from dtrfast.store.chunk_writer import ChunkWriter
from dtrfast.store.context import StoreContext
from dtrfast.store.new_pack import NewPack
from dtrfast.store.parts import UploadPart
from dtrfast.store.recipe_rows import SliceRow
from dtrfast.store.recipes import ChunkLost
from dtrfast.store.records import Chunk, decode_content
from dtrfast.store.tier import encoding, layers, recipe_copy, replays
from dtrfast.store.tier.encoding import Encoder, ReplayFailed
from dtrfast.store.tier.layers import Layer, Sample
from dtrfast.store.tier.plain_reader import OverlapReader, PlainReader
from dtrfast.store.tier.plain_source import Framed, LayerKept, PlainSource
from dtrfast.store.tier.recognition import UNKNOWN_ENCODER
from dtrfast.store.tier.replays import Replay, SegmentRow
from dtrfast.store.tier.tar_splitter import Batch

# Chunks that are hashed, compressed and written at a time.
_CHUNKS_STORED = 64
_SEGMENTS_WRITTEN = 200
# The part of a conversion that storing takes; the rest is the replay.
_STORING_PART = 0.35


class Conversion:
    """The conversion of one layer. Iterate over `steps` once."""

    def __init__(self, context: StoreContext, framed: Framed) -> None:
        self._context = context
        self._original = framed.original
        self._content = framed.original.found.number
        self._framed = framed
        self._recipe = context.numbers.take()
        self._plain_size = 0
        self._encoder = framed.encoders[0]
        self._trailer = b""
        self._sample = Sample()
        self.stored = 0  # bytes of new chunks in packs

    def steps(self) -> Generator[float, None, None]:
        """Convert. Yields the part of the work that is done.

        The caller claims the content. Raises `LayerKept`, `Conflict` if the content was freed or
        converted meanwhile, `Corrupt`, `StorageFull`, `StorageFailed`. Then nothing refers to the
        new rows, and they are removed.
        """
        engine = self._context.engine
        engine.write(partial(replays.begin, recipe=self._recipe, content=self._content))
        try:
            source = PlainSource(self._framed)
            for batch in source.batches():
                self._store(batch)
                yield _STORING_PART * source.read_size / self._original.size
            for part in self._verify():
                yield _STORING_PART + (1 - _STORING_PART) * part
            self._commit()
        except BaseException:
            replays.remove(engine, self._recipe)
            raise

    # ---- plain bytes -----------------------------------------------------------------------
    def _store(self, batch: Batch) -> None:
        self._context.space.check(batch.size, "`dtrfast tier convert`")
        # The pin keeps reclaim from unlinking the pack before the index owns it.
        with pins.hold(self._context.layout.data):
            try:
                self._write_batch(batch)
            except ChunkLost as error:
                raise Conflict("a chunk that the layer shares was freed meanwhile") from error
        self._plain_size += batch.size

    def _write_batch(self, batch: Batch) -> None:
        pack = NewPack(self._context)
        try:
            writer = ChunkWriter(self._context, pack.descriptor, codec.TIER_LEVEL)
            parts: list[UploadPart] = []
            for first in range(0, len(batch.chunks), _CHUNKS_STORED):
                some, pack.size = writer.store(
                    batch.chunks[first : first + _CHUNKS_STORED], pack.size
                )
                parts += some
            pack.sync()
            self._index(pack, batch, parts)
        finally:
            pack.close()
        self.stored += sum(part.stored for part in parts if part.is_new)
        for part in parts:
            self._sample.add(part.hash, part.length, partial(self._stored_size, part))

    def _stored_size(self, part: UploadPart) -> int:
        """Return the bytes that a chunk takes in its pack, which may be an older one."""
        if part.stored:
            return part.stored
        with self._context.engine.read() as transaction:
            data = transaction.get(CHUNKS, number_key(part.id))
        return part.length if data is None else Chunk.decode(data).stored

    def _index(self, pack: NewPack, batch: Batch, parts: list[UploadPart]) -> None:
        """Write the rows of a batch, some in each transaction."""
        places = [(part.id, part.length) for part in parts]
        by_id = {part.id: part for part in reversed(parts)}  # the first of each chunk
        slice_ = _RowSlice(pack, self._recipe, self._plain_size, [], [])
        for row in recipe_rows.rows_of(batch.slices, places):
            if len(slice_.uses) + len(row.chunks) > recipes.SLICE_PARTS_MAX:
                self._context.engine.write(slice_.write)
                slice_ = _RowSlice(pack, self._recipe, slice_.end, [], [])
            slice_.rows.append(row)
            for use in row.chunks:
                slice_.uses.append(by_id[use.id])
                by_id[use.id] = msgspec.structs.replace(by_id[use.id], is_new=False)
        if slice_.rows:
            self._context.engine.write(slice_.write)

    # ---- segments --------------------------------------------------------------------------
    def _verify(self) -> Iterator[float]:
        """Re-create the layer from its chunks, and write its segments. Yields the part done.

        If an encoder fails, the next one begins anew: the segments of the first have other places.
        """
        for encoder in self._framed.encoders:
            self._encoder = encoder
            try:
                for position in self._replay_whole(encoder):
                    yield position / max(1, self._plain_size)
                return
            except ReplayFailed:
                replays.remove_segments(self._context.engine, self._recipe)
        raise LayerKept(UNKNOWN_ENCODER)

    def _replay_whole(self, encoder: Encoder) -> Iterator[int]:
        """Replay all segments with one encoder. Yields plain offsets. Raises `ReplayFailed`."""
        read = OverlapReader(PlainReader(self._context, self._recipe)).read
        begin, end = self._framed.body
        hasher = _core.Sha256()
        hasher.update(self._framed.header)
        at, position = begin, 0
        state: bytes | None = b""
        rows: list[tuple[int, SegmentRow]] = []
        while state is not None:
            made = encoding.encode_next(encoder, read, self._plain_size, position, state)
            data = made.data
            if at + len(data) > end or self._original.read(at, len(data)) != data:
                raise ReplayFailed("the layer has other bytes")
            hasher.update(data)
            rows.append((at - begin, SegmentRow(position, xxhash.xxh3_128_digest(data), state)))
            yield made.position
            at, position, state = at + len(data), made.position, made.state
            if len(rows) == _SEGMENTS_WRITTEN or state is None:
                self._write_segments(rows)
                rows = []
        self._trailer = self._original.read(end, self._original.size - end)
        hasher.update(self._trailer)
        if at != end:
            raise ReplayFailed("the layer has more bytes")
        if hasher.digest() != self._original.found.content.sha256:
            raise Corrupt("its file has another digest: run `dtrfast verify --deep`")

    def _write_segments(self, rows: list[tuple[int, SegmentRow]]) -> None:
        self._context.engine.write(partial(replays.put_segments, recipe=self._recipe, rows=rows))

    # ---- commit ----------------------------------------------------------------------------
    def _commit(self) -> None:
        replay = Replay(
            version=1,
            encoder=self._encoder.id,
            header=self._framed.header,
            trailer=self._trailer,
            plain_size=self._plain_size,
            recipe=self._recipe,
            made_at=self._context.clock(),
            frame_hash=replays.hash_frame(self._framed.header, self._trailer),
        )
        with pins.hold(self._context.layout.data):
            pack = NewPack(self._context)
            try:
                size = recipe_copy.write(self._context, pack, self._original.found, replay)
                pack.sync()
                whole = msgspec.structs.replace(replay, pack=pack.number, pack_size=size)
                self._context.engine.write(partial(self._publish, pack=pack, replay=whole))
            finally:
                pack.close()

    def _publish(self, transaction: WriteTransaction, pack: NewPack, replay: Replay) -> None:
        replays.require_listed(transaction, self._recipe)
        data = transaction.get(CONTENTS, number_key(self._content))
        now = None if data is None else decode_content(data)
        expected = self._original.found.content
        if now is None or (now.kind, now.file_id) != (expected.kind, expected.file_id):
            raise Conflict("the layer was freed or moved during its conversion")
        if not contents.own_names(transaction, number_key(self._content)):
            raise Conflict("the layer is being freed")
        if replays.find(transaction, self._content) is not None:
            raise Conflict("the layer was converted by another program meanwhile")
        pack.enter(transaction)
        replays.put(transaction, self._content, replay)
        layers.put(transaction, self._content, self._layer())

    def _layer(self) -> Layer:
        return Layer.made_by(self._encoder.id, self._plain_size, self._sample)


@dataclass(slots=True)
class _RowSlice:
    """Rows of a plain recipe that one transaction writes, and the chunks to which they refer."""

    pack: NewPack
    recipe: int
    begin: int  # plain offset of the first row
    rows: list[SliceRow]
    uses: list[UploadPart]

    @property
    def end(self) -> int:
        return self.begin + sum(row.length for row in self.rows)

    def write(self, transaction: WriteTransaction) -> None:
        replays.require_listed(transaction, self.recipe)
        if any(use.is_new for use in self.uses):
            self.pack.enter(transaction)
        recipes.add_references(transaction, self.pack.number, self.uses)
        offset = self.begin
        for row in self.rows:
            transaction.put(RECIPES, records.recipe_key(self.recipe, offset), row.encode())
            offset += row.length
