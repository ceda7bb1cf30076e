"""Known damage: marked in the index, never served, healed by the next push.

A damaged chunk is not read any more, and new chunks are not deduplicated against it. A blob that
has one, or whose own file is damaged, is answered as missing, so that clients push it again. The
marks are in the records of chunks and contents. The list of damages is for administrators.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import xxhash

from dtrfast.errors import Corrupt, DtrfastError, FormatUnknown, StorageFailed
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    CHUNKS,
    CONTENTS,
    DAMAGES,
    RECIPES,
    REPLAY_CONTENTS,
    STORE,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, recipe_rows, records, statistics
from dtrfast.store.context import StoreContext
from dtrfast.store.records import Chunk, Content, decode_content, encode

_logger = logging.getLogger("dtrfast.damage")

_CHUNK = b"c"
_BLOB = b"b"
_MARKS = b"chunk_marks"
_ROWS_MAX = 2000  # recipe rows of one transaction: some milliseconds

# Returns True if a content still needs the bytes that were found damaged.
IsCurrent = Callable[[ReadTransaction, Content], bool]


class Damage(msgspec.Struct, frozen=True, array_like=True):
    """A damage. `subject` is the blob's digest or `chunk N`. New fields need a default."""

    version: int
    subject: str
    found_at: int
    reason: str
    is_traced: bool  # the blobs that have the chunk are marked
    is_told: bool = False  # an event was recorded


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Damage)


def is_damage(error: DtrfastError) -> bool:
    """True if the error means damaged bytes, and not a condition that may pass."""
    if isinstance(error, StorageFailed):
        cause = error.__cause__
        return isinstance(cause, OSError) and cause.errno == errno.EIO
    return isinstance(error, Corrupt)


def mark_chunk(context: StoreContext, identifier: int, reason: str) -> None:
    """Mark a chunk as damaged, so that it is not read any more. `trace` marks its blobs later."""
    if context.engine.write(partial(_mark_chunk, number=identifier, context=context, why=reason)):
        _logger.error("chunk %d is damaged: %s", identifier, reason)


def chunk_marks(transaction: ReadTransaction) -> bytes | None:
    """Return a value that changes whenever a chunk is marked as damaged."""
    return transaction.get(STORE, _MARKS)


def mark_content(
    context: StoreContext, number: int, reason: str, is_current: IsCurrent | None = None
) -> bool:
    """Mark a content as damaged, so that it is not served; return True if it is marked now.

    False: it was marked before, it is being freed, or it is not current any more.
    """
    mark = partial(
        _mark_content,
        key=number_key(number),
        now=context.clock(),
        why=reason,
        is_current=is_current,
    )
    digest = context.engine.write(mark)
    if digest is not None:
        _logger.error("the blob %s is damaged: %s; a push of it heals it", digest, reason)
    return digest is not None


def mark_chunks_of(
    context: StoreContext, recipe: int, bounds: tuple[int, int] | None = None
) -> None:
    """Mark the chunks of a recipe that cannot be read or have another hash.

    `bounds`: look only at the rows of these bytes of the recipe. Skips rows that cannot be read.
    """
    begin, end = (0, sys.maxsize) if bounds is None else bounds
    for _, row in recipe_rows.read(context.engine, recipe, begin, end):
        for identifier in recipe_rows.known_chunk_ids(row):
            reason = _fault_of_chunk(context, identifier)
            if reason:
                mark_chunk(context, identifier, reason)


def _fault_of_chunk(context: StoreContext, identifier: int) -> str:
    """Return the reason why a chunk is damaged, or nothing."""
    data = _chunk_record(context, identifier)
    while data is not None:
        reason = _fault_at(context, data)
        now = _chunk_record(context, identifier) if reason else data
        if now == data:
            return reason
        data = now  # compaction may have moved it: look at its new place
    return ""


def _chunk_record(context: StoreContext, identifier: int) -> bytes | None:
    with context.engine.read() as transaction:
        return transaction.get(CHUNKS, number_key(identifier))


def _fault_at(context: StoreContext, record: bytes) -> str:
    """Return the reason why the bytes at a chunk's place are damaged, or nothing."""
    try:
        place = Chunk.decode(record)
        content = context.chunk_files.read(place)
    except DtrfastError as error:
        return str(error) if is_damage(error) else ""
    return "" if xxhash.xxh3_128_digest(content) == place.hash else "its bytes have changed"


def clear_chunk(context: StoreContext, identifier: int) -> None:
    """Remove the mark of a chunk, since it was read without damage."""
    if context.engine.write(partial(_clear_chunk, key=number_key(identifier))):
        _logger.warning("chunk %d can be read again", identifier)


def clear_content(context: StoreContext, number: int) -> None:
    """Remove the mark of a content, since it was read without damage."""
    digest = context.engine.write(partial(_clear_content, key=number_key(number)))
    if digest is not None:
        _logger.warning("the blob %s can be read again", digest)


def trace(context: StoreContext) -> int:
    """Mark the blobs that have damaged chunks; return their number. Reads all recipes if there are
    chunks to trace.
    """
    with context.engine.read() as transaction:
        rows = [(key, _decoder.decode(v)) for key, v in transaction.scan(DAMAGES, _CHUNK)]
    new = {number_of(key[1:]) for key, damage in rows if not damage.is_traced}
    if not new:
        return 0
    marked = sum(_mark_owner(context, one) for one in sorted(set(_recipes_with(context, new))))
    context.engine.write(partial(_set_traced, numbers=new))
    return marked


