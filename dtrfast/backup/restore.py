"""Restores: making a store from a backup. An interrupted restore can be continued.

It fetches the files and checks each one's sum, then makes the index. Last it writes the file that
makes the directory a store, so no program opens a store that is not complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import xxhash

from dtrfast.backup import snapshot
from dtrfast.backup.create import ProgressCallback, read_files, read_log, read_segment
from dtrfast.backup.place import BackupPlace
from dtrfast.backup.snapshot import DataFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt, FormatUnknown
from dtrfast.index.engine import Engine, Table, WriteTransaction
from dtrfast.index.tables import HOLDERS, META, TABLES
from dtrfast.machine import disk
from dtrfast.machine.paths import Layout
from dtrfast.machine.write_back import write_paced
from dtrfast.oci.digests import Digest
from dtrfast.store.data_directory import begin_restore, end_restore
from dtrfast.store.records import LOOSE_FILE
from dtrfast.store.store import Store
from dtrfast.times import rfc3339

_ROWS_MAX = 1000
_READ_SIZE = 1 << 20
# More ids than the server gives out between a backup and its restore.
_IDS_SKIPPED = 1_000_000

TextCallback = Callable[[str], None]


def restore_backup(
    place: BackupPlace,
    data: Path,
    progress: ProgressCallback,
    tell: TextCallback,
    *,
    until: float | None = None,
    note: TextCallback | None = None,
) -> Snapshot:
    """Make a store in the directory `data`, which must be missing, empty, or of an interrupted
    restore. Returns the restored snapshot.

    It is the newest snapshot, or the newest that was made at the time `until` (seconds since the
    epoch) or before. `tell` gets a sentence for each file that is damaged in the backup; the other
    files are restored. `note`, or else `tell`, gets a sentence for each snapshot that is damaged
    and left out. Raises `BackupFailed`, `Corrupt`.
    """
    note = tell if note is None else note
    snapshot.check_marker(place, note)
    for stray in snapshot.strays(place):
        note(stray)
    chosen = snapshot.choose(place, until, note, partial(_check_segments, place))
    for name in chosen.tables.keys() - {table.name for table in TABLES}:
        tell(f"the table {name!r} comes from a newer dtrfast and is left out")
    layout = Layout(data)
    try:
        begin_restore(layout)
    except FormatUnknown as error:
        raise BackupFailed(str(error)) from error
    _Restore(place, layout, chosen, progress, tell).run()
    return chosen


class _Restore:
    """One restore, from the files to the index."""

    def __init__(
        self,
        place: BackupPlace,
        layout: Layout,
        chosen: Snapshot,
        progress: ProgressCallback,
        tell: TextCallback,
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
            with disk.reported():
                # A killed restore leaves files with temporary names.
                for path in (*layout.blobs.glob("*/.*"), *layout.packs.glob("*/.*")):
                    path.unlink()
            for one in read_files(self._place, self._chosen):
                self._fetch(one)
                self._done += one.size
                self._progress(self._done, self._chosen.file_bytes)
            self._fetch_logs()
        with Store.make_index(layout.data) as engine:
            for table in TABLES:
                names = self._chosen.tables.get(table.name, ())
                rows = (row for name in names for row in read_segment(self._place, name))
                while batch := list(islice(rows, _ROWS_MAX)):
                    engine.write(partial(_put, table=table, rows=batch))
            engine.write(_skip_ids)
            # The store's tables are newer than the registry's, so some content has no holder.
            Store.list_unheld(engine, partial(_are_held, engine))
        end_restore(layout, self._chosen.store)

    def _fetch(self, one: DataFile) -> None:
        path = (
            self._layout.blob(one.file_id)
            if one.kind == LOOSE_FILE
            else self._layout.pack(one.file_id)
        )
        if _is_restored(path, one):
            return
        hasher = xxhash.xxh3_128()
        temporary = path.with_name(f".{path.name}")
        try:
            descriptor = disk.create(temporary)
            try:
                pieces = self._place.stream(one.object_name, one.size)
                write_paced(descriptor, _hashed(pieces, hasher))
            finally:
                os.close(descriptor)
            with disk.reported():
                temporary.rename(path)
        except (BackupFailed, Corrupt) as error:
            self._tell(str(error))
            return
        finally:
            disk.remove(temporary)
        if hasher.digest() != one.sum:
            self._tell(
                f"the file {path.name} is damaged in the backup: run `dtrfast verify --deep`"
            )

    def _fetch_logs(self) -> None:
        """Restore the logs, after the removal of those that an earlier restore left."""
        for target in self._layout.logs_kept:
            with disk.reported():
                target.mkdir(mode=0o700, exist_ok=True)
                target.chmod(0o700)
                for path in target.iterdir():
                    path.unlink()
        for log in self._chosen.logs:
            try:
                data = read_log(self._place, log)
            except (BackupFailed, Corrupt) as error:
                self._tell(str(error))
                continue
            with disk.reported():
                path = self._layout.log_kept(log.name)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)


def _skip_ids(transaction: WriteTransaction) -> None:
    """Skip the ids that accounts, tokens, trusts and repositories may have got after the backup.
    Tokens that were signed for them since then are still valid.
    """
    for name in (b"identity_id", b"repository_id"):
        transaction.take(META, name, _IDS_SKIPPED)


def _are_held(engine: Engine, contents: Sequence[Sequence[Digest]]) -> list[bool]:
    """Implement `dtrfast.store.blobs.IsHeld`, on an index that no other program has open."""
    with engine.read() as transaction:
        return [any(transaction.begun(HOLDERS, [n.key() for n in names])) for names in contents]


def _check_segments(place: BackupPlace, chosen: Snapshot) -> None:
    """Read all rows of a snapshot, to be sure of them before the restore writes anything. Raises
    `BackupFailed`, `Corrupt`.
    """
    try:
        for name in chosen.segments:
            for _ in read_segment(place, name):
                pass
        for _ in read_files(place, chosen):
            pass
    except Corrupt as error:
        raise Corrupt(f"the backup of {rfc3339(chosen.made_at)} is damaged ({error})") from error


def _hashed(pieces: Iterator[bytes], hasher: xxhash.xxh3_128) -> Iterator[bytes]:
    for piece in pieces:
        hasher.update(piece)
        yield piece


def _is_restored(path: Path, one: DataFile) -> bool:
    """Return True if an interrupted restore has already fetched the whole file."""
    if disk.size_of(path) != one.size or not path.exists():
        return False
    hasher = xxhash.xxh3_128()
    with disk.reported(), path.open("rb") as file:
        while data := file.read(_READ_SIZE):
            hasher.update(data)
    return hasher.digest() == one.sum


def _put(transaction: WriteTransaction, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
    for key, value in rows:
        transaction.put(table, key, value)
