"""The index on LMDB: one environment in one directory, shared by all processes of a server.

The only module that imports `lmdb`. A process opens a directory once. Transactions of LMDB belong
to the thread that began them, so each is begun and ended inside one call here.

Writes are committed in groups. One thread leads: it runs what is queued, each change in a nested
transaction so that one that fails aborts alone, and commits once for all. Then it hands over to
whoever came first of those that queued up meanwhile, before it wakes those whose change is done. A
lone change runs without nesting. Sync flags are LMDB's defaults: a commit that returned is on disk.
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

# Address space, not disk: the file grows as pages are used. LMDB cannot grow a map while
# transactions run.
MAP_SIZE = 1 << 40
TABLES_MAX = 64
# Transactions that may read at once, over all processes: those of 1,500 workers with the usual 40
# threads each. A slot is 64 bytes of a hole in the lock file until a reader uses it, and LMDB looks
# at used slots only: with 126 slots or with so many, opening takes 0.4 ms and reading 0.8 us
# (measured); only the first opening after a boot takes 1.5 ms more. The first process that opens an
# index makes the lock file of an older version longer.
READERS_MAX = 1 << 16
# Slots whose place on the disk is taken beforehand: those of 100 workers. A reader that fills a
# hole of the lock file while the disk is full ends its process, by SIGBUS.
_READERS_KEPT = 1 << 12
_READER_SIZE = 64
# The writer's lock is shared by all workers: a group holds it no longer than this before its
# commit.
GROUP_PUTS_MAX = 1000
GROUP_SECONDS_MAX = 0.020

_places: set[Path] = set()  # of the indexes that this process has open


class LmdbEngine:
    """An `Engine` over an LMDB environment; safe from many threads and many processes."""

    is_joint: Final = True

    def __init__(self, directory: Path, tables: Sequence[Table]) -> None:
        """Open or create.

        Raises `StorageFull` or `StorageFailed` when the directory cannot be used, `Corrupt` when
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
                # Digests are random keys: what the kernel reads around a page is of no use. Of an
                # index that is not in memory a look-up read 227 kB so, 10 kB without (measured on a
                # gigabyte with Linux's usual read-ahead of 128 kB), and took twice as long.
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
        self._jobs: deque[_Job[Any]] = deque()  # whoever begins to lead has the first
        self._is_led = False
        # Of this process; only whoever leads adds to them.
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
        job = _Job(change)
        with self._lock:
            self._jobs.append(job)
            leads, self._is_led = not self._is_led, True
        if not leads:
            job.wait()
        if not job.done:
            self._lead()
        return job.outcome()

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
        """Free the slots of readers whose process died; their snapshots would keep pages from
        reuse.
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
        group: list[_Job[Any]] = []
        try:
            self._commit_group(group)
        finally:
            with self._lock:
                self._is_led = bool(self._jobs)
                if self._is_led:
                    self._jobs[0].wake()
            for job in group:
                job.done = True
                job.wake()

    def _commit_group(self, group: list[_Job[Any]]) -> None:
        """Run queued changes and commit them; `group` gets those that were taken."""
        try:
            with _translated():
                self._run_group(group)
        except BaseException as error:
            # The commit failed: nothing of the group is in the index, whatever each change said.
            for job in group:
                job.fail(error)
            if not isinstance(error, DtrfastError):
                raise

    def _run_group(self, group: list[_Job[Any]]) -> None:
        group.append(self._jobs.popleft())  # first: a job must end, even if nothing can begin
        root = self._environment.begin(write=True)
        try:
            if self._jobs:
                self._run_many(root, group)
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

    def _run_many(self, root: lmdb.Transaction, group: list[_Job[Any]]) -> None:
        deadline = time.monotonic() + GROUP_SECONDS_MAX
        puts = self._run_nested(root, group[0])
        while self._jobs and puts < GROUP_PUTS_MAX and time.monotonic() < deadline:
            group.append(self._jobs.popleft())
            puts += self._run_nested(root, group[-1])

    def _run_nested(self, root: lmdb.Transaction, job: _Job[Any]) -> int:
        nested = self._environment.begin(parent=root, write=True)
        wrapped = _Transaction(nested, self._databases)
        job.run(wrapped)
        if job.error is None:
            nested.commit()
        else:
            nested.abort()
        return wrapped.puts


class _Job(Generic[T]):
    """A change that waits for a group, and what became of it."""

    __slots__ = ("_turn", "change", "done", "error", "result")

    def __init__(self, change: Callable[[WriteTransaction], T]) -> None:
        self.change = change
        self.done = False
        self.error: BaseException | None = None
        self.result: T | None = None
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        """Until the change is done, or its thread is to lead."""
        self._turn.acquire()

    def wake(self) -> None:
        self._turn.release()

    def run(self, transaction: _Transaction) -> None:
        try:
            with _translated():
                self.result = self.change(cast(WriteTransaction, transaction))
        except BaseException as error:
            # Kept for the caller, whose thread may be another one; the group goes on without this
            # change.
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
    """`WriteTransaction` over one of LMDB's; handed out as a reader where it is one."""

    __slots__ = ("_databases", "_transaction", "puts")

    def __init__(self, transaction: lmdb.Transaction, databases: dict[Table, Any]) -> None:
        self._transaction = transaction
        self._databases = databases
        self.puts = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        try:
            # By position: naming the arguments takes longer than finding the key.
            return self._transaction.get(key, None, self._databases[table])  # type: ignore[return-value]
        except lmdb.BadValsizeError:
            return None  # no such key can have been put

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

    Not a generator: most requests open one, and that would be a third of their time in here.
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
    """Move to the least key that starts with `prefix` and is greater than `after`."""
    if after is None or after < prefix:
        return cursor.set_range(prefix) if prefix else cursor.first()
    if not after:
        return cursor.first()
    if not cursor.set_range(after):
        return False
    return cursor.next() if cursor.key() == after else True