def forget_chunk(transaction: WriteTransaction, identifier: int) -> None:
    """Drop the damage of a chunk that no blob has any more."""
    transaction.delete(DAMAGES, _CHUNK + number_key(identifier))
    statistics.add(transaction, damaged_chunks=-1)


def forget_content(transaction: WriteTransaction, key: bytes) -> None:
    """Drop the damage of a content that is freed."""
    transaction.delete(DAMAGES, _BLOB + key)
    statistics.add(transaction, damaged_blobs=-1)


def listed(transaction: ReadTransaction, limit: int) -> list[Damage]:
    """Return up to `limit` damages, blobs first."""
    return [_decoder.decode(value) for _, value in transaction.scan(DAMAGES, limit=limit)]


def take_untold(transaction: WriteTransaction, limit: int) -> list[Damage]:
    """Return damages without an event, and mark them as told."""
    rows = [(key, _decoder.decode(value)) for key, value in transaction.scan(DAMAGES)]
    untold = [(key, damage) for key, damage in rows if not damage.is_told][:limit]
    for key, damage in untold:
        transaction.put(
            DAMAGES, key, _encoder.encode(msgspec.structs.replace(damage, is_told=True))
        )
    return [damage for _, damage in untold]


def _clear_chunk(transaction: WriteTransaction, key: bytes) -> bool:
    data = transaction.get(CHUNKS, key)
    chunk = None if data is None else Chunk.decode(data)
    if chunk is None or not chunk.is_damaged:
        return False
    cleared = msgspec.structs.replace(chunk, flags=chunk.flags & ~records.DAMAGED)
    transaction.put(CHUNKS, key, cleared.encode())
    if chunk.references:
        forget_chunk(transaction, number_of(key))
    return True


def _clear_content(transaction: WriteTransaction, key: bytes) -> Digest | None:
    data = transaction.get(CONTENTS, key)
    content = None if data is None else decode_content(data)
    if content is None or not content.damaged_at:
        return None
    transaction.put(CONTENTS, key, encode(msgspec.structs.replace(content, damaged_at=0)))
    forget_content(transaction, key)
    return Digest("sha256", content.sha256)


def _mark_chunk(
    transaction: WriteTransaction, number: int, context: StoreContext, why: str
) -> bool:
    key = number_key(number)
    data = transaction.get(CHUNKS, key)
    chunk = None if data is None else Chunk.decode(data)
    if chunk is None or chunk.is_damaged:
        return False
    marked = msgspec.structs.replace(chunk, flags=chunk.flags | records.DAMAGED)
    transaction.put(CHUNKS, key, marked.encode())
    transaction.take(STORE, _MARKS)
    if not chunk.references:
        return False  # no blob needs it
    damage = Damage(1, f"chunk {number}", context.clock(), why, is_traced=False)
    transaction.put(DAMAGES, _CHUNK + key, _encoder.encode(damage))
    statistics.add(transaction, damaged_chunks=1)
    return True


def _mark_content(
    transaction: WriteTransaction, key: bytes, now: int, why: str, is_current: IsCurrent | None
) -> Digest | None:
    data = transaction.get(CONTENTS, key)
    content = None if data is None else decode_content(data)
    if content is None or content.damaged_at:
        return None
    if not contents.own_names(transaction, key):
        return None  # it is being freed: its rows and files go one after the other
    if is_current is not None and not is_current(transaction, content):
        return None
    transaction.put(CONTENTS, key, encode(msgspec.structs.replace(content, damaged_at=max(1, now))))
    digest = Digest("sha256", content.sha256)
    damage = Damage(1, str(digest), now, why, is_traced=True)
    transaction.put(DAMAGES, _BLOB + key, _encoder.encode(damage))
    statistics.add(transaction, damaged_blobs=1)
    return digest


def _mark_owner(context: StoreContext, recipe: int) -> bool:
    """Mark the content that cannot be read without a recipe; return True if it is marked now."""
    with context.engine.read() as transaction:
        owner = _owner(transaction, recipe)
    if owner is None:
        return False
    # It may be evicted or expanded before it is marked.
    return mark_content(
        context,
        owner,
        "a chunk of it is damaged",
        lambda transaction, _: _owner(transaction, recipe) == owner,
    )


def _owner(transaction: ReadTransaction, recipe: int) -> int | None:
    """Return the content that cannot be read without a recipe, or None.

    A converted content that has its original can be read. So can an evicted one of which the rows
    of the original are not deleted yet.
    """
    converted = transaction.get(REPLAY_CONTENTS, number_key(recipe))
    key = number_key(recipe) if converted is None else converted
    data = transaction.get(CONTENTS, key)
    if data is None:
        return None
    try:
        kind = decode_content(data).kind
    except (Corrupt, FormatUnknown):
        return None
    needed = "chunked" if converted is None else "recreated"
    return number_of(key) if kind == needed else None


def _recipes_with(context: StoreContext, chunks: set[int]) -> Iterator[int]:
    """The numbers of the recipes that name one of the chunks."""
    after: bytes | None = None
    while True:
        with context.engine.read() as transaction:
            rows = list(transaction.scan(RECIPES, after=after, limit=_ROWS_MAX))
        for key, row in rows:
            if not chunks.isdisjoint(recipe_rows.known_chunk_ids(row)):
                yield number_of(key)
        if len(rows) < _ROWS_MAX:
            return
        after = rows[-1][0]


def _set_traced(transaction: WriteTransaction, numbers: set[int]) -> None:
    for number in numbers:
        key = _CHUNK + number_key(number)
        data = transaction.get(DAMAGES, key)
        if data is not None:
            damage = msgspec.structs.replace(_decoder.decode(data), is_traced=True)
            transaction.put(DAMAGES, key, _encoder.encode(damage))
