"""Checks of contents and packs: they are read again and compared with their digests.

Damaged chunks and contents are marked. Each check is an iterator over the sizes of its reads in
bytes, so that the caller sets the pace. A chunk or content that was freed or moved meanwhile is not
marked: the check looks again before it marks.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import suppress

import xxhash

from dtrfast import _core
from dtrfast.errors import DtrfastError, FormatUnknown
from dtrfast.index.tables import CHUNKS, CONTENTS, PACKS, number_key
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import codec, damage, packs
from dtrfast.store.blobs import BlobStat
from dtrfast.store.content_reader import open_content
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.packs import PackEntry
from dtrfast.store.records import Chunk, Content, decode_content, decode_pack
from dtrfast.store.tier.replay_reader import ReadUse

_logger = logging.getLogger("dtrfast.damage")

_READ_SIZE = 1 << 20


# ---- packs -----------------------------------------------------------------------------------
def check_pack(context: StoreContext, number: int) -> Iterator[int]:
    """Check all chunks that lie in a pack. Yields the size of each read in bytes."""
    with context.engine.read() as transaction:
        data = transaction.get(PACKS, number_key(number))
    if data is None:
        return
    pack = decode_pack(data)
    try:
        descriptor = disk.open_existing(context.layout.pack(pack.file_id))
    except FileNotFoundError:
        return  # freed meanwhile; otherwise the checks of its contents find the damage
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


def _check_entries(
    context: StoreContext, descriptor: int, number: int, entries: list[PackEntry]
) -> int:
    for entry in entries:
        reason = _fault_of(descriptor, entry)
        with context.engine.read() as transaction:
            data = transaction.get(CHUNKS, number_key(entry.id))
        place = None if data is None else Chunk.decode(data)
        if place is None or (place.pack, place.offset) != (number, entry.offset):
            continue
        if reason is not None:
            damage.mark_chunk(context, entry.id, reason)
        elif place.is_damaged:
            damage.clear_chunk(context, entry.id)
    return sum(entry.stored for entry in entries)


def _fault_of(descriptor: int, entry: PackEntry) -> str | None:
    """Return the reason why a chunk is damaged, or None."""
    try:
        stored = disk.read_at(descriptor, entry.stored, entry.offset)
        content = codec.decode(entry.codec, stored, entry.length)
    except DtrfastError as error:
        if not damage.is_damage(error):
            raise
        return str(error)
    return None if xxhash.xxh3_128_digest(content) == entry.hash else "its bytes have changed"


# ---- contents --------------------------------------------------------------------------------
def check_content(context: StoreContext, number: int) -> Iterator[int]:
    """Check a content by its digest. Yields the size of each read in bytes."""
    seen = content = _content(context, number)
    try:
        reason = yield from _fault(context, number, marks_damage=False)
        if reason is not None:
            # Checked again: it may have been freed or moved during the first look, or the error
            # has passed. The second look marks an evicted content, with the chunks at fault.
            seen = _content(context, number)
            reason = yield from _fault(context, number, marks_damage=True)
    except FormatUnknown as error:
        _logger.error("content %d cannot be checked: %s", number, error)
        return
    if reason is None and content is not None and content.damaged_at:
        damage.clear_content(context, number)
    if reason is not None:
        # It may have been evicted or expanded since the second look.
        damage.mark_content(context, number, reason, lambda _, now: _is_at(now, seen))
        damage.mark_chunks_of(context, number)


def _is_at(now: Content, seen: Content | None) -> bool:
    """Return True if the bytes of a content are still where they were seen."""
    return seen is not None and (now.kind, now.file_id) == (seen.kind, seen.file_id)


def _fault(
    context: StoreContext, number: int, *, marks_damage: bool
) -> Generator[int, None, str | None]:
    """Return the reason why a content is damaged, or None; also None if it is gone."""
    content = _content(context, number)
    if content is None:
        return None
    hasher = _core.Sha256()
    try:
        for data in bytes_of(context, number, content, marks_damage=marks_damage):
            hasher.update(data)
            yield len(data)
    except DtrfastError as error:
        if not damage.is_damage(error):
            raise
        return str(error) if _content(context, number) is not None else None
    if hasher.digest() == content.sha256 or _content(context, number) is None:
        return None
    return "its bytes have another digest"


def bytes_of(
    context: StoreContext, number: int, content: Content, *, marks_damage: bool = True
) -> Iterator[bytes]:
    """The bytes of a content, from the disk. Raises the errors of `open_content`."""
    stat = BlobStat(Digest("sha256", content.sha256), content.size)
    found = NumberedContent(number, content)
    bounds = 0, content.size
    use = ReadUse(marks_damage=marks_damage)
    with open_content(context, stat, found, bounds, use=use) as reader:
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


def _content(context: StoreContext, number: int) -> Content | None:
    with context.engine.read() as transaction:
        data = transaction.get(CONTENTS, number_key(number))
    return None if data is None else decode_content(data)


def _forget_cached(descriptor: int) -> None:
    _forget_range(descriptor, 0, 0)


def _forget_range(descriptor: int, offset: int, length: int) -> None:
    """Let the next read come from the disk: the page cache says nothing about the disk."""
    with suppress(OSError):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
