"""Which store this is: the same UUID in the directory and in the index.

An index that is missing, or is another store's, must not be taken for an empty one: the housekeeper
would remove every file that it does not name.
"""

from __future__ import annotations

import uuid
from functools import partial

from dtrfast.errors import Corrupt
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import STORE

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
            "the index is missing or is that of another store: restore index/ from a backup; "
            "no file was touched"
        )
    return named


def _name(transaction: WriteTransaction, value: bytes) -> bytes:
    """The name in the index; `value` where it has none: several processes may start at once."""
    data = transaction.get(STORE, _KEY)
    if data is None:
        transaction.put(STORE, _KEY, value)
    return data or value
