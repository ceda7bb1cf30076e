"""The maintenance of backups: checking that they are complete, and deleting old ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import xxhash

from dtrfast.backup import leases, snapshot
from dtrfast.backup.create import ProgressCallback, read_files, read_log, read_segment
from dtrfast.backup.place import BackupPlace, whole_name
from dtrfast.backup.snapshot import DataFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt, Unreadable

# A prune keeps younger objects: a running backup may have copied them, and no snapshot names them
# yet.
_YOUNG_SECONDS = 86_400
_DELETED_MAX = 10_000  # objects deleted between two checks of the lease


def verify(place: BackupPlace, progress: ProgressCallback) -> Iterator[str]:
    """Read all objects that the snapshots name. Yields a sentence for each that is missing or
    damaged. Raises `BackupFailed`.
    """
    findings: list[str] = []
    snapshot.check_marker(place, findings.append)
    yield from findings
    yield from snapshot.strays(place)
    snapshots = []
    names = snapshot.names(place)
    if not names:
        yield snapshot.absence(place)
    for name in names:
        try:
            snapshots.append(snapshot.read(place, name))
        except Unreadable as error:
            yield str(error)
        except Corrupt as error:
            yield f"{error}; `dtrfast backups prune` deletes it"
    yield from _verify_segments(place, snapshots)
    files: dict[bytes, DataFile] = {}
    for one in snapshots:
        with suppress(BackupFailed, Corrupt):  # reported above
            files.update((file.file_id, file) for file in read_files(place, one))
    yield from _verify_files(place, list(files.values()), progress)
    for log in {log.sha256: log for one in snapshots for log in one.logs}.values():
        try:
            read_log(place, log)
        except (BackupFailed, Corrupt) as error:
            yield str(error)


def _verify_segments(place: BackupPlace, snapshots: list[Snapshot]) -> Iterator[str]:
    listed = {name for one in snapshots for name in one.files}
    for name in sorted({name for one in snapshots for name in one.segments}):
        try:
            for row in read_segment(place, name):
                if name in listed:
                    DataFile.of_row(*row)
        except (BackupFailed, Corrupt) as error:
            yield str(error)


def _verify_files(
    place: BackupPlace, files: list[DataFile], progress: ProgressCallback
) -> Iterator[str]:
    total, done = sum(one.size for one in files), 0
    for one in files:
        hasher, size = xxhash.xxh3_128(), 0
        try:
            for piece in place.stream(one.object_name, one.size):
                hasher.update(piece)
                size += len(piece)
                done += len(piece)
                progress(done, total)
        except BackupFailed as error:
            yield str(error)
            continue
        except Corrupt as error:
            yield f"{error}: {snapshot.healing(one.object_name)}"
            continue
        if (size, hasher.digest()) != (one.size, one.sum):
            yield f"the file {one.object_name} is damaged: {snapshot.healing(one.object_name)}"


def prune(
    place: BackupPlace,
    *,
    keep_last: int,
    keep_days: float,
    now: float | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[list[str], int]:
    """Delete old snapshots, then the objects that no snapshot needs.

    The last `keep_last` snapshots stay, those of the last `keep_days` days, and always at least
    one. Returns the names of the deleted snapshots, and the size of the deleted objects in bytes.
    `progress` gets that size while it grows, with the total 0: no listing counts it before. Raises
    `BackupFailed`, also while a backup runs in the same place.
    """
    now = time.time() if now is None else now
    snapshot.read_marker(place)
    with leases.held(place, "prune") as lease:
        kept, gone = _divide(place, max(1, keep_last), now - keep_days * 86_400, keep_days > 0)
        # This list comes before any deletion, so a missing segment ends the prune here.
        needed: set[str] = set()
        for one in kept:
            needed |= {snapshot.segment_object(name) for name in one.segments}
            needed |= {snapshot.log_object(log) for log in one.logs}
            needed |= {file.object_name for file in read_files(place, one)}
        lease.check()
        snapshot.delete(place, gone)
        freed = 0
        for prefix in ("files/", "rows/", "logs/"):
            old = (
                entry
                for entry in place.found(prefix)
                if whole_name(entry.name) not in needed and entry.modified_at < now - _YOUNG_SECONDS
            )
            while batch := list(islice(old, _DELETED_MAX)):
                lease.check()
                place.delete([entry.name for entry in batch])
                freed += sum(entry.size for entry in batch)
                if progress is not None:
                    progress(freed, 0)
        return gone, freed


def _divide(
    place: BackupPlace, keep_last: int, young: float, by_age: bool
) -> tuple[list[Snapshot], list[str]]:
    """Return the snapshots to keep, and the names of those to delete, damaged ones among them.

    Raises `BackupFailed` if no snapshot can be read, and `Unreadable` if the disk does not give a
    snapshot now: it may be sound.
    """
    readable: list[tuple[str, Snapshot]] = []
    gone = []
    for name in snapshot.names(place):
        try:
            readable.append((name, snapshot.read(place, name)))
        except Unreadable:
            raise
        except Corrupt:
            gone.append(name)
    if not readable:
        raise BackupFailed(
            f"no snapshot in {place.text} can be read, so nothing is deleted: make a new backup"
            " first"
        )
    kept = []
    for position, (name, one) in enumerate(readable):
        is_last = position >= len(readable) - keep_last
        if is_last or (by_age and one.made_at >= young):
            kept.append(one)
        else:
            gone.append(name)
    return kept, gone
