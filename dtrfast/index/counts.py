"""Counts that are kept as things change, so that asking for them costs one look-up."""

from __future__ import annotations

import struct
from dataclasses import fields
from typing import TYPE_CHECKING, Generic, TypeVar

from dtrfast.index.engine import ReadTransaction, Table, WriteTransaction

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Record = TypeVar("Record", bound=DataclassInstance)
else:
    Record = TypeVar("Record")


class Counts(Generic[Record]):
    """A record of integers at one key. `kind` is a dataclass whose fields are integers from 0."""

    def __init__(self, table: Table, key: bytes, kind: type[Record]) -> None:
        self._table = table
        self._key = key
        self._kind = kind
        self._names = tuple(field.name for field in fields(kind))
        self._layout = struct.Struct(f"<{len(self._names)}q")

    def read(self, transaction: ReadTransaction) -> Record:
        """The counts. An older record is shorter: what it does not count is zero."""
        data = transaction.get(self._table, self._key) or b""
        whole = data.ljust(self._layout.size, b"\0")[: self._layout.size]
        return self._kind(*self._layout.unpack(whole))

    def add(self, transaction: WriteTransaction, **changes: int) -> None:
        """Count: each keyword is a field and its difference."""
        now = self.read(transaction)
        values = [getattr(now, name) + changes.pop(name, 0) for name in self._names]
        assert not changes, f"no such counts: {changes}"
        transaction.put(self._table, self._key, self._layout.pack(*values))