def _seek_last(cursor: lmdb.Cursor, prefix: bytes, after: bytes | None) -> bool:
    """Move to the greatest key that starts with `prefix` and is less than `after`."""
    end = _prefix_end(prefix)
    if after is not None and (end is None or after < end):
        end = after
    if end is None:
        return cursor.last()
    if not end:
        return False
    return cursor.prev() if cursor.set_range(end) else cursor.last()


def _prefix_end(prefix: bytes) -> bytes | None:
    """The least key greater than all that start with `prefix`; None when there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


def _keep_readers(directory: Path) -> None:
    """Take room for readers, as far as the lock file goes: it is as long as programs that have it
    open believe. Only before this process opens the index: closing the file ends all locks that a
    process has on it (fcntl(2)), and by these LMDB knows that an index is in use.
    """
    with suppress(OSError):  # a new index, or a full disk
        descriptor = os.open(directory / "lock.mdb", os.O_RDWR | os.O_CLOEXEC)
        try:
            size = min(os.fstat(descriptor).st_size, _READERS_KEPT * _READER_SIZE)
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    """LMDB syncs what it writes into its files, but not that they are there."""
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
    """Turn LMDB's exceptions into ours."""
    try:
        yield
    except lmdb.Error as error:
        raise _translation(error) from error


def _translation(error: lmdb.Error) -> DtrfastError:
    """What to raise for an exception of LMDB's."""
    if isinstance(error, lmdb.DiskError | lmdb.MapFullError):
        return StorageFull("the disk that holds the index is full: free some space")
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
        return Corrupt(f"the index is damaged ({error}): restore it")
    if isinstance(error, lmdb.PanicError):
        # This environment answers nothing any more until it is opened anew, by another process.
        os.kill(os.getpid(), signal.SIGTERM)
        return StorageFailed("the disk failed under the index: starting again")
    return StorageFailed(f"the index could not be read or written ({error})")
