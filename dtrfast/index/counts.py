"""Records of counts that are updated with each change, so that reading them costs one look-up."""

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
    """A record of counters at one key. `kind` is a dataclass whose fields are integers; a missing
    record reads as zeros.
    """

    def __init__(self, table: Table, key: bytes, kind: type[Record]) -> None:
        self._table = table
        self._key = key
        self._kind = kind
        self._names = tuple(field.name for field in fields(kind))

    def read(self, transaction: ReadTransaction) -> Record:
        """Return the counts."""
        return self._kind(*counters.read(transaction, self._table, self._key, len(self._names)))

    def add(self, transaction: WriteTransaction, **changes: int) -> None:
        """Add to the counts. Each keyword names a field; its value is the difference."""
        differences = [changes.pop(name, 0) for name in self._names]
        assert not changes, f"no such counts: {changes}"
        transaction.add(self._table, self._key, differences)
