"""Backups of a store that is in use.

The steps of a backup:

1. It writes a pin, so that the server unlinks no file.
2. It reads the registry's tables, then the store's, and writes their rows to segments beside the
   pin. docs/reliability.md says why the two fit together.
3. It copies the files that the tables name, and the segments.
4. It writes the snapshot, which makes the backup valid.

Objects that an interrupted backup copied are not copied again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from dtrfast.backup import leases, segments, snapshot
from dtrfast.backup.leases import Lease
from dtrfast.backup.place import BackupPlace, whole_name
from dtrfast.backup.snapshot import DataFile, LogFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt, Unreadable
from dtrfast.index import counters
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import CONTENTS, FILES, META, PACKS, REPLAYS, STORE, TABLES
from dtrfast.machine import disk
from dtrfast.machine.paths import Layout, spooled_file
from dtrfast.machine.write_back import write_paced
from dtrfast.store import change_log, pins
from dtrfast.store.records import LOOSE_FILE, FileOwner, decode_content, decode_pack
from dtrfast.store.store import Store

# Rows that mean nothing in another place: the boot whose leftovers were swept.
_LEFT_OUT = {(STORE, b"swept_boot")}
_READ_SIZE = 1 << 20

# Gets the bytes done so far, and the bytes in total.
ProgressCallback = Callable[[int, int], None]


@dataclass(slots=True)
class BackupResult:
    """The result of a backup. `missing` has files that the index names and the disk does not give:
    file ids in hex, or names of logs.
    """

    name: str = ""
    files: int = 0
    files_copied: int = 0
    bytes_copied: int = 0
    segments: int = 0
    segments_copied: int = 0
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Moment:
    """The index at the moment of the backup. `tables` has the names of each table's segments."""

    change_number: int
    tables: dict[str, tuple[str, ...]]
    files: list[tuple[bytes, bytes, int]]  # file id, kind, size


def create_backup(
    store: Store, place: BackupPlace, progress: ProgressCallback, *, rate: int | None = None
) -> BackupResult:
    """Back up `store`. `rate` is the largest number of bytes to read in a second; None: no limit.

    Raises `BackupFailed`.
    """
    layout = store.layout
    if place.is_local and Path(place.text).resolve().is_relative_to(layout.data.resolve()):
        raise BackupFailed("a backup inside the data directory is lost with it: name another place")
    snapshot.claim(place, store.id)
    with leases.held(place, "backup") as lease, pins.hold(layout.data) as pin:
        there = _ExistingObjects.read(place)
        spool = pin.with_suffix(pins.SPOOL)
        spool.mkdir(mode=0o700)
        try:
            pace = _Pace(progress, rate, lease)
            return _Backup(store, place, pace, there).run(spool)
        finally:
            shutil.rmtree(spool, ignore_errors=True)


@dataclass(slots=True)
class _ExistingObjects:
    """The objects of a place that need not be written again, by its newest readable snapshot. An
    object that no snapshot names may be incomplete after a power cut.
    """

    last: Snapshot | None
    segments: set[str]
    logs: set[str]
    sizes: Counter[str]  # of files
    is_split: bool  # some files are kept in pieces

    @staticmethod
    def read(place: BackupPlace) -> _ExistingObjects:
        last = snapshot.newest(place)
        files = list(place.found("files/"))
        sizes = Counter[str]()
        for entry in files:
            sizes[whole_name(entry.name)] += entry.size
        is_split = any(whole_name(entry.name) != entry.name for entry in files)
        if last is None:
            return _ExistingObjects(None, set(), set(), sizes, is_split)
        rows = {entry.name.rpartition("/")[2] for entry in place.found("rows/") if entry.size}
        # A bucket keeps objects as they were written. Objects of a directory are read, since disks
        # lose data.
        sound = {n for n in last.segments & rows if not place.is_local or _is_sound(place, n)}
        logs = {(entry.name, entry.size) for entry in place.found("logs/")}
        named = {log.sha256 for log in last.logs if (snapshot.log_object(log), log.size) in logs}
        return _ExistingObjects(last, sound, named, sizes, is_split)


def _is_sound(place: BackupPlace, name: str) -> bool:
    try:
        return any(True for _ in read_segment(place, name))
    except (BackupFailed, Corrupt):
        return False


class _Pace:
    """Reports the progress of copying, and limits its rate."""

    def __init__(self, progress: ProgressCallback, rate: int | None, lease: Lease) -> None:
        self._progress = progress
        self._lease = lease
        self._rate = rate
        self._began = time.monotonic()
        self._done = self._total = 0

    def expect(self, total: int) -> None:
        self._total = total

    def check(self) -> None:
        """Raise `BackupFailed` if a prune may have deleted copied objects."""
        self._lease.check()

    def add(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)
        self._lease.check()
        if self._rate:
            ahead = self._done / self._rate - (time.monotonic() - self._began)
            if ahead > 0:
                time.sleep(ahead)


