"""The index on LMDB: one environment in one directory, shared by all processes of a server.

Only this module imports `lmdb`. A process opens a directory once. LMDB binds a transaction to the
thread that began it, so each call here begins and ends its own transaction.

Writes are committed in groups. One thread leads. It runs the queued changes, each in a nested
transaction, so that a failed change aborts alone. Then it commits once for all of them. After the
commit the first waiting thread becomes the leader, and the threads of the committed changes wake
up. A lone change runs without nesting. The sync flags are LMDB's defaults: when a commit returns,
its data is on disk.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, cast

import lmdb

from dtrfast.errors import Corrupt, DtrfastError, StorageFailed, StorageFull
from dtrfast.index import counters
from dtrfast.index.engine import (
    KEY_SIZE_MAX,
    Figures,
    ReadTransaction,
    Table,
    WriteTransaction,
)

T = TypeVar("T")

# Address space, not disk space: the file grows as pages are used. LMDB cannot enlarge a map while
# transactions run.
MAP_SIZE = 1 << 40
TABLES_MAX = 128
# Concurrent read transactions of all processes: enough for 1,500 workers with the default of 40
# threads each. An unused slot is a 64-byte hole in the lock file, and LMDB scans used slots only.
# Measured with 126 slots and with this many: opening takes 0.4 ms and a read 0.8 us in both cases;
# only the first opening after a boot takes 1.5 ms more. The first process that opens an index
# enlarges the lock file of an older version.
READERS_MAX = 1 << 16
# Slots whose disk space is allocated in advance, enough for 100 workers. If a reader fills a hole
# of the lock file while the disk is full, its process dies by SIGBUS.
_READERS_KEPT = 1 << 12
_READER_SIZE = 64
# All workers share the writer's lock. These limits bound the time that a group holds it before its
# commit.
GROUP_PUTS_MAX = 1000
GROUP_SECONDS_MAX = 0.020

_places: set[Path] = set()  # directories of the indexes that this process has open


class LmdbEngine:
    """An `Engine` over an LMDB environment; safe from many threads and many processes."""

    is_joint: Final = True

    def __init__(self, directory: Path, tables: Sequence[Table]) -> None:
        """Open the index in `directory`, or create it.

        Raises `StorageFull` or `StorageFailed` if the directory cannot be used, and `Corrupt` if
        its content is not an index.
        """
        self._place = directory.resolve()
        if self._place not in _places:
            _keep_readers(directory)
        with _translated():
            self._environment = lmdb.open(
                str(directory),
                map_size=MAP_SIZE,
                max_dbs=TABLES_MAX,
                max_readers=READERS_MAX,
                # Digests are random keys, so the pages around a page are of no use. Measured on an
                # index of 1 GB that was not in memory, with Linux's default read-ahead of 128 kB: a
                # look-up read 227 kB with read-ahead and 10 kB without, and took twice as long.
                readahead=False,
                mode=0o600,
            )
            _places.add(self._place)
            with self._environment.begin(write=True) as transaction:
                self._databases = {
                    t: self._environment.open_db(t.name.encode(), transaction) for t in tables
                }
        _sync_directory(directory)
        self._lock = threading.Lock()
        self._queue: deque[_QueuedChange[Any]] = deque()  # the first one belongs to the next leader
        self._is_led = False
        # Counters of this process; only the leading thread adds to them.
        self._commits = 0
        self._changes = 0
        self._commit_seconds = 0.0

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """See `Engine.read`."""
        try:
            transaction = self._environment.begin()
        except lmdb.Error as error:
            raise _translation(error) from error
        return _Snapshot(transaction, self._databases)

    def write(self, change: Callable[[WriteTransaction], T]) -> T:
        """See `Engine.write`."""
        queued = _QueuedChange(change)
        with self._lock:
            self._queue.append(queued)
            leads, self._is_led = not self._is_led, True
        if not leads:
            queued.wait()
        if not queued.done:
            self._lead()
        return queued.outcome()

    def write_both(
        self,
        local: Callable[[WriteTransaction], object],
        shared: Callable[[WriteTransaction], T],
    ) -> T:
        """See `Engine.write_both`."""

        def both(transaction: WriteTransaction) -> T:
            local(transaction)
            return shared(transaction)

        return self.write(both)

    def tidy(self) -> None:
        """Free the reader slots of dead processes: their snapshots would keep LMDB from reusing
        pages.
        """
        with _translated():
            self._environment.reader_check()

    def figures(self) -> Figures:
        """See `Engine.figures`."""
        with _translated():
            info, stat = self._environment.info(), self._environment.stat()
        size = int(info["last_pgno"] + 1) * int(stat["psize"])
        return Figures(size, self._commits, self._changes, self._commit_seconds)

    def close(self) -> None:
        """See `Engine.close`."""
        self._environment.close()
        _places.discard(self._place)

    def _lead(self) -> None:
        """Commit a group, then let the next one begin."""
        group: list[_QueuedChange[Any]] = []
        try:
            self._commit_group(group)
        finally:
            with self._lock:
                self._is_led = bool(self._queue)
                if self._is_led:
                    self._queue[0].wake()
            for queued in group:
                queued.done = True
                queued.wake()

    def _commit_group(self, group: list[_QueuedChange[Any]]) -> None:
        """Run queued changes and commit them. Appends the changes that it ran to `group`."""
        try:
            with _translated():
                self._run_group(group)
        except BaseException as error:
            # The commit failed: the index has no change of the group, even if each one succeeded.
            for queued in group:
                queued.fail(error)
            if not isinstance(error, DtrfastError):
                raise

    def _run_group(self, group: list[_QueuedChange[Any]]) -> None:
        # Before `begin`, which may fail: every change of the group gets an outcome.
        group.append(self._queue.popleft())
        root = self._environment.begin(write=True)
        try:
            if self._queue:
                deadline = time.monotonic() + GROUP_SECONDS_MAX
                puts = self._run_nested(root, group[0])
                while self._queue and puts < GROUP_PUTS_MAX and time.monotonic() < deadline:
                    group.append(self._queue.popleft())
                    puts += self._run_nested(root, group[-1])
            else:
                group[0].run(_Transaction(root, self._databases))
            if len(group) == 1 and group[0].error is not None:
                root.abort()
                return
            began = time.perf_counter()
            root.commit()
            self._commit_seconds += time.perf_counter() - began
            self._commits += 1
            self._changes += len(group)
        except BaseException:
            root.abort()
            raise

    def _run_nested(self, root: lmdb.Transaction, queued: _QueuedChange[Any]) -> int:
        nested = self._environment.begin(parent=root, write=True)
        wrapped = _Transaction(nested, self._databases)
        queued.run(wrapped)
        if queued.error is None:
            nested.commit()
        else:
            nested.abort()
        return wrapped.puts


class _QueuedChange(Generic[T]):
    """A change that waits for a group commit, and its outcome."""

    __slots__ = ("_turn", "change", "done", "error", "result")

    def __init__(self, change: Callable[[WriteTransaction], T]) -> None:
        self.change = change
        self.done = False
        self.error: BaseException | None = None
        self.result: T | None = None
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        """Block until the change is done, or until this thread must lead."""
        self._turn.acquire()

    def wake(self) -> None:
        self._turn.release()

    def run(self, transaction: _Transaction) -> None:
        try:
            with _translated():
                self.result = self.change(cast(WriteTransaction, transaction))
        except BaseException as error:
            # `outcome` raises it in the caller's thread, which may be another one. The group
            # continues without this change.
            self.error = error

    def fail(self, error: BaseException) -> None:
        if self.error is None:
            kind = type(error) if isinstance(error, StorageFull) else StorageFailed
            self.error = kind(str(error))

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return cast(T, self.result)


class _Transaction:
    """A `WriteTransaction` on a transaction of LMDB. A read-only one is given out as a
    `ReadTransaction`.
    """

    __slots__ = ("_databases", "_transaction", "puts")

    def __init__(self, transaction: lmdb.Transaction, databases: dict[Table, Any]) -> None:
        self._transaction = transaction
        self._databases = databases
        self.puts = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        try:
            # Positional arguments: keyword arguments take longer than finding the key.
            return self._transaction.get(key, None, self._databases[table])  # type: ignore[return-value]
        except lmdb.BadValsizeError:
            return None  # `put` refuses keys of this length

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        if not 0 < len(key) <= KEY_SIZE_MAX:
            raise ValueError(f"a key has 1 to {KEY_SIZE_MAX} bytes, not {len(key)}")
        self.puts += 1
        self._transaction.put(key, value, db=self._databases[table])

    def delete(self, table: Table, key: bytes) -> None:
        if 0 < len(key) <= KEY_SIZE_MAX:
            self.puts += 1
            self._transaction.delete(key, db=self._databases[table])

    def pop(self, table: Table, key: bytes) -> bytes | None:
        if not 0 < len(key) <= KEY_SIZE_MAX:
            return None
        self.puts += 1
        return cast("bytes | None", self._transaction.pop(key, self._databases[table]))

    def take(self, table: Table, name: bytes, count: int = 1) -> int:
        return counters.take(self, table, name, count)

    def add(self, table: Table, name: bytes, differences: Sequence[int]) -> None:
        counters.add(self, table, name, differences)

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        cursor = self._transaction.cursor(db=self._databases[table])
        return dict(cast("list[tuple[bytes, bytes]]", cursor.getmulti(keys)))

    def begun(self, table: Table, prefixes: Sequence[bytes]) -> list[bool]:
        cursor = self._transaction.cursor(db=self._databases[table])
        seek, key = cursor.set_range, cast("Callable[[], bytes]", cursor.key)
        return [seek(prefix) and key().startswith(prefix) for prefix in prefixes]

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        cursor = self._transaction.cursor(db=self._databases[table])
        self.puts += cursor.putmulti(rows)[0]

    def delete_all(self, table: Table, keys: Sequence[bytes]) -> None:
        self.puts += len(keys)
        delete, database = self._transaction.delete, self._databases[table]
        for key in keys:
            delete(key, b"", database)

    def scan(
        self,
        table: Table,
        prefix: bytes = b"",
        *,
        after: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        left = -1 if limit is None else limit
        cursor = self._transaction.cursor(db=self._databases[table])
        found = _seek_last(cursor, prefix, after) if reverse else _seek_first(cursor, prefix, after)
        if not found or left == 0:
            return
        rows = cursor.iterprev() if reverse else cursor.iternext()
        for row in cast("Iterator[tuple[bytes, bytes]]", rows):
            if not row[0].startswith(prefix):
                return
            yield row
            left -= 1
            if left == 0:
                return


class _Snapshot(_Transaction):
    """A read transaction that ends with its `with` block.

    A class, because a generator-based context manager would be a third of the time that most
    requests spend in this module.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transaction.abort()
        if error is not None and isinstance(error, lmdb.Error):
            raise _translation(error) from error


