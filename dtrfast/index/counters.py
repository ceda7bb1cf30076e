"""Sequences and counters stored at plain keys, for engines without built-in ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from dtrfast.index.engine import ReadTransaction, Table, WriteTransaction
from dtrfast.index.tables import number_key, number_of


def take(transaction: WriteTransaction, table: Table, name: bytes, count: int) -> int:
    """See `WriteTransaction.take`."""
    value = transaction.get(table, name)
    first = 1 if value is None else number_of(value)
    transaction.put(table, name, number_key(first + count))
    return first


def last(transaction: ReadTransaction, table: Table, name: bytes) -> int:
    """Return the last number that `take` gave out for this sequence; 0 if it gave none."""
    value = transaction.get(table, name)
    return 0 if value is None else number_of(value) - 1


def add(
    transaction: WriteTransaction, table: Table, name: bytes, differences: Sequence[int]
) -> None:
    """See `WriteTransaction.add`."""
    counts = read(transaction, table, name, len(differences))
    values = [count + one for count, one in zip(counts, differences, strict=True)]
    transaction.put(table, name, struct.pack(f"<{len(values)}q", *values))


def read(transaction: ReadTransaction, table: Table, name: bytes, size: int) -> Sequence[int]:
    """Return the first `size` counters of a record. Counters that an older, shorter record lacks
    are 0.
    """
    layout = struct.Struct(f"<{size}q")
    data = transaction.get(table, name) or b""
    return layout.unpack(data.ljust(layout.size, b"\0")[: layout.size])
