"""Numbers given out by the index, each once."""

from __future__ import annotations

from dtrfast.index.engine import ReadTransaction, Table, WriteTransaction
from dtrfast.index.tables import number_key, number_of


def take(transaction: WriteTransaction, table: Table, name: bytes, count: int = 1) -> int:
    """The first of `count` numbers that nobody else gets. Numbers start at 1; gaps are normal."""
    value = transaction.get(table, name)
    first = 1 if value is None else number_of(value)
    transaction.put(table, name, number_key(first + count))
    return first


def last(transaction: ReadTransaction, table: Table, name: bytes) -> int:
    """The last number that was given out; 0 if none was."""
    value = transaction.get(table, name)
    return 0 if value is None else number_of(value) - 1