class _Backup:
    """One backup, from the spool to the snapshot."""

    def __init__(
        self, store: Store, place: BackupPlace, pace: _Pace, there: _ExistingObjects
    ) -> None:
        self._store = store
        self._layout: Layout = store.layout
        self._place = place
        self._pace = pace
        self._there = there
        self._made = BackupResult()

    def run(self, spool: Path) -> BackupResult:
        made_at = time.time()
        with self._place.synced():
            moment = self._dump(spool)
            files = self._copy_files(moment.files, self._known_sums())
            listed = self._spool_rows((one.row() for one in files), spool)
            logs = tuple(self._copy_logs(moment.change_number))
            self._copy_segments(spool)
        is_split = self._there.is_split or any(self._place.is_split(one.size) for one in files)
        written = Snapshot(
            format=_format(moment.tables, is_split=is_split),
            store=self._store.id,
            made_at=made_at,
            change_number=moment.change_number,
            tables=moment.tables,
            files=listed,
            logs=logs,
            file_count=len(files),
            file_bytes=sum(one.size for one in files),
            new_bytes=self._made.bytes_copied,
            missing=tuple(self._made.missing),
        )
        self._pace.check()
        with self._place.synced():
            self._made.name = snapshot.write(self._place, written)
        return self._made

    # ---- the index -----------------------------------------------------------------------------
    def _dump(self, spool: Path) -> _Moment:
        """Write the registry's tables to the spool, then the store's, from a later snapshot of the
        index.

        No content is deleted in between, so the store has all content that the registry holds.
        Deletion waits meanwhile, so this writes to the local disk only, and not to the place.
        """
        with pins.hold_contents(self._layout.data):
            with self._store.engine.read() as transaction:
                number = counters.last(transaction, META, b"change_sequence")
                shared = self._spool_tables(transaction, "shared", spool)
            with self._store.engine.read() as transaction:
                local = self._spool_tables(transaction, "local", spool)
                files = [
                    (key, owner.kind, _size_of(transaction, owner))
                    for key, value in transaction.scan(FILES)
                    for owner in (FileOwner.decode(value),)
                ]
        return _Moment(number, shared | local, files)

    def _spool_tables(
        self, transaction: ReadTransaction, scope: str, spool: Path
    ) -> dict[str, tuple[str, ...]]:
        listed = {}
        for table in TABLES:
            if table.scope == scope:
                rows = transaction.scan(table)
                kept = (row for row in rows if (table, row[0]) not in _LEFT_OUT)
                listed[table.name] = self._spool_rows(kept, spool)
        return listed

    def _spool_rows(self, rows: Iterator[tuple[bytes, bytes]], spool: Path) -> tuple[str, ...]:
        """Cut rows into segments, and write those to the spool that the place does not have.
        Returns the names of all segments.
        """
        listed = []
        for segment in segments.cut(rows):
            name = segments.name_of(segment)
            listed.append(name)
            self._made.segments += 1
            if name not in self._there.segments:
                self._there.segments.add(name)
                descriptor = disk.create(spooled_file(spool, name))
                try:
                    write_paced(descriptor, [segments.compress(segment)])
                finally:
                    os.close(descriptor)
        return tuple(listed)

    def _copy_segments(self, spool: Path) -> None:
        for path in sorted(spool.iterdir()):
            with disk.reported():
                data = path.read_bytes()
            self._place.put(snapshot.segment_object(path.name), data)
            self._made.segments_copied += 1
            self._made.bytes_copied += len(data)
            self._pace.add(0)

    # ---- files ---------------------------------------------------------------------------------
    def _known_sums(self) -> dict[bytes, DataFile]:
        """Return the files of the newest snapshot, by id. Files never change, so their sums need
        not be computed again.
        """
        if self._there.last is None:
            return {}
        try:
            return {one.file_id: one for one in read_files(self._place, self._there.last)}
        except (BackupFailed, Corrupt):
            return {}

    def _copy_files(
        self,
        listed: list[tuple[bytes, bytes, int]],
        known: dict[bytes, DataFile],
    ) -> list[DataFile]:
        sizes = self._there.sizes
        new = [size for i, _, size in listed if sizes.get(snapshot.file_object(i)) != size]
        self._pace.expect(sum(new))
        files = []
        for file_id, kind, size in listed:
            self._made.files += 1
            layout = self._layout
            path = layout.blob(file_id) if kind == LOOSE_FILE else layout.pack(file_id)
            one = known.get(file_id)
            if disk.size_of(path) < size:
                self._made.missing.append(file_id.hex())  # missing, or truncated
            if one is None or sizes.get(one.object_name) != one.size:
                there = sizes.get(snapshot.file_object(file_id))
                one = self._copy_file(file_id, kind, path, there)
            if one is not None:
                files.append(one)
        return files

    def _copy_file(
        self, file_id: bytes, kind: bytes, path: Path, size_there: int | None
    ) -> DataFile | None:
        """Copy a file unless the place has it. Returns None if the disk does not give the file."""
        try:
            size = path.stat().st_size
            hasher = xxhash.xxh3_128()
            if size_there == size and self._is_whole(file_id, path, hasher):
                return DataFile(file_id, kind, size, hasher.digest())
            hasher = xxhash.xxh3_128()
            name = snapshot.file_object(file_id)
            self._place.put_stream(name, self._pieces(path, hasher), size)
        except OSError:
            if file_id.hex() not in self._made.missing:
                self._made.missing.append(file_id.hex())
            return None
        self._made.files_copied += 1
        self._made.bytes_copied += size
        return DataFile(file_id, kind, size, hasher.digest())

    def _is_whole(self, file_id: bytes, path: Path, hasher: xxhash.xxh3_128) -> bool:
        """Return True if the place has the whole file, copied by an interrupted backup. `hasher`
        gets the bytes of the file on disk.
        """
        for piece in self._pieces(path, hasher):
            del piece
        if not self._place.is_local:
            return True  # a bucket has whole objects only
        there = xxhash.xxh3_128()
        try:
            for piece in self._place.stream(snapshot.file_object(file_id)):
                there.update(piece)
        except BackupFailed:
            return False
        return there.digest() == hasher.digest()

    def _pieces(self, path: Path, hasher: xxhash.xxh3_128) -> Iterator[bytes]:
        with path.open("rb") as file:
            while data := file.read(_READ_SIZE):
                hasher.update(data)
                self._pace.add(len(data))
                yield data

    # ---- logs ----------------------------------------------------------------------------------
    def _copy_logs(self, change_number: int) -> Iterator[LogFile]:
        """Copy the change log up to the change with this number, and the audit events."""
        for path in sorted(self._layout.log.glob("*.log")):
            data = self._read_log(path, lambda path: change_log.size_until(path, change_number))
            if data:
                yield self._copy_log(f"log/{path.name}", data)
        for path in sorted(self._layout.audit.glob("*.jsonl")):
            data = self._read_log(path, lambda path: path.stat().st_size)
            if data is not None:
                yield self._copy_log(f"audit/{path.name}", data)

    def _read_log(self, path: Path, size_of: Callable[[Path], int]) -> bytes | None:
        """Return the first `size_of` bytes of a file. None if it was deleted as one of the oldest
        meanwhile, or if the disk does not give it.
        """
        try:
            with path.open("rb") as file:
                return file.read(size_of(path))
        except FileNotFoundError:
            return None
        except OSError:
            self._made.missing.append(f"{path.parent.name}/{path.name}")
            return None

    def _copy_log(self, name: str, data: bytes) -> LogFile:
        log = LogFile(name, len(data), segments.name_of(data))
        if log.sha256 not in self._there.logs:
            self._place.put(snapshot.log_object(log), data)
            self._there.logs.add(log.sha256)
            self._made.bytes_copied += len(data)
        return log


