"""An index in memory that enforces the rules of `dtrfast.index.engine` on its callers.

Each change runs twice, first on a copy that is thrown away, so that a side effect outside of the
transaction shows. A scan detects a write to its table, and its use after the transaction's end.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from dtrfast.index import counters
from dtrfast.index.engine import (
    KEY_SIZE_MAX,
    Figures,
    ReadTransaction,
    Table,
    WriteTransaction,
)

T = TypeVar("T")

_State = dict[Table, "_Rows"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tables at one moment."""

    state: _State

    def changed_since(self, other: Snapshot) -> list[str]:
        """Return the names of the tables whose rows differ."""
        mine, theirs = self._rows(), other._rows()
        return sorted(t.name for t in {*mine, *theirs} if mine.get(t, {}) != theirs.get(t, {}))

    def _rows(self) -> dict[Table, dict[bytes, bytes]]:
        return {table: rows.values for table, rows in self.state.items()}


class MemoryEngine:
    """An `Engine` over sorted dictionaries; safe from many threads."""

    is_joint: Final = True

    def __init__(self) -> None:
        self._state: _State = {}
        self._commits = 0
        self._writer = threading.Lock()
        self._thread = threading.local()

    @contextmanager
    def read(self) -> Iterator[ReadTransaction]:
        transaction = _Transaction(dict(self._state))
        self._thread.depth = self._depth() + 1
        try:
            yield transaction
        finally:
            self._thread.depth -= 1
            transaction.end()

    def write(self, change: Callable[[WriteTransaction], T]) -> T:
        if self._depth():
            raise AssertionError("a write was begun inside a transaction")
        with self._writer:
            self._run(change)
            result, state = self._run(change)
            self._state = state
            self._commits += 1
            return result

    def write_both(
        self,
        local: Callable[[WriteTransaction], object],
        shared: Callable[[WriteTransaction], T],
    ) -> T:
        def both(transaction: WriteTransaction) -> T:
            local(transaction)
            return shared(transaction)

        return self.write(both)

    def tidy(self) -> None:
        return None

    def figures(self) -> Figures:
        tables = list(self._state.values())
        size = sum(len(key) + len(value) for t in tables for key, value in t.values.items())
        return Figures(size, self._commits, self._commits, 0.0)

    def close(self) -> None:
        self._state = {}

    def snapshot(self) -> Snapshot:
        """Return the present tables without a copy, because changes copy what they write to."""
        return Snapshot(self._state)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot. No other thread may use the engine meanwhile."""
        with self._writer:
            self._state = snapshot.state

    def _run(self, change: Callable[[WriteTransaction], T]) -> tuple[T, _State]:
        transaction = _Transaction(dict(self._state))
        self._thread.depth = 1
        try:
            return change(transaction), transaction.state
        finally:
            self._thread.depth = 0
            transaction.end()

    def _depth(self) -> int:
        return int(getattr(self._thread, "depth", 0))


class _Rows:
    """One version of a table. Copied before the first write of a transaction."""

    __slots__ = ("keys", "values", "version")

    def __init__(self, keys: list[bytes], values: dict[bytes, bytes]) -> None:
        self.keys = keys
        self.values = values
        self.version = 0

    def copy(self) -> _Rows:
        return _Rows(self.keys.copy(), self.values.copy())

    def put(self, key: bytes, value: bytes) -> None:
        self.version += 1
        if key not in self.values:
            self.keys.insert(bisect_left(self.keys, key), key)
        self.values[key] = value

    def delete(self, key: bytes) -> None:
        self.version += 1
        if self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


class _Transaction:
    def __init__(self, state: _State) -> None:
        self.state = state
        self._own: set[Table] = set()
        self._ended = False

    def end(self) -> None:
        self._ended = True

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._rows(table).values.get(key)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {key: self.get(table, key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def begun(self, table: Table, prefixes: Sequence[bytes]) -> list[bool]:
        return [any(True for _ in self.scan(table, one, limit=1)) for one in prefixes]

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in rows:
            self.put(table, key, value)

    def delete_all(self, table: Table, keys: Sequence[bytes]) -> None:
        for key in keys:
            self.delete(table, key)

    def scan(
        self,
        table: Table,
        prefix: bytes = b"",
        *,
        after: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self._rows(table)
        version = rows.version
        for key in _span(rows.keys, prefix, after, reverse)[:limit]:
            if self._rows(table).version != version:
                raise AssertionError(f"{table.name} was written to during a scan")
            yield key, rows.values[key]

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        if not 1 <= len(key) <= KEY_SIZE_MAX:
            raise ValueError(f"a key has 1 to {KEY_SIZE_MAX} bytes, not {len(key)}")
        self._owned(table).put(bytes(key), bytes(value))

    def delete(self, table: Table, key: bytes) -> None:
        self._owned(table).delete(key)

    def pop(self, table: Table, key: bytes) -> bytes | None:
        value = self.get(table, key)
        self.delete(table, key)
        return value

    def take(self, table: Table, name: bytes, count: int = 1) -> int:
        return counters.take(self, table, name, count)

    def add(self, table: Table, name: bytes, differences: Sequence[int]) -> None:
        counters.add(self, table, name, differences)

    def _owned(self, table: Table) -> _Rows:
        rows = self._rows(table)
        if table not in self._own:
            version = rows.version
            rows = self.state[table] = rows.copy()
            rows.version = version
            self._own.add(table)
        return rows

    def _rows(self, table: Table) -> _Rows:
        if self._ended:
            raise AssertionError("a transaction was used after its end")
        return self.state.setdefault(table, _Rows([], {}))


def _span(keys: list[bytes], prefix: bytes, after: bytes | None, reverse: bool) -> list[bytes]:
    """Return the keys of a scan, in its order."""
    first = bisect_left(keys, prefix)
    end = first
    while end < len(keys) and keys[end].startswith(prefix):
        end += 1
    if after is not None and reverse:
        end = min(end, bisect_left(keys, after))
    elif after is not None:
        first = max(first, bisect_right(keys, after))
    span = keys[first:end]
    return span[::-1] if reverse else span
