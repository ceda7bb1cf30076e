"""Freeing what nobody needs any more, a bounded step at a time, beside everything else.

Three sources, each found through a list that holds nothing else: links whose grace has passed,
contents that no repository holds, uploads that expired. Loose files are unlinked; chunks lose their
references and wait for compaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

from dtrfast.errors import DtrfastError, UploadBusy, UploadUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CONTENTS,
    CONTENTS_UNLINKED,
    FILES_UNOWNED,
    LINKS_UNREFERENCED,
    NUMBER_SIZE,
    PACKS_SPARSE,
    RECIPES,
    REPOSITORIES_DELETED,
    UPLOADS_FINISHED,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import (
    contents,
    damage,
    leftovers,
    links,
    recipes,
    statistics,
    unowned,
)
from dtrfast.store.blobs import RepositoryId
from dtrfast.store.contents import Found
from dtrfast.store.context import Context
from dtrfast.store.open_uploads import OpenUploads
from dtrfast.store.records import LOOSE_FILE, Content, decode_content
from dtrfast.store.upload_state import StateFile, milliseconds_of, parse_upload_id

T = TypeVar("T")

_logger = logging.getLogger("dtrfast.reclaim")

_STEP_MAX = 200  # rows a step takes from a list: some milliseconds
# How long the answer to a closing PUT may be asked for again.
_FINISHED_SECONDS = 600


def reclaim_links(context: Context) -> int:
    """Unlink blobs whose grace has passed; returns how many."""
    now = context.clock()
    due = number_key(max(0, now - context.grace_seconds) + 1)
    with context.engine.read() as transaction:
        rows = transaction.scan(LINKS_UNREFERENCED, limit=_STEP_MAX)
        keys = [key for key, _ in takewhile(lambda row: row[0] < due, rows)]
    settle = partial(_reclaim_link, now=now, grace=context.grace_seconds)
    return _together(context, keys, settle)


def _together(
    context: Context, keys: list[bytes], settle: Callable[[WriteTransaction, bytes], bool]
) -> int:
    """Settle all in one transaction; where one fails, each in its own, so that it alone stays."""

    def settle_all(transaction: WriteTransaction) -> int:
        return sum(settle(transaction, key) for key in keys)

    try:
        return context.engine.write(settle_all) if keys else 0
    except DtrfastError:
        return _each(keys, lambda key: context.engine.write(lambda t: settle(t, key)))


def _each(items: Iterable[T], settle: Callable[[T], int]) -> int:
    """The sum of what `settle` returns. An item that fails does not stop those behind it."""
    total = 0
    for item in items:
        try:
            total += settle(item)
        except DtrfastError as error:
            _logger.error("could not reclaim %r: %s", item, error)
    return total


def _reclaim_link(transaction: WriteTransaction, key: bytes, *, now: int, grace: int) -> bool:
    """Settle one row of the list: the link goes unless it is referred to or was renewed."""
    transaction.delete(LINKS_UNREFERENCED, key)
    repository = RepositoryId(number_of(key[NUMBER_SIZE:]))
    digest = Digest.from_key(key[2 * NUMBER_SIZE :])
    link = links.get(transaction, repository, digest)
    if link is None or links.is_kept(transaction, repository, digest):
        return False
    if link.unreferenced_since + grace > now:
        return False  # renewing put a later row into the list
    contents.unlink(transaction, repository, digest, now)
    return True


def reclaim_contents(context: Context) -> int:
    """Free contents that no repository holds, some at once; returns how many. May be cut off
    anywhere: a content stays in the list until the index knows no more of it, and its file is
    listed then.
    """
    with context.engine.read() as transaction:
        numbers = [key for key, _ in transaction.scan(CONTENTS_UNLINKED, limit=_STEP_MAX)]
    try:
        return _free(context, numbers) if numbers else 0
    except DtrfastError:
        return _each(numbers, lambda number: _free(context, [number]))


def _free(context: Context, numbers: list[bytes]) -> int:
    taken = context.engine.write(partial(_take_all_names, numbers=numbers))
    recipes.remove(context.engine, [number_of(key) for key, c in taken if c.kind == "chunked"])
    context.engine.write(partial(_forget_all, taken=taken))
    unowned.unlink(context)
    return len(taken)


def _take_all_names(
    transaction: WriteTransaction, numbers: list[bytes]
) -> list[tuple[bytes, Content]]:
    """Make contents unfindable; those that nobody holds, with their numbers."""
    taken = ((number, _take_names(transaction, number)) for number in numbers)
    return [(number, content) for number, content in taken if content is not None]


def _forget_all(transaction: WriteTransaction, taken: list[tuple[bytes, Content]]) -> None:
    for number, content in taken:
        _forget(transaction, number, content)


def _take_names(transaction: WriteTransaction, number: bytes) -> Content | None:
    """Make the content unfindable; None when it is held again, or gone."""
    data = transaction.get(CONTENTS, number)
    content = None if data is None else decode_content(data)
    if content is None or contents.is_held(transaction, Found(number_of(number), content)):
        transaction.delete(CONTENTS_UNLINKED, number)
        return None
    for digest in contents.digests(content):
        if transaction.get(BLOBS, digest.key()) == number:
            transaction.delete(BLOBS, digest.key())
    return content


def _forget(transaction: WriteTransaction, number: bytes, content: Content) -> None:
    if not transaction.delete(CONTENTS, number):
        return
    transaction.delete(CONTENTS_UNLINKED, number)
    if content.kind != "chunked":
        transaction.delete(RECIPES, number + number_key(0))
    if content.file_id is not None:
        unowned.give_up(transaction, content.file_id, LOOSE_FILE)
    if content.recipe_pack:
        recipes.add_live(transaction, content.recipe_pack, -content.recipe_size)
    if content.damaged_at:
        damage.forget_content(transaction, number)
    count = {f"{content.kind}_blobs": -1, f"{content.kind}_bytes": -content.size}
    statistics.add(transaction, **count)


def expire_uploads(context: Context) -> int:
    """Remove uploads that nobody wrote to for too long, or that another boot left; returns how
    many.
    """
    removed = _each(context.layout.uploads.glob("*.state"), partial(_expire, context))
    OpenUploads(context).forget_empty()
    return removed


def _expire(context: Context, path: Path) -> bool:
    try:
        file_id = parse_upload_id(path.stem)
        state_file = StateFile.open(path, wait_seconds=0)
    except (UploadUnknown, UploadBusy):
        return False
    try:
        state = state_file.read()
        idle = context.clock() - path.stat().st_mtime
        alive = state is None or state.boot_id == context.boot_id
        if alive and idle <= context.upload_expiry_seconds:
            return False
        leftovers.remove_upload(context, file_id)
        return True
    finally:
        state_file.close()


def forget_finished(context: Context) -> int:
    """Drop the memory of closing PUTs that were answered long ago."""
    total = 0
    while (count := _forget_finished_step(context)) > 0:
        total += count
    return total


def _forget_finished_step(context: Context) -> int:
    old = context.clock() - _FINISHED_SECONDS
    with context.engine.read() as transaction:
        rows = transaction.scan(UPLOADS_FINISHED, limit=_STEP_MAX)
        keys = [
            k for k, value in rows if milliseconds_of(k) < old * 1000 and number_of(value) < old
        ]
    if keys:
        context.engine.write(partial(_delete_finished, keys=keys))
    return len(keys)


def _delete_finished(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        transaction.delete(UPLOADS_FINISHED, key)


def pending(context: Context) -> dict[str, int]:
    """What waits to be reclaimed and is due, by kind; up to a thousand of each."""
    due = number_key(max(0, context.clock() - context.grace_seconds) + 1)
    lists = {
        "unreferenced blobs": LINKS_UNREFERENCED,
        "unlinked contents": CONTENTS_UNLINKED,
        "sparse packs": PACKS_SPARSE,
        "files": FILES_UNOWNED,
        "deleted repositories": REPOSITORIES_DELETED,
    }
    with context.engine.read() as transaction:
        return {
            name: sum(
                1
                for key, _ in transaction.scan(table, limit=1000)
                if table is not LINKS_UNREFERENCED or key < due
            )
            for name, table in lists.items()
        }


def in_grace(context: Context) -> tuple[int, int]:
    """How many blobs are unreferenced and in their grace, up to ten thousand, and when the first
    grace ends.
    """
    with context.engine.read() as transaction:
        times = [number_of(key) for key, _ in transaction.scan(LINKS_UNREFERENCED, limit=10_000)]
    return len(times), (times[0] + context.grace_seconds if times else 0)
