"""Reading contents and packs again, to see whether they still are what they were.

What is found damaged is marked. Each check is an iterator over the bytes that it reads, so that
whoever runs it sets the pace. Nothing is taken for damaged that was freed or moved meanwhile: a
finding is made twice.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import suppress

import xxhash

from dtrfast import _core
from dtrfast.errors import Corrupt, DtrfastError, StorageFailed
from dtrfast.index.tables import CHUNKS, CONTENTS, PACKS, RECIPES, number_key
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import codec, damage, packs, records
from dtrfast.store.blobs import BlobStat
from dtrfast.store.context import Context
from dtrfast.store.packs import Entry
from dtrfast.store.reader import LocalReader
from dtrfast.store.records import Chunk, Content, decode_content, decode_pack

_logger = logging.getLogger("dtrfast.damage")

_READ_SIZE = 1 << 20


def is_damage(error: DtrfastError) -> bool:
    """Whether an error says something about the bytes, and not about the moment."""
    if isinstance(error, StorageFailed):
        cause = error.__cause__
        return isinstance(cause, OSError) and cause.errno == errno.EIO
    return isinstance(error, Corrupt)


# ---- packs -----------------------------------------------------------------------------------
def check_pack(context: Context, number: int) -> Iterator[int]:
    """Check all chunks that lie in a pack; gives bytes read, again and again."""
    with context.engine.read() as transaction:
        data = transaction.get(PACKS, number_key(number))
    if data is None:
        return
    pack = decode_pack(data)
    try:
        descriptor = disk.open_existing(context.layout.pack(pack.file_id))
    except FileNotFoundError:
        return  # freed meanwhile; if not, each content that needs it tells
    try:
        _forget_cached(descriptor)
        end = packs.HEADER_SIZE
        for record, behind in packs.walk(descriptor, pack.size):
            end = behind
            if isinstance(record, list):
                yield _check_entries(context, descriptor, number, record)
        if end < pack.size:  # the chunks behind it are checked with their contents
            _logger.error("pack %s has no whole record at %d", pack.file_id.hex(), end)
        _forget_cached(descriptor)
    finally:
        os.close(descriptor)


def _check_entries(context: Context, descriptor: int, number: int, entries: list[Entry]) -> int:
    for entry in entries:
        reason = _fault_of(descriptor, entry)
        place = _place_of(context, entry)
        if place is None or (place.pack, place.offset) != (number, entry.offset):
            continue
        if reason is not None:
            damage.mark_chunk(context, entry.id, reason)
        elif place.is_damaged:
            damage.clear_chunk(context, entry.id)
    return sum(entry.stored for entry in entries)


def _fault_of(descriptor: int, entry: Entry) -> str | None:
    """What is wrong with a chunk; None if nothing is."""
    try:
        stored = disk.read_at(descriptor, entry.stored, entry.offset)
        content = codec.decode(entry.codec, stored, entry.length)
    except DtrfastError as error:
        if not is_damage(error):
            raise
        return str(error)
    return None if xxhash.xxh3_128_digest(content) == entry.hash else "its bytes have changed"


def _place_of(context: Context, entry: Entry) -> Chunk | None:
    with context.engine.read() as transaction:
        data = transaction.get(CHUNKS, number_key(entry.id))
    return None if data is None else Chunk.decode(data)


# ---- contents --------------------------------------------------------------------------------
def check_content(context: Context, number: int) -> Iterator[int]:
    """Check a content by its digest; gives bytes read, again and again."""
    content = _content(context, number)
    reason = yield from _fault(context, number)
    if reason is not None:
        reason = yield from _fault(context, number)  # it may have been freed or moved at that time
    if reason is None and content is not None and content.damaged_at:
        damage.clear_content(context, number)
    if reason is not None:
        _mark_chunks(context, number)
        damage.mark_content(context, number, reason)


def _fault(context: Context, number: int) -> Generator[int, None, str | None]:
    """What is wrong with a content; None if nothing is, or it is gone."""
    content = _content(context, number)
    if content is None:
        return None
    hasher = _core.Sha256()
    try:
        for data in bytes_of(context, number, content):
            hasher.update(data)
            yield len(data)
    except DtrfastError as error:
        if not is_damage(error):
            raise
        return str(error) if _content(context, number) is not None else None
    if hasher.digest() == content.sha256 or _content(context, number) is None:
        return None
    return "its bytes have another digest"


def bytes_of(context: Context, number: int, content: Content) -> Iterator[bytes]:
    """The bytes of a content, as they lie on the disk. Raises what its reader does."""
    stat = BlobStat(Digest("sha256", content.sha256), content.size)
    with LocalReader(context, stat, number, 0, content.size) as reader:
        for segment in reader:
            if isinstance(segment, bytes):
                yield segment
                continue
            for offset in range(0, segment.length, _READ_SIZE):
                size = min(_READ_SIZE, segment.length - offset)
                start = segment.offset + offset
                if content.kind == "loose":
                    _forget_range(segment.descriptor, start, size)
                yield disk.read_at(segment.descriptor, size, start)


def _content(context: Context, number: int) -> Content | None:
    with context.engine.read() as transaction:
        data = transaction.get(CONTENTS, number_key(number))
    return None if data is None else decode_content(data)


def _mark_chunks(context: Context, number: int) -> None:
    """Mark the chunks of a damaged content that cannot be read or have another hash."""
    for identifier in _chunks_of(context, number):
        with context.engine.read() as transaction:
            data = transaction.get(CHUNKS, number_key(identifier))
        if data is None:
            continue
        place = Chunk.decode(data)
        try:
            content = context.chunk_files.read(place)
        except DtrfastError as error:
            if is_damage(error):
                damage.mark_chunk(context, identifier, str(error))
            continue
        if xxhash.xxh3_128_digest(content) != place.hash:
            damage.mark_chunk(context, identifier, "its bytes have changed")


def _chunks_of(context: Context, number: int) -> Iterator[int]:
    with context.engine.read() as transaction:
        rows = [row for _, row in transaction.scan(RECIPES, number_key(number))]
    for row in rows:
        if row[0] == records.CHUNKS:
            for identifier, _ in records.row_parts(row):
                yield identifier


def _forget_cached(descriptor: int) -> None:
    _forget_range(descriptor, 0, 0)


def _forget_range(descriptor: int, offset: int, length: int) -> None:
    """Let the next read come from the disk: what is in memory says nothing about that."""
    with suppress(OSError):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