def _size_of(transaction: ReadTransaction, owner: FileOwner) -> int:
    """Return a file's size in bytes, by its owner in the table FILES."""
    table = CONTENTS if owner.kind == LOOSE_FILE else PACKS
    data = transaction.get(table, owner.key)
    if data is None:
        return 0
    return decode_content(data).size if table is CONTENTS else decode_pack(data).size


def read_files(place: BackupPlace, of: Snapshot) -> Iterator[DataFile]:
    """Yield the data files of a snapshot. Raises `BackupFailed`, `Corrupt`."""
    for name in of.files:
        for key, value in read_segment(place, name):
            yield DataFile.of_row(key, value)


def read_segment(place: BackupPlace, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of a segment. Raises `BackupFailed`, `Corrupt`, and `Unreadable` if the disk
    does not give it.
    """
    path = snapshot.segment_object(name)
    try:
        data = place.read(path, segments.COMPRESSED_SIZE_MAX)
        if data is not None:
            yield from segments.rows_of(segments.decompress(data, name))
    except Unreadable:  # its message already says what to do
        raise
    except Corrupt as error:
        raise Corrupt(f"{error}: {snapshot.healing(path)}") from error
    if data is None:
        raise Corrupt(f"{path} is missing: make a new backup")


def read_log(place: BackupPlace, log: LogFile) -> bytes:
    """Return the bytes of a log. Raises `BackupFailed`, `Corrupt`, `Unreadable`."""
    path = snapshot.log_object(log)
    try:
        data = place.read(path, log.size)
    except Unreadable:
        raise
    except Corrupt as error:
        raise Corrupt(f"{error}: {snapshot.healing(path)}") from error
    if data is None:
        raise Corrupt(f"{path}, the backup of {log.name}, is missing: make a new backup")
    if segments.name_of(data) != log.sha256:
        raise Corrupt(f"the backup of {log.name} is damaged: {snapshot.healing(path)}")
    return data


def _format(tables: dict[str, tuple[str, ...]], *, is_split: bool) -> int:
    """Return the format of a snapshot: the lowest one that tells older versions what they lack."""
    if tables.get(REPLAYS.name):
        return snapshot.FORMAT_TIER
    return snapshot.FORMAT_PIECES if is_split else snapshot.FORMAT
