"""What an upload leaves on disk, and who owns it: the upload, or the index.

A program can die between any two steps of a commit or a removal. So whoever removes an upload's
files asks here first. A data file that FILES names is the index's, whatever the state file says;
so is one that the index gave up, until it is unlinked: a backup may still want it.
"""

from __future__ import annotations

from functools import partial

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    COMMITS,
    FILES,
    FILES_UNOWNED,
    PACKS,
    PACKS_SPARSE,
    number_key,
)
from dtrfast.machine import disk
from dtrfast.store import recipes
from dtrfast.store.context import Context
from dtrfast.store.records import Commit, decode_commit


def progress(transaction: ReadTransaction, file_id: bytes) -> Commit | None:
    """How far a commit in slices came that is not complete."""
    data = transaction.get(COMMITS, file_id)
    return None if data is None else decode_commit(data)


def is_owned(transaction: ReadTransaction, file_id: bytes) -> bool:
    """True if the data file is the index's, or was, and is to be unlinked."""
    return any(transaction.get(table, file_id) is not None for table in (FILES, FILES_UNOWNED))


def is_committed(context: Context, file_id: bytes) -> bool:
    """True if the index has, or had, the upload's data file and all that belongs to it."""
    with context.engine.read() as transaction:
        return is_owned(transaction, file_id) and transaction.get(COMMITS, file_id) is None


def has_ended(context: Context, file_id: bytes, *, has_file: bool) -> bool:
    """True if the upload's data file is the index's by now, or was, and is gone."""
    # In this order: a file that the index gave up is gone before its row is.
    if is_committed(context, file_id):
        return True
    files = (context.layout.blob(file_id), context.layout.pack(file_id))
    return has_file and not any(path.exists() for path in files)


def abandon(context: Context, file_id: bytes) -> None:
    """Take back a commit that was cut off between its slices.

    Other uploads may share the chunks that were indexed, so the pack stays: it is found sparse.
    """
    with context.engine.read() as transaction:
        commit = progress(transaction, file_id)
    if commit is not None:
        recipes.remove(context.engine, [commit.content])
        context.engine.write(partial(_forget_commit, file_id=file_id, pack=commit.pack))


def _forget_commit(transaction: WriteTransaction, file_id: bytes, pack: int) -> None:
    transaction.delete(COMMITS, file_id)
    if transaction.get(PACKS, number_key(pack)) is not None:
        transaction.put(PACKS_SPARSE, number_key(pack), b"")


def remove_upload(context: Context, file_id: bytes) -> None:
    """Remove an upload and what only it owns. The caller holds the state file's lock."""
    abandon(context, file_id)
    with context.engine.read() as transaction:
        owned = is_owned(transaction, file_id)
    if not owned:
        disk.remove(context.layout.blob(file_id))
        disk.remove(context.layout.pack(file_id))
    remove_state(context, file_id)


def remove_state(context: Context, file_id: bytes) -> None:
    """Remove what is below `uploads/`; the state last, since it says that the rest is in use."""
    for kind in ("parts", "tail", "state"):
        disk.remove(context.layout.upload(file_id, kind))
