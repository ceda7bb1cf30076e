"""Making a store from a backup. One that was cut off is gone on with.

Files first, each checked by its sum, then the index, last the file that makes the directory a
store: a half-made one is never opened.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import xxhash

from dtrfast.backup import segments, snapshot
from dtrfast.backup.create import Progress, read_files, read_segment
from dtrfast.backup.place import Place
from dtrfast.backup.snapshot import DataFile, LogFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt, FormatUnknown
from dtrfast.index.engine import Engine, Table, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import TABLES
from dtrfast.store import disk
from dtrfast.store import layout as layouts
from dtrfast.store.layout import Layout
from dtrfast.store.records import LOOSE_FILE

_ROWS_MAX = 1000
_READ_SIZE = 1 << 20
_LOGS = {"log": ".log", "audit": ".jsonl"}

Tell = Callable[[str], None]


def restore(
    place: Place, data: Path, progress: Progress, tell: Tell, *, until: float | None = None
) -> Snapshot:
    """Make a store in `data`, which is empty, missing, or half restored. Raises `BackupFailed`.

    `tell` gets a sentence for each file that is damaged in the backup: what is left comes back.
    """
    snapshot.read_marker(place)
    _, chosen = snapshot.choose(place, until, tell)
    layout = Layout(data)
    try:
        layouts.begin_restore(layout)
    except FormatUnknown as error:
        raise BackupFailed(str(error)) from error
    _Restore(place, layout, chosen, progress, tell).run()
    return chosen


class _Restore:
    def __init__(
        self, place: Place, layout: Layout, chosen: Snapshot, progress: Progress, tell: Tell
    ) -> None:
        self._place = place
        self._layout = layout
        self._chosen = chosen
        self._progress = progress
        self._tell = tell
        self._done = 0

    def run(self) -> None:
        for one in read_files(self._place, self._chosen):
            self._fetch(one)
            self._done += one.size
            self._progress(self._done, self._chosen.file_bytes)
        for log in self._chosen.logs:
            self._fetch_log(log)
        os.sync()
        self._make_index()
        layouts.end_restore(self._layout, uuid.UUID(self._chosen.store))

    def _fetch(self, one: DataFile) -> None:
        path = (
            self._layout.blob(one.file_id)
            if one.kind == LOOSE_FILE
            else self._layout.pack(one.file_id)
        )
        if _is_there(path, one):
            return
        hasher = xxhash.xxh3_128()
        temporary = path.with_name(f".{path.name}")
        try:
            with disk.reported(), temporary.open("wb") as file:
                for piece in self._place.stream(one.object_name):
                    hasher.update(piece)
                    file.write(piece)
        except BackupFailed as error:
            self._tell(str(error))
            disk.remove(temporary)
            return
        if hasher.digest() != one.sum:
            self._tell(f"the file {path.name} is damaged in the backup: `dtrfast verify --deep`")
        temporary.rename(path)

    def _fetch_log(self, log: LogFile) -> None:
        directory, _, name = log.name.partition("/")
        if not name.removesuffix(_LOGS.get(directory, "?")).isdigit():
            raise Corrupt(f"a backup names the log {log.name!r}")
        data = self._place.read(snapshot.log_object(log))
        if data is None or segments.name_of(data) != log.sha256:
            self._tell(f"the log {log.name} is damaged in the backup")
            return
        target = self._layout.data / directory
        with disk.reported():
            target.mkdir(exist_ok=True)
            (target / name).write_bytes(data)

    def _make_index(self) -> None:
        shutil.rmtree(self._layout.index)
        self._layout.index.mkdir(mode=0o700)
        engine = LmdbEngine(self._layout.index, TABLES)
        try:
            for table in TABLES:
                names = self._chosen.tables.get(table.name, ())
                rows = (row for name in names for row in read_segment(self._place, name))
                _put_all(engine, table, rows)
        finally:
            engine.close()


def _is_there(path: Path, one: DataFile) -> bool:
    """Whether a restore that was cut off has fetched the file whole."""
    if disk.size_of(path) != one.size or not path.exists():
        return False
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while data := file.read(_READ_SIZE):
            hasher.update(data)
    return hasher.digest() == one.sum


def _put_all(engine: Engine, table: Table, rows: Iterator[tuple[bytes, bytes]]) -> None:
    while some := list(islice(rows, _ROWS_MAX)):
        engine.write(partial(_put, table=table, rows=some))


def _put(transaction: WriteTransaction, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
    for key, value in rows:
        transaction.put(table, key, value)
