"""Replay recipes in the index: the rows from which a converted content is re-created.

A replay recipe has a record in REPLAYS, under the number of its content. Its other rows have a
number of their own: the *plain recipe*, which is rows of slices in RECIPES, and a row in
REPLAY_SEGMENTS for each segment. docs/format.md has the bytes.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Self

import msgspec
import xxhash

from dtrfast.errors import Conflict, Corrupt, FormatUnknown
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    REPLAY_CONTENTS,
    REPLAY_SEGMENTS,
    REPLAYS,
    REPLAYS_UNFINISHED,
    number_key,
    number_of,
)
from dtrfast.store import recipes, records, statistics

_logger = logging.getLogger("dtrfast.damage")

# Plain bytes and bytes that a segment may have: far more than encoders make.
_SEGMENT_SIZE_MAX = 64 << 20

# The encoder of content that is stored as its plain bytes, such as an uncompressed layer.
IDENTITY = 0

_VERSION = 1
_SEGMENT = struct.Struct("<BQ16s")  # version, plain offset, XXH3-128 of the segment's bytes
_ROWS_MAX = 400  # rows that one transaction deletes, or reads


class Replay(msgspec.Struct, frozen=True, array_like=True):
    """A replay recipe. New fields are appended with a default.

    `recipe`: number of the plain recipe. `pack`: the pack that has a copy for repair, 0 for none,
    and `pack_size` the bytes of that copy. `frame_hash`: XXH3-128 of header and trailer.
    """

    version: int
    encoder: int
    header: bytes  # of the gzip file
    trailer: bytes
    plain_size: int
    recipe: int
    made_at: int
    pack: int = 0
    pack_size: int = 0
    frame_hash: bytes = b""

    @property
    def has_its_frame(self) -> bool:
        """False if header or trailer have changed. The segments have hashes of their own."""
        return self.frame_hash == hash_frame(self.header, self.trailer)


def hash_frame(header: bytes, trailer: bytes) -> bytes:
    """Return the checksum of a gzip header and trailer."""
    return xxhash.xxh3_128_digest(header + trailer)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: bytes `begin` to `end` of the blob without header and trailer.

    `plain_begin` and `plain_end`: its plain bytes. `hash`: XXH3-128 of its bytes. `state`: the
    encoder's state at its beginning.
    """

    begin: int
    end: int
    plain_begin: int
    plain_end: int
    hash: bytes
    state: bytes


class SegmentRow(msgspec.Struct, frozen=True, gc=False):
    """The row of a segment. The next row, or the record, says where the segment ends."""

    plain_begin: int
    hash: bytes
    state: bytes

    def encode(self) -> bytes:
        return _SEGMENT.pack(_VERSION, self.plain_begin, self.hash) + self.state

    @classmethod
    def decode(cls, data: bytes) -> Self:
        if len(data) < _SEGMENT.size or data[0] != _VERSION:
            raise records.unreadable("a segment", data[0] if len(data) >= _SEGMENT.size else 0)
        _, plain_begin, digest = _SEGMENT.unpack_from(data)
        return cls(plain_begin, digest, data[_SEGMENT.size :])


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Replay)


def encode(replay: Replay) -> bytes:
    return _encoder.encode(replay)


def decode(data: bytes) -> Replay:
    """Return a record of REPLAYS. Raises `Corrupt`, `FormatUnknown`."""
    try:
        replay = _decoder.decode(data)
    except ValueError as error:
        raise Corrupt(f"a replay recipe cannot be read ({error})") from error
    if replay.version != _VERSION:
        raise records.unreadable("a replay recipe", replay.version)
    return replay


def find(transaction: ReadTransaction, content: int) -> Replay | None:
    """Return the replay recipe of a content, or None. Raises `Corrupt`, `FormatUnknown`."""
    data = transaction.get(REPLAYS, number_key(content))
    return None if data is None else decode(data)


