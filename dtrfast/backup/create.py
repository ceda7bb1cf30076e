"""Making a backup while the store is used.

A pin first, so that no file is unlinked; then two snapshots of the index, the registry's tables and
the store's, written to segments beside the pin (docs/reliability.md says why they fit); then the
files that they name, the segments, and last the snapshot that makes it count.
Whatever was copied by one that was cut off is not copied again.
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
from dtrfast.backup.place import Place, whole_name
from dtrfast.backup.snapshot import DataFile, LogFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt, Unreadable
from dtrfast.index import counters
from dtrfast.index.engine import ReadTransaction, Table
from dtrfast.index.tables import CONTENTS, FILES, META, PACKS, STORE, TABLES
from dtrfast.machine import disk
from dtrfast.machine.paths import Layout, spooled_file
from dtrfast.machine.write_back import write_paced
from dtrfast.store import change_log, pins
from dtrfast.store.records import LOOSE_FILE, decode_content, decode_pack
from dtrfast.store.store import Store

# Rows that mean nothing elsewhere: the boot whose leftovers were swept.
_LEFT_OUT = {(STORE, b"swept_boot")}
_READ_SIZE = 1 << 20

# Gets bytes done and bytes to do.
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Made:
    """What a backup did. Sizes in bytes."""

    name: str = ""
    files: int = 0
    files_copied: int = 0
    bytes_copied: int = 0
    segments: int = 0
    segments_copied: int = 0
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Moment:
    """The index as it was: names of segments, and what lies in the spool."""

    change_number: int
    tables: dict[str, tuple[str, ...]]
    files: list[tuple[bytes, bytes, int]]  # file id, kind, size
    spool: Path


def create(store: Store, place: Place, progress: Progress, *, rate: int | None = None) -> Made:
    """Back up `store`; `rate` bounds the bytes read in a second. Raises `BackupFailed`."""
    layout = store.layout
    if place.is_local and Path(place.text).resolve().is_relative_to(layout.data.resolve()):
        raise BackupFailed("a backup inside the data directory is lost with it: name another place")
    snapshot.claim(place, store.id)
    with leases.held(place, "backup") as lease, pins.hold(layout.data) as pin:
        there = _There.look(place)
        spool = pin.with_suffix(pins.SPOOL)
        spool.mkdir(mode=0o700)
        try:
            pace = _Pace(progress, rate, lease)
            return _Backup(store, place, pace, there).run(spool)
        finally:
            shutil.rmtree(spool, ignore_errors=True)


@dataclass(slots=True)
class _There:
    """Objects of the place that need not be written again, by the newest snapshot that can be
    read. What no finished backup names may be torn by a power cut.
    """

    last: Snapshot | None
    segments: set[str]
    logs: set[str]
    sizes: Counter[str]  # of files
    is_split: bool  # some files are kept in pieces

    @staticmethod
    def look(place: Place) -> _There:
        last = snapshot.newest(place)
        files = list(place.found("files/"))
        sizes = Counter[str]()
        for entry in files:
            sizes[whole_name(entry.name)] += entry.size
        is_split = any(whole_name(entry.name) != entry.name for entry in files)
        if last is None:
            return _There(None, set(), set(), sizes, is_split)
        rows = {entry.name.rpartition("/")[2] for entry in place.found("rows/") if entry.size}
        # An object of a bucket is what was written. Of a directory it is read, since disks forget.
        sound = {n for n in last.segments & rows if not place.is_local or _is_sound(place, n)}
        logs = {(entry.name, entry.size) for entry in place.found("logs/")}
        named = {log.sha256 for log in last.logs if (snapshot.log_object(log), log.size) in logs}
        return _There(last, sound, named, sizes, is_split)


def _is_sound(place: Place, name: str) -> bool:
    try:
        return any(True for _ in read_segment(place, name))
    except (BackupFailed, Corrupt):
        return False


class _Pace:
    """Tells how far the copying has come, and holds it to a rate."""

    def __init__(self, progress: Progress, rate: int | None, lease: Lease) -> None:
        self._progress = progress
        self._lease = lease
        self._rate = rate
        self._began = time.monotonic()
        self._done = self._total = 0

    def expect(self, total: int) -> None:
        self._total = total

    def check(self) -> None:
        """Raise `BackupFailed` if what was copied may be gone again."""
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
    def __init__(self, store: Store, place: Place, pace: _Pace, there: _There) -> None:
        self._store = store
        self._layout: Layout = store.layout
        self._place = place
        self._pace = pace
        self._there = there
        self._made = Made()

    def run(self, spool: Path) -> Made:
        made_at = time.time()
        with self._place.synced():
            moment = self._dump(spool)
            files = self._copy_files(moment.files, self._known_sums())
            listed = self._spool_rows((one.row() for one in files), spool)
            logs = tuple(self._copy_logs(moment.change_number))
            self._copy_segments(spool)
        is_split = self._there.is_split or any(self._place.is_split(one.size) for one in files)
        written = Snapshot(
            format=snapshot.FORMAT_PIECES if is_split else snapshot.FORMAT,
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
        """A snapshot of the registry's tables, and a later one of the store's. No content goes in
        between, so the store has all that the registry holds. Nothing but this machine's disk is
        waited for meanwhile.
        """
        with pins.hold_contents(self._layout.data):
            with self._store.engine.read() as transaction:
                number = counters.last(transaction, META, b"change_sequence")
                shared = self._spool_tables(transaction, "shared", spool)
            with self._store.engine.read() as transaction:
                local = self._spool_tables(transaction, "local", spool)
                files = [
                    (key, value[:1], _size_of(transaction, value))
                    for key, value in transaction.scan(FILES)
                ]
        return _Moment(number, shared | local, files, spool)

    def _spool_tables(
        self, transaction: ReadTransaction, scope: str, spool: Path
    ) -> dict[str, tuple[str, ...]]:
        return {
            table.name: self._spool_rows(_rows(transaction, table), spool)
            for table in TABLES
            if table.scope == scope
        }

    def _spool_rows(self, rows: Iterator[tuple[bytes, bytes]], spool: Path) -> tuple[str, ...]:
        """Segments of rows: their names. Those that the place has not are in the spool."""
        listed = []
        for segment in segments.cut(rows):
            name = segments.name_of(segment)
            listed.append(name)
            self._made.segments += 1
            if name not in self._there.segments:
                self._there.segments.add(name)
                _spool(spooled_file(spool, name), segments.compress(segment))
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
        """The files of the newest snapshot: they never change, so their sums need no reading."""
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
            path = self._path(file_id, kind)
            one = known.get(file_id)
            if disk.size_of(path) < size:
                self._made.missing.append(file_id.hex())  # gone, or cut off
            if one is None or sizes.get(one.object_name) != one.size:
                there = sizes.get(snapshot.file_object(file_id))
                one = self._copy_file(file_id, kind, path, there)
            if one is not None:
                files.append(one)
        return files

    def _copy_file(
        self, file_id: bytes, kind: bytes, path: Path, size_there: int | None
    ) -> DataFile | None:
        """Copy a file unless it is there; None when the disk does not give it."""
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
        """Whether what a backup that was cut off has copied can be relied on."""
        for piece in self._pieces(path, hasher):
            del piece
        if not self._place.is_local:
            return True  # an object of a bucket is there as a whole, or not at all
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

    def _path(self, file_id: bytes, kind: bytes) -> Path:
        return self._layout.blob(file_id) if kind == LOOSE_FILE else self._layout.pack(file_id)

    # ---- logs ----------------------------------------------------------------------------------
    def _copy_logs(self, change_number: int) -> Iterator[LogFile]:
        """The change log as far as the snapshot goes, and the audit events."""
        for path in sorted(self._layout.log.glob("*.log")):
            data = self._read_log(path, lambda path: change_log.size_until(path, change_number))
            if data:
                yield self._copy_log(f"log/{path.name}", data)
        for path in sorted(self._layout.audit.glob("*.jsonl")):
            data = self._read_log(path, lambda path: path.stat().st_size)
            if data is not None:
                yield self._copy_log(f"audit/{path.name}", data)

    def _read_log(self, path: Path, size_of: Callable[[Path], int]) -> bytes | None:
        """The file as far as `size_of` says; None if it went with the oldest, or the disk does not
        give it.
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


