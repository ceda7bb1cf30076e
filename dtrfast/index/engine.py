"""The index seam: ordered key-value transactions on named tables.

`Engine` is the only way to all stored data except the bytes of blobs. An engine may be LMDB in a
directory, a dictionary in memory, or a database across the network. Every engine passes the
contract suite in `tests/index/engine_contract.py`.

Rules for callers:

* Keys have 1 to 511 bytes and are ordered as bytes.
* No transaction outlives the function that opened it.
* No transaction spans an `await`.
* A function that is passed to `write` has no side effects outside its transaction, because the
  engine may run it more than once.
* A transaction uses tables of one scope only. The exception is `write_both`: an engine that is
  joint commits a local and a shared change together. With other engines the caller commits the
  local change first.
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
    """A named table. `local` tables describe the bytes on this machine's disk; `shared` tables
    describe the content of the registry.

    Tables compare by identity, because each read of a key looks its table up in a dictionary.
    """

    name: str
    scope: Literal["local", "shared"]


@dataclass(frozen=True, slots=True)
class Figures:
    """Metrics of an index: its size, and the commits of this process since it opened the index."""

    size_bytes: int  # of the file's part in use, including free pages inside it
    commits: int
    changes: int  # committed functions that were passed to `write`; several may share a commit
    commit_seconds: float  # total time in commits, fsync included


class ReadTransaction(Protocol):
    """A consistent view of the index. Valid only inside its `with` block, and in its thread."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return the value at `key`, or None."""
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
        """Yield the pairs whose key starts with `prefix`, in key order (descending with `reverse`).

        `after` is exclusive: only greater keys are yielded (smaller ones with `reverse`). It need
        not exist and need not start with `prefix`. At most `limit` pairs are yielded; 0 yields
        none. The caller must not write to the table while it uses the iterator: collect first, then
        write.
        """
        ...

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the existing keys among `keys` and their values, in the order of `keys`. Sorted
        keys are found faster.
        """
        ...

    def begun(self, table: Table, prefixes: Sequence[bytes]) -> list[bool]:
        """Return for each prefix True if a key starts with it."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """A transaction that reads and writes. It sees its own writes."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set `key` to `value`, replacing any earlier value."""
        ...

    def delete(self, table: Table, key: bytes) -> None:
        """Remove `key` if it exists. Returns nothing, so that no engine has to look the key up."""
        ...

    def pop(self, table: Table, key: bytes) -> bytes | None:
        """Remove `key` and return its value, or None if it did not exist."""
        ...

    def take(self, table: Table, name: bytes, count: int = 1) -> int:
        """Reserve `count` consecutive numbers of the sequence `name` and return the first one.

        No other call gets these numbers. A sequence begins at 1; gaps are normal. The next free
        number is stored at `name`, encoded by `number_key`.
        """
        ...

    def add(self, table: Table, name: bytes, differences: Sequence[int]) -> None:
        """Add `differences` to the counters of the record `name`.

        A record is a row of little-endian signed 8-byte integers; missing counters are 0. Two
        changes that add to one record need not wait for each other.
        """
        ...

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Set many keys to their values."""
        ...

    def delete_all(self, table: Table, keys: Sequence[bytes]) -> None:
        """Remove the existing keys among `keys`."""
        ...


class Engine(Protocol):
    """An ordered key-value store with transactions. Safe from many threads; each engine documents
    if it is safe from many processes.
    """

    @property
    def is_joint(self) -> bool:
        """True if `write_both` can change local and shared tables in one commit."""
        ...

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """Open a snapshot. It is taken at the first read or before, and sees no later commits. Hold
        it for less than a second.
        """
        ...

    def write(self, change: Callable[[WriteTransaction], T]) -> T:
        """Run `change` in a transaction. Return its result when the transaction is on stable
        storage.

        If `change` raises, none of its writes remain and the exception is passed on. Raises
        `StorageFull` or `StorageFailed` if the commit fails; then nothing was written. Must not be
        called inside a transaction.
        """
        ...

    def write_both(
        self,
        local: Callable[[WriteTransaction], object],
        shared: Callable[[WriteTransaction], T],
    ) -> T:
        """Write a change of local tables and a change of shared tables in one commit.

        Both changes are committed, or neither. Returns the result of `shared`. Call it only if
        `is_joint`. With other engines the caller makes two writes, in an order that is safe if the
        process ends between them.
        """
        ...

    def tidy(self) -> None:
        """Free resources of the index that dead processes still hold. One process calls it about
        once a minute.
        """
        ...

    def figures(self) -> Figures:
        """Return the metrics of the index."""
        ...

    def close(self) -> None:
        """Release all resources of the engine. No transaction may be open."""
        ...
