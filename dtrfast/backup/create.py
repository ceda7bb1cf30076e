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

from dtrfast.backup import leases, segments, snapshot
from dtrfast.backup.place import Place
from dtrfast.backup.snapshot import DataFile, LogFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt
from dtrfast.index import counters
from dtrfast.index.engine import ReadTransaction, Table
from dtrfast.index.tables import CONTENTS, FILES, META, PACKS, STORE, TABLES
from dtrfast.store import change_log, disk, pins
from dtrfast.store.layout import Layout
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
        last = snapshot.newest(place)
        # What no finished backup names may be torn by a power cut, so it is written once more.
        named = last.segments if last is not None else set()
        there = {entry.name.rpartition("/")[2] for entry in place.found("rows/") if entry.size}
        sizes = {entry.name: entry.size for entry in place.found("files/")}
        spool = pin.with_suffix(pins.SPOOL)
        spool.mkdir(mode=0o700)
        try:
            pace = _Pace(progress, rate, lease.renew)
            return _Backup(store, place, pace, last).run(spool, named & there, sizes)
        finally:
            shutil.rmtree(spool, ignore_errors=True)


class _Pace:
    """Tells how far the copying has come, and holds it to a rate."""

    def __init__(self, progress: Progress, rate: int | None, renew: Callable[[], None]) -> None:
        self._progress = progress
        self._renew = renew
        self._rate = rate
        self._began = time.monotonic()
        self._done = self._total = 0

    def expect(self, total: int) -> None:
        self._total = total

    def add(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)
        self._renew()
        if self._rate:
            ahead = self._done / self._rate - (time.monotonic() - self._began)
            if ahead > 0:
                time.sleep(ahead)


class _Backup:
    def __init__(self, store: Store, place: Place, pace: _Pace, last: Snapshot | None) -> None:
        self._store = store
        self._last = last
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
            files = [
                (key, value[:1], _size_of(transaction, value))
                for key, value in transaction.scan(FILES)
            ]
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
        if self._last is None:
            return {}
        try:
            return {one.file_id: one for one in read_files(self._place, self._last)}
        except (BackupFailed, Corrupt):
            return {}

    def _copy_files(
        self,
        listed: list[tuple[bytes, bytes, int]],
        sizes: dict[str, int],
        known: dict[bytes, DataFile],
    ) -> list[DataFile]:
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
        for piece in self._place.stream(snapshot.file_object(file_id)):
            there.update(piece)
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
    data = place.read(snapshot.segment_object(name))
    if data is None:
        raise BackupFailed(f"the segment {name} is gone: make a new backup")
    return segments.rows_of(segments.decompress(data, name))
