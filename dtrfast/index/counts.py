"""Counts that are kept as things change, so that asking for them costs one look-up."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Generic, TypeVar

from dtrfast.index import counters
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

    def read(self, transaction: ReadTransaction) -> Record:
        """The counts."""
        return self._kind(*counters.read(transaction, self._table, self._key, len(self._names)))

    def add(self, transaction: WriteTransaction, **changes: int) -> None:
        """Count: each keyword is a field and its difference."""
        differences = [changes.pop(name, 0) for name in self._names]
        assert not changes, f"no such counts: {changes}"
        transaction.add(self._table, self._key, differences)
