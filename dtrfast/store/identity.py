"""Which store this is: the same UUID in the directory and in the index.

An index that is missing, or is another store's, must not be taken for an empty one: the housekeeper
would remove every file that it does not name.
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
    """The store's UUID; a new one where `named`, the directory's, is None and the index has none.

    Raises `Corrupt` when the index is not that of the directory.
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
    """Remove what a repair that was cut off has left of an index. Raises `StartRefused` where there
    is a whole one, which is not rebuilt. `open_index` opens the one that is there.
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
                f"there is an index in {directory}: move it away first if it is not to be used"
            )
    for path in directory.glob("*.mdb"):
        disk.remove(path)


def adopt(engine: Engine, store_id: uuid.UUID) -> None:
    """The index is that of the store from now on."""
    engine.write(partial(_name, value=store_id.bytes))


def _name(transaction: WriteTransaction, value: bytes) -> bytes:
    """The name in the index; `value` where it has none: several processes may start at once."""
    data = transaction.get(STORE, _KEY)
    if data is None:
        transaction.put(STORE, _KEY, value)
    return data or value