def find_readable(transaction: ReadTransaction, content: int) -> Replay | None:
    """Return the replay recipe of a content; None if it has none or it cannot be read."""
    try:
        return find(transaction, content)
    except (Corrupt, FormatUnknown):
        return None


def is_converted(transaction: ReadTransaction, content: int) -> bool:
    """Return True if a content has a replay recipe."""
    return transaction.get(REPLAYS, number_key(content)) is not None


def is_listed(transaction: ReadTransaction, recipe: int) -> bool:
    """Return True if rows of a recipe are being written or removed."""
    return transaction.get(REPLAYS_UNFINISHED, number_key(recipe)) is not None


def require_listed(transaction: ReadTransaction, recipe: int) -> None:
    """Raise `Conflict` if another program gave the recipe up: its rows would be left over."""
    if not is_listed(transaction, recipe):
        raise Conflict("another program has removed the recipe that is being made")


def put(transaction: WriteTransaction, content: int, replay: Replay) -> None:
    """Give a content its verified replay recipe. Its rows must be there."""
    transaction.put(REPLAYS, number_key(content), encode(replay))
    transaction.put(REPLAY_CONTENTS, number_key(replay.recipe), number_key(content))
    transaction.delete(REPLAYS_UNFINISHED, number_key(replay.recipe))
    if replay.pack:
        recipes.add_live(transaction, replay.pack, replay.pack_size)
    statistics.add(transaction, converted_blobs=1, plain_bytes=replay.plain_size)


def begin(transaction: WriteTransaction, recipe: int, content: int) -> None:
    """List a recipe of a content whose rows are about to be written or removed.

    So a crash leaves none. A program that works on the rows claims the content.
    """
    transaction.put(REPLAYS_UNFINISHED, number_key(recipe), number_key(content))


def give_up(transaction: WriteTransaction, content: int) -> int | None:
    """Take the replay recipe from a content; return the number of its plain recipe, or None.

    The caller passes the number to `remove` after the transaction. A crash before that leaves it
    listed. Raises `FormatUnknown`.
    """
    data = transaction.pop(REPLAYS, number_key(content))
    if data is None:
        return None
    try:
        replay = decode(data)
    except Corrupt as error:
        _logger.error("content %d: %s, and is deleted: run `dtrfast repair`", content, error)
        return _give_up_unreadable(transaction, content)
    transaction.delete(REPLAY_CONTENTS, number_key(replay.recipe))
    begin(transaction, replay.recipe, content)
    if replay.pack:
        recipes.add_live(transaction, replay.pack, -replay.pack_size)
    statistics.add(transaction, converted_blobs=-1, plain_bytes=-replay.plain_size)
    return replay.recipe


def _give_up_unreadable(transaction: WriteTransaction, content: int) -> int | None:
    """Give up a recipe whose record was damaged. Its number is found by a scan of all recipes.

    Sizes of damaged records are unknown, so statistics and the pack of its copy keep them.
    """
    statistics.add(transaction, converted_blobs=-1)
    for key, owner in list(transaction.scan(REPLAY_CONTENTS)):
        if owner == number_key(content):
            transaction.delete(REPLAY_CONTENTS, key)
            begin(transaction, number_of(key), content)
            return number_of(key)
    return None


def drop(engine: Engine, content: int) -> None:
    """Delete the replay recipe of a content, if it has one. The content must not be evicted."""
    recipe = engine.write(partial(give_up, content=content))
    if recipe is not None:
        remove(engine, recipe)


def remove(engine: Engine, recipe: int) -> None:
    """Delete all rows of a listed recipe: its slices, its chunks and its segments.

    May be repeated after a crash. Two programs may do it at once: each transaction deletes rows
    only while the recipe is listed.
    """
    while engine.write(partial(_remove_slices, recipe=recipe)):
        pass
    remove_segments(engine, recipe)
    engine.write(partial(_unlist, recipe=recipe))


def remove_segments(engine: Engine, recipe: int) -> None:
    """Delete the segments of a listed recipe."""
    while engine.write(partial(_remove_segments, recipe=recipe)):
        pass


