"""Making a backup while the store is used.

A pin first, so that no file is unlinked; then one snapshot of the index, written to segments beside
the pin; then the files that it names, the segments, and last the snapshot that makes it count.
Whatever was copied by one that was cut off is not copied again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from dtrfast.backup import segments, snapshot
from dtrfast.backup.place import Place
from dtrfast.backup.snapshot import DataFile, LogFile, Snapshot
from dtrfast.errors import BackupFailed
from dtrfast.index import counters
from dtrfast.index.engine import ReadTransaction, Table
from dtrfast.index.tables import FILES, META, STORE, TABLES
from dtrfast.store import change_log, disk, pins
from dtrfast.store.layout import Layout
from dtrfast.store.records import LOOSE_FILE
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
    files: list[tuple[bytes, bytes]]  # file id, kind
    spool: Path


def create(store: Store, place: Place, progress: Progress, *, rate: int | None = None) -> Made:
    """Back up `store`; `rate` bounds the bytes read in a second. Raises `BackupFailed`."""
    layout = store.layout
    snapshot.claim(place, store.id)
    known = {entry.name.rpartition("/")[2] for entry in place.found("rows/")}
    sizes = {entry.name: entry.size for entry in place.found("files/")}
    with pins.hold(layout.data) as pin:
        spool = pin.with_suffix(pins.SPOOL)
        spool.mkdir()
        try:
            return _Backup(store, place, _Pace(progress, rate)).run(spool, known, sizes)
        finally:
            shutil.rmtree(spool, ignore_errors=True)


class _Pace:
    """Tells how far the copying has come, and holds it to a rate."""

    def __init__(self, progress: Progress, rate: int | None) -> None:
        self._progress = progress
        self._rate = rate
        self._began = time.monotonic()
        self._done = self._total = 0

    def expect(self, total: int) -> None:
        self._total = total

    def add(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)
        if self._rate:
            ahead = self._done / self._rate - (time.monotonic() - self._began)
            if ahead > 0:
                time.sleep(ahead)


class _Backup:
    def __init__(self, store: Store, place: Place, pace: _Pace) -> None:
        self._store = store
        self._layout: Layout = store.layout
        self._place = place
        self._pace = pace
        self._made = Made()

    def run(self, spool: Path, known: set[str], sizes: dict[str, int]) -> Made:
        made_at = time.time()
        moment = self._dump(spool, known)
        sums = self._known_sums()
        files = self._copy_files(moment.files, sizes, sums)
        listed = self._spool_rows((one.row() for one in files), spool, known)
        logs = tuple(self._copy_logs(moment.change_number))
        self._copy_segments(spool)
        self._place.settle()
        written = Snapshot(
            format=snapshot.FORMAT,
            store=str(self._store.id),
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
        self._made.name = snapshot.write(self._place, written)
        self._place.settle()
        return self._made

    # ---- the index -----------------------------------------------------------------------------
    def _dump(self, spool: Path, known: set[str]) -> _Moment:
        """One snapshot of all tables. Nothing but this machine's disk is waited for meanwhile."""
        with self._store.engine.read() as transaction:
            number = counters.last(transaction, META, b"change_sequence")
            tables = {
                table.name: self._spool_rows(_rows(transaction, table), spool, known)
                for table in TABLES
            }
            files = [(key, value[:1]) for key, value in transaction.scan(FILES)]
        return _Moment(number, tables, files, spool)

    def _spool_rows(
        self, rows: Iterator[tuple[bytes, bytes]], spool: Path, known: set[str]
    ) -> tuple[str, ...]:
        """Segments of rows: their names. Those that the place has not are in the spool."""
        listed = []
        for segment in segments.cut(rows):
            name = segments.name_of(segment)
            listed.append(name)
            self._made.segments += 1
            if name not in known:
                known.add(name)
                with disk.reported():
                    (spool / name).write_bytes(segments.compress(segment))
        return tuple(listed)

    def _copy_segments(self, spool: Path) -> None:
        for path in sorted(spool.iterdir()):
            size = path.stat().st_size
            self._place.put(snapshot.segment_object(path.name), path)
            self._made.segments_copied += 1
            self._made.bytes_copied += size
            self._pace.add(0)

    # ---- files ---------------------------------------------------------------------------------
    def _known_sums(self) -> dict[bytes, DataFile]:
        """The files of the newest snapshot: they never change, so their sums need no reading."""
        listed = snapshot.names(self._place)
        if not listed:
            return {}
        newest = snapshot.read(self._place, listed[-1])
        return {one.file_id: one for one in read_files(self._place, newest)}

    def _copy_files(
        self,
        listed: list[tuple[bytes, bytes]],
        sizes: dict[str, int],
        known: dict[bytes, DataFile],
    ) -> list[DataFile]:
        files = []
        paths = {file_id: self._path(file_id, kind) for file_id, kind in listed}
        new = [i for i in paths if snapshot.file_object(i) not in sizes]
        self._pace.expect(sum(disk.size_of(paths[file_id]) for file_id in new))
        for file_id, kind in listed:
            self._made.files += 1
            one = known.get(file_id)
            name = snapshot.file_object(file_id)
            if one is None or sizes.get(name) != one.size:
                one = self._copy_file(file_id, kind, paths[file_id], sizes.get(name))
            if one is not None:
                files.append(one)
        return files

    def _copy_file(
        self, file_id: bytes, kind: bytes, path: Path, size_there: int | None
    ) -> DataFile | None:
        """Copy a file unless it is there; None when the disk has not got it."""
        try:
            one = DataFile(file_id, kind, *self._sum(path))
        except FileNotFoundError:
            self._made.missing.append(file_id.hex())
            return None
        if size_there != one.size:
            self._place.put(one.object_name, path)
            self._made.files_copied += 1
            self._made.bytes_copied += one.size
        return one

    def _sum(self, path: Path) -> tuple[int, bytes]:
        size, hasher = 0, xxhash.xxh3_128()
        with path.open("rb") as file:
            while data := file.read(_READ_SIZE):
                hasher.update(data)
                size += len(data)
                self._pace.add(len(data))
        return size, hasher.digest()

    def _path(self, file_id: bytes, kind: bytes) -> Path:
        return self._layout.blob(file_id) if kind == LOOSE_FILE else self._layout.pack(file_id)

    # ---- logs ----------------------------------------------------------------------------------
    def _copy_logs(self, change_number: int) -> Iterator[LogFile]:
        """The change log as far as the snapshot goes, and the audit events."""
        for path in sorted(self._layout.log.glob("*.log")):
            size = change_log.size_until(path, change_number)
            if size:
                yield self._copy_log(f"log/{path.name}", path, size)
        for path in sorted((self._layout.data / "audit").glob("*.jsonl")):
            yield self._copy_log(f"audit/{path.name}", path, path.stat().st_size)

    def _copy_log(self, name: str, path: Path, size: int) -> LogFile:
        with path.open("rb") as file:
            data = file.read(size)
        log = LogFile(name, len(data), segments.name_of(data))
        if self._place.create(snapshot.log_object(log), data):
            self._made.bytes_copied += len(data)
        return log


def _rows(transaction: ReadTransaction, table: Table) -> Iterator[tuple[bytes, bytes]]:
    return (row for row in transaction.scan(table) if (table, row[0]) not in _LEFT_OUT)


def read_files(place: Place, of: Snapshot) -> Iterator[DataFile]:
    """The data files of a snapshot. Raises `BackupFailed`, `Corrupt`."""
    for name in of.files:
        for key, value in read_segment(place, name):
            yield DataFile.of_row(key, value)


def read_segment(place: Place, name: str) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a segment. Raises `BackupFailed`, `Corrupt`."""
    data = place.read(snapshot.segment_object(name))
    if data is None:
        raise BackupFailed(f"the segment {name} is gone: make a new backup")
    return segments.rows_of(segments.decompress(data, name))
