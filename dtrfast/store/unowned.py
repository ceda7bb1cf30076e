"""Files that the index does not own: new files, and files that it gave up.

They are listed, so that a crash leaves no file behind. Code that creates a data file for the index
lists it first. Outside of the housekeeper it holds a pin until the index owns the file. Code that
gives a file up lists it in the same transaction. While a program holds a pin, such as a backup that
may still have to copy them, listed files are not unlinked.
"""

from __future__ import annotations

import logging
from functools import partial

from dtrfast.errors import StorageFailed
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import FILES, FILES_UNOWNED
from dtrfast.machine import disk
from dtrfast.store import pins, statistics
from dtrfast.store.context import StoreContext
from dtrfast.store.records import LOOSE_FILE

_logger = logging.getLogger("dtrfast.reclaim")

_STEP_MAX = 500


def add(transaction: WriteTransaction, file_id: bytes, kind: bytes) -> None:
    """List a file. `kind` is LOOSE_FILE or PACK_FILE."""
    transaction.put(FILES_UNOWNED, file_id, kind)


def remove(transaction: WriteTransaction, file_id: bytes) -> None:
    """Take a file off the list, because the index owns it now."""
    transaction.delete(FILES_UNOWNED, file_id)


def give_up(transaction: WriteTransaction, file_id: bytes, kind: bytes) -> None:
    """Give a file up: the index does not need it any more."""
    transaction.delete(FILES, file_id)
    add(transaction, file_id, kind)


def unlink(context: StoreContext) -> int:
    """Unlink listed files; return the number of bytes that were freed.

    No relocation may be running, unless it holds a pin.
    """
    after: bytes | None = None
    while True:
        with context.engine.read() as transaction:
            rows = list(transaction.scan(FILES_UNOWNED, after=after, limit=_STEP_MAX))
        if not rows or pins.is_held(context.layout.data):
            return 0
        # Looked up only now: a program that wrote one of these files pinned it until the index
        # owned it.
        with context.engine.read() as transaction:
            owned = transaction.get_many(FILES, [key for key, _ in rows])
        done = {key: 0 if key in owned else _unlink(context, key, kind) for key, kind in rows}
        freed = {key: size for key, size in done.items() if size is not None}
        if freed:
            context.engine.write(partial(_forget, keys=list(freed), freed=sum(freed.values())))
            return sum(freed.values())
        after = rows[-1][0]  # none of these can be unlinked now: go on after them


def _unlink(context: StoreContext, file_id: bytes, kind: bytes) -> int | None:
    """Unlink a file; return its size, or None if that fails. Then it stays listed."""
    layout = context.layout
    path = layout.blob(file_id) if kind == LOOSE_FILE else layout.pack(file_id)
    try:
        size = disk.size_of(path)
        disk.remove(path)
    except StorageFailed as error:
        _logger.error("could not unlink %s: %s", path.name, error)
        return None
    return size


def _forget(transaction: WriteTransaction, keys: list[bytes], freed: int) -> None:
    for key in keys:
        transaction.delete(FILES_UNOWNED, key)
    statistics.add(transaction, freed_bytes=freed)
