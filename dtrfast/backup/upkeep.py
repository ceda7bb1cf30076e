"""Looking after backups: are they whole, and which are no longer needed?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

import xxhash

from dtrfast.backup import leases, snapshot
from dtrfast.backup.create import Progress, read_files, read_log, read_segment
from dtrfast.backup.directory import Found
from dtrfast.backup.leases import Lease
from dtrfast.backup.place import Place, whole_name
from dtrfast.backup.snapshot import DataFile, Snapshot
from dtrfast.errors import BackupFailed, Corrupt, Unreadable

# What a backup that is running has copied, and no snapshot names yet, stays that long.
_YOUNG_SECONDS = 86_400
_DELETED_MAX = 10_000  # between two looks at the lease


def verify(place: Place, progress: Progress) -> Iterator[str]:
    """Read all that the snapshots name; give a sentence for each thing that is not whole. Raises
    `BackupFailed`.
    """
    told: list[str] = []
    snapshot.check_marker(place, told.append)
    yield from told
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
        with suppress(BackupFailed, Corrupt):  # told above
            files.update((file.file_id, file) for file in read_files(place, one))
    yield from _verify_files(place, list(files.values()), progress)
    for log in {log.sha256: log for one in snapshots for log in one.logs}.values():
        try:
            read_log(place, log)
        except (BackupFailed, Corrupt) as error:
            yield str(error)


def _verify_segments(place: Place, snapshots: list[Snapshot]) -> Iterator[str]:
    listed = {name for one in snapshots for name in one.files}
    for name in sorted({name for one in snapshots for name in one.segments}):
        try:
            for row in read_segment(place, name):
                if name in listed:
                    DataFile.of_row(*row)
        except (BackupFailed, Corrupt) as error:
            yield str(error)


def _verify_files(place: Place, files: list[DataFile], progress: Progress) -> Iterator[str]:
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
    place: Place, *, keep_last: int, keep_days: float, now: float | None = None
) -> tuple[list[str], int]:
    """Delete snapshots that are neither among the last nor younger than that, then what no
    snapshot needs; returns their names and the bytes. One is always kept. Raises `BackupFailed`,
    also while a backup is at work there.
    """
    now = time.time() if now is None else now
    snapshot.read_marker(place)
    with leases.held(place, "prune") as lease:
        kept, gone = _divide(place, max(1, keep_last), now - keep_days * 86_400, keep_days > 0)
        # What is needed is known before anything is deleted: a segment that is gone stops it here.
        needed = _needed(place, kept)
        lease.check()
        snapshot.delete(place, gone)
        return gone, _sweep(place, needed, now, lease)


def _divide(
    place: Place, keep_last: int, young: float, by_age: bool
) -> tuple[list[Snapshot], list[str]]:
    """Snapshots to keep, and the names of those to delete. One that cannot be read is of no use,
    but if none can be read, or none is left, everything stays. Raises `BackupFailed`, and
    `Unreadable` for one that the disk does not give now: it may be whole.
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


def _sweep(place: Place, needed: set[str], now: float, lease: Lease) -> int:
    """Delete old objects that nothing needs; returns their bytes."""
    freed = 0
    for prefix in ("files/", "rows/", "logs/"):
        old = (entry for entry in place.found(prefix) if _is_old(entry, needed, now))
        while some := list(islice(old, _DELETED_MAX)):
            lease.check()
            place.delete([entry.name for entry in some])
            freed += sum(entry.size for entry in some)
    return freed


def _needed(place: Place, snapshots: Iterable[Snapshot]) -> set[str]:
    needed: set[str] = set()
    for one in snapshots:
        needed |= {snapshot.segment_object(name) for name in one.segments}
        needed |= {snapshot.log_object(log) for log in one.logs}
        needed |= {file.object_name for file in read_files(place, one)}
    return needed


def _is_old(entry: Found, needed: set[str], now: float) -> bool:
    return whole_name(entry.name) not in needed and entry.modified_at < now - _YOUNG_SECONDS