def _remove_slices(transaction: WriteTransaction, recipe: int) -> bool:
    """Delete some rows and their references; return False if none is left."""
    return is_listed(transaction, recipe) and recipes.remove_slice(transaction, recipe)


def _remove_segments(transaction: WriteTransaction, recipe: int) -> bool:
    """Delete some rows; return False if none is left."""
    if not is_listed(transaction, recipe):
        return False
    rows = transaction.scan(REPLAY_SEGMENTS, number_key(recipe), limit=_ROWS_MAX)
    keys = [key for key, _ in rows]
    transaction.delete_all(REPLAY_SEGMENTS, keys)
    return len(keys) == _ROWS_MAX


def _unlist(transaction: WriteTransaction, recipe: int) -> None:
    transaction.delete(REPLAYS_UNFINISHED, number_key(recipe))


def put_segments(
    transaction: WriteTransaction, recipe: int, rows: list[tuple[int, SegmentRow]]
) -> None:
    """Write segments. `rows`: the offset in the blob, behind the header, and the row.

    Raises `Conflict` if the recipe is not listed.
    """
    require_listed(transaction, recipe)
    for offset, row in rows:
        transaction.put(REPLAY_SEGMENTS, records.recipe_key(recipe, offset), row.encode())


def segments(engine: Engine, size: int, replay: Replay, offset: int) -> Iterator[Segment]:
    """The segments of a content of `size` bytes, from the one that has the byte `offset` on.

    Offsets count from the end of the header. Raises `Corrupt` for a hole.
    """
    prefix = number_key(replay.recipe)
    end = size - len(replay.header) - len(replay.trailer)
    behind = records.recipe_key(replay.recipe, offset + 1)
    with engine.read() as transaction:
        first = list(transaction.scan(REPLAY_SEGMENTS, prefix, after=behind, limit=1, reverse=True))
    if not first:
        raise Corrupt("a replay recipe has no segments")
    pending = first[0]
    while True:
        with engine.read() as transaction:
            rows = list(
                transaction.scan(REPLAY_SEGMENTS, prefix, after=pending[0], limit=_ROWS_MAX)
            )
        for row in rows:
            yield _segment(pending, records.recipe_offset(row[0]), SegmentRow.decode(row[1]))
            pending = row
        if len(rows) < _ROWS_MAX:
            yield _segment(pending, end, SegmentRow(replay.plain_size, b"", b""))
            return


def segments_in(transaction: ReadTransaction, size: int, replay: Replay) -> Iterator[Segment]:
    """The segments of a content of `size` bytes, in one transaction. Raises `Corrupt`."""
    pending: tuple[bytes, bytes] | None = None
    for row in transaction.scan(REPLAY_SEGMENTS, number_key(replay.recipe)):
        if pending is not None:
            yield _segment(pending, records.recipe_offset(row[0]), SegmentRow.decode(row[1]))
        pending = row
    if pending is not None:
        end = size - len(replay.header) - len(replay.trailer)
        yield _segment(pending, end, SegmentRow(replay.plain_size, b"", b""))


def _segment(row: tuple[bytes, bytes], end: int, following: SegmentRow) -> Segment:
    """The segment of a row, which ends where the following begins."""
    decoded = SegmentRow.decode(row[1])
    plain_size = following.plain_begin - decoded.plain_begin
    size = end - records.recipe_offset(row[0])
    if not (0 <= plain_size <= _SEGMENT_SIZE_MAX and 0 <= size <= _SEGMENT_SIZE_MAX):
        raise Corrupt("a segment ends before it begins, or is too long")
    return Segment(
        records.recipe_offset(row[0]),
        end,
        decoded.plain_begin,
        following.plain_begin,
        decoded.hash,
        decoded.state,
    )


def content_of(transaction: ReadTransaction, recipe: bytes) -> int | None:
    """Return the content to which a plain recipe belongs, by the recipe's key; None if none."""
    data = transaction.get(REPLAY_CONTENTS, recipe)
    return None if data is None else number_of(data)
