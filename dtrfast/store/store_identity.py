"""The UUID of a store, which is the same in the directory and in the index.

A missing index, or one of another store, must not be taken for an empty index: the housekeeper
would remove every file that the index does not name.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dtrfast.errors import Corrupt, StartRefused
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import STORE
from dtrfast.machine import disk
from dtrfast.machine.paths import index_file

_KEY = b"store_id"


def identify(engine: Engine, named: uuid.UUID | None) -> uuid.UUID:
    """Return the store's UUID. `named` is the UUID in the directory, None for a new store.

    A new store gets a new UUID, unless the index has one. Raises `Corrupt` if the index does not
    belong to the directory.
    """
    with engine.read() as transaction:
        data = transaction.get(STORE, _KEY)
    if named is None:
        return uuid.UUID(bytes=data or engine.write(partial(_name, value=uuid.uuid4().bytes)))
    if data != named.bytes:
        raise Corrupt(
            "the index is missing or is that of another store: run `dtrfast repair`, which makes it"
            " again, or restore a backup; no file was touched"
        )
    return named


def clear_unfinished(directory: Path, open_index: Callable[[], Engine]) -> None:
    """Remove the unfinished index of an interrupted repair. `open_index` opens an existing index.

    Raises `StartRefused` if the index is complete, since a repair would replace it.
    """
    if index_file(directory).exists():
        engine = open_index()
        try:
            with engine.read() as transaction:
                is_whole = transaction.get(STORE, _KEY) is not None
        finally:
            engine.close()
        if is_whole:
            raise StartRefused(
                f"there is an index in {directory}: move it away first to build a new one"
            )
    for path in directory.glob("*.mdb"):
        disk.remove(path)


def adopt(engine: Engine, store_id: uuid.UUID) -> None:
    """Write the UUID into a new index, which is the store's from now on."""
    engine.write(partial(_name, value=store_id.bytes))


def _name(transaction: WriteTransaction, value: bytes) -> bytes:
    """Return the UUID in the index; write `value` if it has none.

    Several processes may start at once.
    """
    data = transaction.get(STORE, _KEY)
    if data is None:
        transaction.put(STORE, _KEY, value)
    return data or value
