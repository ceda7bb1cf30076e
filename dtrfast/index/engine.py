"""The index seam: ordered key-value transactions on named tables.

Everything that is not blob bytes is reached through `Engine` and nothing else. An engine may be
LMDB in a directory, a dictionary in memory, or a database across the network; the contract suite in
`tests/index/engine_contract.py` is what they have in common.

Rules for callers:

* Keys are 1 to 511 bytes and are ordered as bytes.
* No transaction outlives the function that opened it, and none spans an `await`.
* A function handed to `write` has no side effects outside its transaction: it may run more than
  once.
* A transaction keeps to tables of one scope. Where the engine can, `write_both` commits a change of
  each together; else the local one is committed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")

KEY_SIZE_MAX = 511  # LMDB's compiled-in limit


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A named table. `local` tables describe this machine's disk; `shared` ones what the registry
    holds. Compared by identity: a table is looked up for each key that is read.
    """

    name: str
    scope: Literal["local", "shared"]


@dataclass(frozen=True, slots=True)
class Figures:
    """An index in numbers: its size, and the commits of this process since it opened the index."""

    size_bytes: int  # in use, with free space inside of it
    commits: int
    changes: int  # functions given to `write` that were committed: several may share a commit
    commit_seconds: float  # syncs included


class ReadTransaction(Protocol):
    """A consistent view of the index. Valid only inside its `with` block, and in its thread."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        ...

    def scan(
        self,
        table: Table,
        prefix: bytes = b"",
        *,
        after: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs whose key starts with `prefix`, in key order (descending with `reverse`).

        `after` is exclusive: only keys greater than it (smaller, with `reverse`). It need not
        exist, and need not start with `prefix`. At most `limit` pairs come; 0 gives none. The table
        must not be written to while the iterator is in use: collect first, then write.
        """
        ...

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of many keys that are there, with their values, in the order of `keys`. Sorted keys
        are found sooner.
        """
        ...

    def begun(self, table: Table, prefixes: Sequence[bytes]) -> list[bool]:
        """For each prefix, True if there is a key that starts with it."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """A read transaction that sees its own writes."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set `key` to `value`, replacing what was there."""
        ...

    def delete(self, table: Table, key: bytes) -> None:
        """Remove `key`, if it is there. Tells nothing, so that no engine has to ask for it."""
        ...

    def pop(self, table: Table, key: bytes) -> bytes | None:
        """Remove `key`; returns its value, or None if it was not there."""
        ...

    def take(self, table: Table, name: bytes, count: int = 1) -> int:
        """The first of `count` numbers of a sequence that no other call gets. They begin at 1; gaps
        are normal. At `name` the next number is kept, as `number_key` has it.
        """
        ...

    def add(self, table: Table, name: bytes, differences: Sequence[int]) -> None:
        """Add to a record of counters: little-endian signed numbers of 8 bytes, of which missing
        ones are 0. Changes that add to one record need not wait for each other.
        """
        ...

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Set many keys to values."""
        ...

    def delete_all(self, table: Table, keys: Sequence[bytes]) -> None:
        """Remove many keys, those that are there."""
        ...


class Engine(Protocol):
    """Safe to use from many threads, and from many processes where the engine says so."""

    @property
    def is_joint(self) -> bool:
        """True if local and shared tables can change in one commit, by `write_both`."""
        ...

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """A snapshot, taken at its first look at a table or before: writes committed later are not
        seen. Hold it for less than a second.
        """
        ...

    def write(self, change: Callable[[WriteTransaction], T]) -> T:
        """Run `change` in a transaction; return its result once the transaction is on stable
        storage.

        When `change` raises, nothing it wrote remains and the exception is passed on. Raises
        `StorageFull` or `StorageFailed` when the commit fails: then nothing was written. Must not
        be called inside a transaction.
        """
        ...

    def write_both(
        self,
        local: Callable[[WriteTransaction], object],
        shared: Callable[[WriteTransaction], T],
    ) -> T:
        """`write` for two changes at once, of local and of shared tables: both are committed, or
        neither. Returns what `shared` does. Only where `is_joint`; for other engines the caller
        makes two writes, in an order that is safe when the process ends between them.
        """
        ...

    def tidy(self) -> None:
        """Let go of what ended processes have left in the index. One process calls it, about once
        a minute.
        """
        ...

    def figures(self) -> Figures:
        """The index in numbers, for metrics."""
        ...

    def close(self) -> None:
        """Release what the engine holds. No transaction may be open."""
        ...