def _size_of(transaction: ReadTransaction, owner: bytes) -> int:
    """The bytes that a file has by its row in FILES."""
    table = CONTENTS if owner[:1] == LOOSE_FILE else PACKS
    data = transaction.get(table, owner[1:])
    if data is None:
        return 0
    return decode_content(data).size if table is CONTENTS else decode_pack(data).size


def _rows(transaction: ReadTransaction, table: Table) -> Iterator[tuple[bytes, bytes]]:
    return (row for row in transaction.scan(table) if (table, row[0]) not in _LEFT_OUT)


def read_files(place: Place, of: Snapshot) -> Iterator[DataFile]:
    """The data files of a snapshot. Raises `BackupFailed`, `Corrupt`."""
    for name in of.files:
        for key, value in read_segment(place, name):
            yield DataFile.of_row(key, value)


def read_segment(place: Place, name: str) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a segment. Raises `BackupFailed`, `Corrupt`."""
    path = snapshot.segment_object(name)
    try:
        data = place.read(path, segments.COMPRESSED_SIZE_MAX)
        if data is not None:
            yield from segments.rows_of(segments.decompress(data, name))
    except Unreadable:  # it says what to do
        raise
    except Corrupt as error:
        raise Corrupt(f"{error}: {snapshot.healing(path)}") from error
    if data is None:
        raise Corrupt(f"{path} is gone: make a new backup")


def read_log(place: Place, log: LogFile) -> bytes:
    """Raises `BackupFailed`, `Corrupt`."""
    path = snapshot.log_object(log)
    try:
        data = place.read(path, log.size)
    except Unreadable:
        raise
    except Corrupt as error:
        raise Corrupt(f"{error}: {snapshot.healing(path)}") from error
    if data is None:
        raise Corrupt(f"{path}, the backup of {log.name}, is gone: make a new backup")
    if segments.name_of(data) != log.sha256:
        raise Corrupt(f"the backup of {log.name} is damaged: {snapshot.healing(path)}")
    return data


def _spool(path: Path, data: bytes) -> None:
    descriptor = disk.create(path)
    try:
        write_paced(descriptor, [data])
    finally:
        os.close(descriptor)
