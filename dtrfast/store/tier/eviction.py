"""Eviction of converted contents, and the way back: their originals are re-created.

An eviction changes the index in one transaction, in which the original's file becomes unowned.
Readers that have it open go on, and reclaim unlinks it. An expansion writes a new file, checks its
digest, and changes the index back.
"""

from __future__ import annotations

import os
from functools import partial

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import CHUNKS, CONTENTS, FILES, RECIPES, number_key
from dtrfast.machine import disk
from dtrfast.machine.write_back import WriteBack
from dtrfast.oci.digests import Digest
from dtrfast.store import damage, pins, recipe_rows, recipes, records, statistics, unowned
from dtrfast.store.blobs import BlobStat
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.records import LOOSE_FILE, Chunk, Content, decode_content, encode, loose_owner
from dtrfast.store.tier import replays
from dtrfast.store.tier.encoding import ENCODERS
from dtrfast.store.tier.replay_reader import ReplayReader
from dtrfast.store.tier.replays import Replay
from dtrfast.store.upload_state import new_file_id

EXPANSION = "`dtrfast tier expand`"  # in the message of a full disk


def evict(context: StoreContext, number: int) -> int:
    """Drop the original of a converted content; return the bytes of it that are not needed now.

    0: there is nothing to drop. If the replay recipe or a chunk of it is damaged, the recipe is
    dropped. Raises `FormatUnknown` for a recipe of a newer version.
    """
    while (freed := _try_to_evict(context, number)) is None:
        pass
    return freed


def _try_to_evict(context: StoreContext, number: int) -> int | None:
    """See `evict`. None: a chunk was marked as damaged meanwhile, perhaps one of the recipe."""
    with context.engine.read() as transaction:
        content = _content(transaction, number)
        marks = damage.chunk_marks(transaction)
    if content is None or content.kind == "recreated":
        return 0
    try:
        recipe = _intact_recipe(context, number)
    except Corrupt:
        _drop(context, number)
        return 0
    if recipe is None:
        return 0
    change = partial(_evict, number=number, recipe=recipe, marks=marks)
    freed = context.engine.write(change)
    if freed and content.kind == "chunked":
        replays.remove(context.engine, number)
    return freed


def restore_original(context: StoreContext, number: int) -> int:
    """Write the original of an evicted content again; return its bytes, 0 if it is not evicted.

    Raises `Corrupt`, `FormatUnknown`, `StorageFull`, `StorageFailed`.
    """
    with context.engine.read() as transaction:
        content = _content(transaction, number)
        if content is None or content.kind != "recreated" or content.damaged_at:
            return 0
        replay = replays.find(transaction, number)
        has_old_rows = replays.is_listed(transaction, number)
    if replay is None:
        return 0
    context.space.check(content.size, EXPANSION)
    if has_old_rows:  # of an eviction that was interrupted
        replays.remove(context.engine, number)
    # The pin keeps reclaim from unlinking the file before the index owns it.
    with pins.hold(context.layout.data):
        file_id = new_file_id(context.clock() * 1000)
        context.engine.write(partial(unowned.add, file_id=file_id, kind=LOOSE_FILE))
        _write_file(context, file_id, NumberedContent(number, content), replay)
        if not context.engine.write(partial(_restore, number=number, file_id=file_id)):
            return 0
    return content.size


def _intact_recipe(context: StoreContext, number: int) -> int | None:
    """Return the number of a content's plain recipe, None if it is not converted.

    Raises `FormatUnknown`, and `Corrupt` if the recipe or a chunk of it is known to be damaged.
    """
    with context.engine.read() as transaction:
        replay = replays.find(transaction, number)
    if replay is None:
        return None
    for row in recipes.rows(context.engine, replay.recipe):
        keys = [number_key(chunk) for chunk in recipe_rows.chunk_ids(row)]
        with context.engine.read() as transaction:
            found = transaction.get_many(CHUNKS, keys)
        if len(found) < len(set(keys)) or any(Chunk.decode(c).is_damaged for c in found.values()):
            raise Corrupt("a chunk of a replay recipe is gone or damaged")
    return replay.recipe


def _drop(context: StoreContext, number: int) -> None:
    """Drop the replay recipe of a content, unless another program has evicted it meanwhile."""
    recipe = context.engine.write(partial(_give_up, number=number))
    if recipe is not None:
        replays.remove(context.engine, recipe)


def _give_up(transaction: WriteTransaction, number: int) -> int | None:
    content = _content(transaction, number)
    if content is None or content.kind == "recreated":
        return None
    return replays.give_up(transaction, number)


def _evict(
    transaction: WriteTransaction, number: int, recipe: int, marks: bytes | None
) -> int | None:
    if damage.chunk_marks(transaction) != marks:
        return None
    content = _content(transaction, number)
    replay = replays.find(transaction, number)
    if content is None or content.damaged_at or replay is None or replay.recipe != recipe:
        return 0
    if replay.encoder not in ENCODERS:
        return 0
    if content.kind == "loose" and content.file_id is not None:
        transaction.delete(RECIPES, records.recipe_key(number, 0))
        unowned.give_up(transaction, content.file_id, LOOSE_FILE)
    elif content.kind == "chunked":
        replays.begin(transaction, number, number)
        if content.recipe_pack:
            recipes.add_live(transaction, content.recipe_pack, -content.recipe_size)
    else:
        return 0
    without = {"stored": 0, "file_id": None, "recipe_pack": 0, "recipe_size": 0}
    _change(transaction, number, content, kind="recreated", **without)
    return content.size


def _write_file(
    context: StoreContext, file_id: bytes, found: NumberedContent, replay: Replay
) -> None:
    path = context.layout.blob(file_id)
    stat = BlobStat(Digest("sha256", found.content.sha256), found.content.size)
    descriptor = disk.create(path)
    write_back = WriteBack(descriptor)
    try:
        size = 0
        with ReplayReader(context, stat, found, replay, (0, stat.size)) as reader:
            for piece in reader:
                size += disk.write_at(descriptor, [piece], size)
                write_back.note(size)
        disk.sync(descriptor)
        disk.sync_directory(path.parent)
    finally:
        write_back.close()
        os.close(descriptor)


def _restore(transaction: WriteTransaction, number: int, file_id: bytes) -> bool:
    content = _content(transaction, number)
    if content is None or content.kind != "recreated" or replays.is_listed(transaction, number):
        return False
    transaction.put(RECIPES, records.recipe_key(number, 0), records.file_row(file_id))
    transaction.put(FILES, file_id, loose_owner(number))
    unowned.remove(transaction, file_id)
    _change(transaction, number, content, kind="loose", stored=content.size, file_id=file_id)
    return True


def _change(transaction: WriteTransaction, number: int, content: Content, **fields: object) -> None:
    changed = msgspec.structs.replace(content, **fields)
    transaction.put(CONTENTS, number_key(number), encode(changed))
    for one, sign in ((content, -1), (changed, 1)):
        count = {f"{one.kind}_blobs": sign, f"{one.kind}_bytes": sign * one.size}
        statistics.add(transaction, **count)


def _content(transaction: ReadTransaction, number: int) -> Content | None:
    data = transaction.get(CONTENTS, number_key(number))
    return None if data is None else decode_content(data)
