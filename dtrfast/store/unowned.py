"""Files that the index does not own: not yet, while they are made, or no more.

They are listed, so that a crash leaves none behind: whoever makes a file lists it first, whoever
gives one up lists it in the same transaction. A backup that is running may still have to copy what
was given up; then it stays until that is done.
"""

from __future__ import annotations

import logging
from functools import partial

from dtrfast.errors import StorageFailed
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import FILES, FILES_UNOWNED
from dtrfast.machine import disk
from dtrfast.store import pins, statistics
from dtrfast.store.context import Context
from dtrfast.store.records import LOOSE_FILE

_logger = logging.getLogger("dtrfast.reclaim")

_STEP_MAX = 500

# The id of a listed file, its kind, and whether the index owns it after all.
_Row = tuple[bytes, bytes, bool]


def add(transaction: WriteTransaction, file_id: bytes, kind: bytes) -> None:
    """List a file of this kind (LOOSE_FILE, PACK_FILE)."""
    transaction.put(FILES_UNOWNED, file_id, kind)


def remove(transaction: WriteTransaction, file_id: bytes) -> None:
    """The index has it now."""
    transaction.delete(FILES_UNOWNED, file_id)


def give_up(transaction: WriteTransaction, file_id: bytes, kind: bytes) -> None:
    """The index needs the file no more."""
    transaction.delete(FILES, file_id)
    add(transaction, file_id, kind)


def unlink(context: Context) -> int:
    """Unlink what is listed; returns the bytes that were freed. Nobody may be making a file."""
    after: bytes | None = None
    while rows := _listed(context, after):
        if pins.is_held(context.layout.data):
            return 0
        freed = _unlink_some(context, rows)
        if freed is not None:
            return freed
        after = rows[-1][0]  # none of these can be unlinked: they hide none behind them
    return 0


def _listed(context: Context, after: bytes | None) -> list[_Row]:
    with context.engine.read() as transaction:
        return [
            (key, kind, transaction.get(FILES, key) is not None)
            for key, kind in transaction.scan(FILES_UNOWNED, after=after, limit=_STEP_MAX)
        ]


def _unlink_some(context: Context, rows: list[_Row]) -> int | None:
    """The bytes that were freed; None when nothing could be unlinked."""
    done = {key: 0 if is_owned else _unlink(context, key, kind) for key, kind, is_owned in rows}
    freed = {key: size for key, size in done.items() if size is not None}
    if not freed:
        return None
    context.engine.write(partial(_forget, keys=list(freed), freed=sum(freed.values())))
    return sum(freed.values())


def _unlink(context: Context, file_id: bytes, kind: bytes) -> int | None:
    """The file's size; None when it could not be unlinked: it stays in the list."""
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
