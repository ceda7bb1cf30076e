"""Making a store from a backup. One that was cut off is gone on with.

Files first, each checked by its sum, then the index, last the file that makes the directory a
store: a half-made one is never opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import xxhash

from dtrfast.backup import snapshot
from dtrfast.backup.create import Progress, read_files, read_log, read_segment
from dtrfast.backup.place import Place
from dtrfast.backup.snapshot import DataFile, LogFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt, FormatUnknown
from dtrfast.index.engine import Engine, Table, WriteTransaction
from dtrfast.index.tables import HOLDERS, META, TABLES
from dtrfast.machine import disk
from dtrfast.machine.paths import Layout
from dtrfast.machine.write_back import write_paced
from dtrfast.oci.digests import Digest
from dtrfast.store import layout as layouts
from dtrfast.store.records import LOOSE_FILE
from dtrfast.store.store import Store
from dtrfast.times import rfc3339

_ROWS_MAX = 1000
_READ_SIZE = 1 << 20
# More than are given out between a backup and its restore.
_IDS_SKIPPED = 1_000_000

Tell = Callable[[str], None]


def restore(
    place: Place,
    data: Path,
    progress: Progress,
    tell: Tell,
    *,
    until: float | None = None,
    note: Tell | None = None,
) -> Snapshot:
    """Make a store in `data`, which is empty, missing, or half restored. Raises `BackupFailed`.

    `tell` gets a sentence for each file that is damaged in the backup: what is left comes back.
    `note`, or else `tell`, gets one for each backup that is damaged and passed over.
    """
    note = tell if note is None else note
    snapshot.check_marker(place, note)
    for stray in snapshot.strays(place):
        note(stray)
    chosen = snapshot.choose(place, until, note, partial(_check_segments, place))
    for name in chosen.tables.keys() - {table.name for table in TABLES}:
        tell(f"the table {name!r} is of a newer dtrfast, and is left out")
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
        layout = self._layout
        with disk.synced(layout.data, layout.blobs, layout.packs):
            self._fetch_all()
        self._make_index()
        layouts.end_restore(layout, self._chosen.store)

    def _fetch_all(self) -> None:
        self._remove_unfinished()
        for one in read_files(self._place, self._chosen):
            self._fetch(one)
            self._done += one.size
            self._progress(self._done, self._chosen.file_bytes)
        self._fetch_logs()

    def _remove_unfinished(self) -> None:
        """Remove files that a restore was writing when it was killed."""
        with disk.reported():
            for parent in (self._layout.blobs, self._layout.packs):
                for path in parent.glob("*/.*"):
                    path.unlink()

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
            _write(temporary, _hashed(self._place.stream(one.object_name, one.size), hasher))
            with disk.reported():
                temporary.rename(path)
        except (BackupFailed, Corrupt) as error:
            self._tell(str(error))
            return
        finally:
            disk.remove(temporary)
        if hasher.digest() != one.sum:
            self._tell(f"the file {path.name} is damaged in the backup: `dtrfast verify --deep`")

    def _fetch_logs(self) -> None:
        """The logs as they were, and none of those that an earlier restore has left."""
        for target in self._layout.logs_kept:
            with disk.reported():
                target.mkdir(mode=0o700, exist_ok=True)
                target.chmod(0o700)
                for path in target.iterdir():
                    path.unlink()
        for log in self._chosen.logs:
            self._fetch_log(log)

    def _fetch_log(self, log: LogFile) -> None:
        try:
            data = read_log(self._place, log)
        except (BackupFailed, Corrupt) as error:
            self._tell(str(error))
            return
        with disk.reported():
            descriptor = os.open(self._layout.log_kept(log.name), os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)

    def _make_index(self) -> None:
        with Store.make_index(self._layout.data) as engine:
            for table in TABLES:
                names = self._chosen.tables.get(table.name, ())
                rows = (row for name in names for row in read_segment(self._place, name))
                _put_all(engine, table, rows)
            engine.write(_skip_ids)
            # Content that came while the backup was begun has no holder in it.
            Store.list_unheld(engine, partial(_are_held, engine))


def _skip_ids(transaction: WriteTransaction) -> None:
    """Give out no id again that accounts, tokens, trusts or repositories got after the backup: what
    was signed for them since then is still valid.
    """
    for name in (b"identity_id", b"repository_id"):
        transaction.take(META, name, _IDS_SKIPPED)


def _are_held(engine: Engine, contents: Sequence[Sequence[Digest]]) -> list[bool]:
    """See `dtrfast.store.blobs.IsHeld`; for an index that nothing else is open on."""
    with engine.read() as transaction:
        return [any(transaction.begun(HOLDERS, [n.key() for n in names])) for names in contents]


def _check_segments(place: Place, chosen: Snapshot) -> None:
    """Read all rows before anything is written. Raises `BackupFailed`, `Corrupt`."""
    try:
        for name in chosen.segments:
            for _ in read_segment(place, name):
                pass
        for _ in read_files(place, chosen):
            pass
    except Corrupt as error:
        raise Corrupt(f"the backup of {rfc3339(chosen.made_at)} is not whole ({error})") from error


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    descriptor = disk.create(path)
    try:
        write_paced(descriptor, pieces)
    finally:
        os.close(descriptor)


def _hashed(pieces: Iterator[bytes], hasher: xxhash.xxh3_128) -> Iterator[bytes]:
    for piece in pieces:
        hasher.update(piece)
        yield piece


def _is_there(path: Path, one: DataFile) -> bool:
    """Whether a restore that was cut off has fetched the file whole."""
    if disk.size_of(path) != one.size or not path.exists():
        return False
    hasher = xxhash.xxh3_128()
    with disk.reported(), path.open("rb") as file:
        while data := file.read(_READ_SIZE):
            hasher.update(data)
    return hasher.digest() == one.sum


def _put_all(engine: Engine, table: Table, rows: Iterator[tuple[bytes, bytes]]) -> None:
    while some := list(islice(rows, _ROWS_MAX)):
        engine.write(partial(_put, table=table, rows=some))


def _put(transaction: WriteTransaction, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
    for key, value in rows:
        transaction.put(table, key, value)
