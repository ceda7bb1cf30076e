"""The files that an upload leaves on disk, and their owner: the upload, or the index.

A process can die between any two steps of a commit or a removal. So code that removes files of an
upload asks this module first. The index owns each data file that FILES names, whatever the state
file says. It also owns a file that it gave up, until that file is unlinked: a backup may still need
it.
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
from dtrfast.store.context import StoreContext
from dtrfast.store.records import Commit, decode_commit


def progress(transaction: ReadTransaction, file_id: bytes) -> Commit | None:
    """Return the progress of an unfinished commit in slices, or None."""
    data = transaction.get(COMMITS, file_id)
    return None if data is None else decode_commit(data)


def is_owned(transaction: ReadTransaction, file_id: bytes) -> bool:
    """True if the index owns the data file, or gave it up and will unlink it."""
    return any(transaction.get(table, file_id) is not None for table in (FILES, FILES_UNOWNED))


def is_committed(context: StoreContext, file_id: bytes) -> bool:
    """True if the index owns the upload's data file and its commit is complete."""
    with context.engine.read() as transaction:
        return is_owned(transaction, file_id) and transaction.get(COMMITS, file_id) is None


def has_ended(context: StoreContext, file_id: bytes, *, has_file: bool) -> bool:
    """True if the upload was committed, or its data file, if it has one, is gone.

    `has_file`: the upload has a data file, as its mode is not head.
    """
    # In this order, because a file that the index gave up is unlinked before its row is deleted.
    if is_committed(context, file_id):
        return True
    files = (context.layout.blob(file_id), context.layout.pack(file_id))
    return has_file and not any(path.exists() for path in files)


def abandon(context: StoreContext, file_id: bytes) -> None:
    """Undo a commit that was interrupted between its slices.

    Other uploads may share the chunks that were indexed. So the pack stays, listed as sparse.
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


def remove_upload(context: StoreContext, file_id: bytes) -> None:
    """Remove an upload and the files that only it owns. The caller holds the state file's lock."""
    abandon(context, file_id)
    with context.engine.read() as transaction:
        owned = is_owned(transaction, file_id)
    if not owned:
        disk.remove(context.layout.blob(file_id))
        disk.remove(context.layout.pack(file_id))
    remove_state(context, file_id)


def remove_state(context: StoreContext, file_id: bytes) -> None:
    """Remove the files in `uploads/`.

    The state file goes last, since it marks the others as in use.
    """
    for kind in ("parts", "tail", "state"):
        disk.remove(context.layout.upload(file_id, kind))