def _seek_first(cursor: lmdb.Cursor, prefix: bytes, after: bytes | None) -> bool:
    """Move to the least key that starts with `prefix` and is greater than `after`.

    Returns False if the table has no such position; the caller checks the prefix.
    """
    if after is None or after < prefix:
        return cursor.set_range(prefix) if prefix else cursor.first()
    if not after:
        return cursor.first()
    if not cursor.set_range(after):
        return False
    return cursor.next() if cursor.key() == after else True


def _seek_last(cursor: lmdb.Cursor, prefix: bytes, after: bytes | None) -> bool:
    """Move to the greatest key that starts with `prefix` and is less than `after`."""
    # The least key that is greater than all keys with the prefix; None if there is none.
    stripped = prefix.rstrip(b"\xff")
    end = stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
    if after is not None and (end is None or after < end):
        end = after
    if end is None:
        return cursor.last()
    if not end:
        return False
    return cursor.prev() if cursor.set_range(end) else cursor.last()


def _keep_readers(directory: Path) -> None:
    """Allocate disk space for reader slots, up to the present length of the lock file.

    The length stays, because other programs that have the file open rely on it. Must run before
    this process opens the index. Closing the file releases all locks that the process has on it
    (fcntl(2)), and LMDB uses these locks to see that an index is in use.
    """
    with suppress(OSError):  # the index is new, or the disk is full
        descriptor = os.open(directory / "lock.mdb", os.O_RDWR | os.O_CLOEXEC)
        try:
            size = min(os.fstat(descriptor).st_size, _READERS_KEPT * _READER_SIZE)
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    """Sync the directory entries of LMDB's files. LMDB itself syncs only their content."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageFailed(f"the index's directory cannot be synced ({error})") from error


@contextmanager
def _translated() -> Iterator[None]:
    """Convert exceptions of LMDB into exceptions of dtrfast."""
    try:
        yield
    except lmdb.Error as error:
        raise _translation(error) from error


def _translation(error: lmdb.Error) -> DtrfastError:
    """Return the exception of dtrfast for an exception of LMDB."""
    if isinstance(error, lmdb.DiskError | lmdb.MapFullError):
        return StorageFull("the disk that holds the index is full: free some space")
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
        return Corrupt(f"the index is damaged ({error}): restore it")
    if isinstance(error, lmdb.PanicError):
        # This environment stays unusable until a new process opens it.
        os.kill(os.getpid(), signal.SIGTERM)
        return StorageFailed("the disk under the index failed: the server process restarts")
    return StorageFailed(f"the index could not be read or written ({error})")
