"""Snapshots: the lists of the segments and files that make a store at one moment."""

from __future__ import annotations

import hashlib
import re
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from dtrfast.backup.directory import MARKER, SNAPSHOTS
from dtrfast.backup.place import BackupPlace
from dtrfast.errors import BackupFailed, Corrupt
from dtrfast.store.records import LOOSE_FILE, PACK_FILE
from dtrfast.times import rfc3339

FORMAT = 1
FORMAT_PIECES = 2  # files may be kept in pieces, which a prune by an older dtrfast would delete
FORMAT_TIER = 3  # layers have replay recipes, which a restore by an older dtrfast would leave out
_MARKER_HEALING = "delete it, and the next backup writes it again"
# A snapshot has a name of 67 bytes for each segment of 1,024 rows or 4 MiB. So this is enough for
# two billion rows. The largest store measured had 40 million rows, 7 GB of index and a snapshot of
# 3 MB.
SIZE_MAX = 128 << 20
_MARKER_SIZE_MAX = 1 << 20  # a marker has less than a hundred bytes
_match_name = re.compile(r"snapshots/([0-9TZ:.-]{20,30}-[0-9a-f]{8}\.json)").fullmatch

# The last field of a snapshot: the SHA-256 of the text in which it is empty. Snapshots of older
# versions have none, and end with the list `missing`.
_match_sum = re.compile(rb'(.*,"sum":")([0-9a-f]{64})("})', re.DOTALL).fullmatch
_UNSUMMED_END = b"]}"

_FILE = struct.Struct("<1sQ16s")  # kind, size, XXH3-128

# Paths are built from these texts, so no other text is accepted.
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_LogName = Annotated[str, Meta(pattern=r"^(log/[0-9]{1,20}\.log|audit/[0-9]{1,20}\.jsonl)\Z")]
_Count = Annotated[int, Meta(ge=0)]
_Time = Annotated[float, Meta(ge=0, lt=253_402_300_800)]  # up to the year 9999

T = TypeVar("T")


class Marker(msgspec.Struct, frozen=True):
    """The object that names the store whose backups a place has."""

    format: int
    store: uuid.UUID


class LogFile(msgspec.Struct, frozen=True):
    """A file of the change log or of the audit events, with its size at the time of the backup."""

    name: _LogName
    size: _Count
    sha256: _Sha256


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A store at one moment. `tables` and `files` have the names of segments.

    New fields get a default and stand before `sum`.
    """

    format: int
    store: uuid.UUID
    made_at: _Time  # seconds since the epoch
    change_number: _Count
    tables: dict[str, tuple[_Sha256, ...]]
    files: tuple[_Sha256, ...]
    logs: tuple[LogFile, ...]
    file_count: _Count
    file_bytes: _Count
    new_bytes: _Count  # that this backup added to the place
    missing: tuple[str, ...] = ()  # files that the index named and the disk did not give
    sum: str = ""

    @property
    def segments(self) -> set[str]:
        """The names of all segments."""
        return {*self.files, *(name for names in self.tables.values() for name in names)}


class _Format(msgspec.Struct, frozen=True):
    format: int


@dataclass(frozen=True, slots=True)
class DataFile:
    """A loose blob or a pack. `kind` is LOOSE_FILE or PACK_FILE."""

    file_id: bytes
    kind: bytes
    size: int
    sum: bytes  # XXH3-128

    @property
    def object_name(self) -> str:
        return file_object(self.file_id)

    def row(self) -> tuple[bytes, bytes]:
        return self.file_id, _FILE.pack(self.kind, self.size, self.sum)

    @staticmethod
    def of_row(key: bytes, value: bytes) -> DataFile:
        """Return the file that a row describes. Raises `Corrupt` for a malformed row, since paths
        are built from it.
        """
        if len(key) != 16 or len(value) < _FILE.size or value[:1] not in (LOOSE_FILE, PACK_FILE):
            raise Corrupt("a backup names a file that cannot belong to a store")
        return DataFile(key, *_FILE.unpack_from(value))


def file_object(file_id: bytes) -> str:
    name = file_id.hex()
    return f"files/{name[-2:]}/{name}"


def segment_object(name: str) -> str:
    return f"rows/{name[:2]}/{name}"


def log_object(log: LogFile) -> str:
    return f"logs/{log.sha256}"


def claim(place: BackupPlace, store_id: uuid.UUID) -> None:
    """Reserve the place for a store, or check that the place is already the store's own. Raises
    `BackupFailed`.
    """
    last = newest(place)
    if last is None or last.store == store_id:
        if _marker_text(place) is None:
            place.create_once(MARKER, msgspec.json.encode(Marker(FORMAT, store_id)))
        check_marker(place, _refuse)
    owner = last.store if last is not None else read_marker(place).store
    if owner != store_id:
        raise BackupFailed(
            f"{place.text} has the backups of another store ({owner}): name another place"
        )


def _refuse(text: str) -> None:
    raise BackupFailed(text)


def read_marker(place: BackupPlace) -> Marker:
    """Return the marker of a place. Raises `BackupFailed` if there is none, if it is damaged, or if
    a newer dtrfast wrote it.
    """
    data = _marker_text(place)
    if data is None:
        raise BackupFailed(f"there are no backups in {place.text}: it has no {MARKER}")
    try:
        marker = _decode(data, Marker)
    except Corrupt as error:
        raise _marker_damage(place, error) from error
    if marker.format > FORMAT:
        raise BackupFailed(f"{place.text} was written by a newer dtrfast: use that one")
    return marker


def _marker_text(place: BackupPlace) -> bytes | None:
    try:
        return place.read(MARKER, _MARKER_SIZE_MAX)
    except Corrupt as error:
        raise _marker_damage(place, error) from error


def _marker_damage(place: BackupPlace, error: Corrupt) -> BackupFailed:
    return BackupFailed(f"{MARKER} in {place.text} is damaged ({error}): {_MARKER_HEALING}")


def check_marker(place: BackupPlace, tell: Callable[[str], None]) -> None:
    """Raise `BackupFailed` for a place without backups. Snapshots can be read without the marker:
    if only the marker is missing or damaged, `tell` gets a sentence about it.
    """
    last = newest(place)
    try:
        marker = read_marker(place)
    except BackupFailed as error:
        if last is None and not names(place):
            raise
        tell(str(error))
    else:
        if last is not None and last.store != marker.store:
            tell(
                f"{MARKER} in {place.text} names the store {marker.store}, and the newest snapshot"
                f" {last.store}: {_MARKER_HEALING}"
            )


def newest(place: BackupPlace) -> Snapshot | None:
    """Return the newest snapshot that can be read; None if there is none."""
    for name in reversed(names(place)):
        try:
            return read(place, name)
        except Corrupt:
            continue
    return None


def write(place: BackupPlace, snapshot: Snapshot) -> str:
    """Write a snapshot, which makes the backup valid. Returns its name."""
    name = f"{rfc3339(snapshot.made_at)}-{uuid.uuid4().hex[:8]}.json"
    text = msgspec.json.encode(msgspec.structs.replace(snapshot, sum=""))
    checked = msgspec.structs.replace(snapshot, sum=hashlib.sha256(text).hexdigest())
    data = msgspec.json.encode(checked)
    if len(data) > SIZE_MAX:
        raise BackupFailed(
            f"the snapshot has {len(data):,} bytes, but a restore can read {SIZE_MAX:,} at most:"
            " divide the store"
        )
    place.put(SNAPSHOTS + name, data)
    return name


def names(place: BackupPlace) -> list[str]:
    """Return the names of all snapshots, oldest first."""
    found = (_match_name(entry.name) for entry in place.found(SNAPSHOTS))
    return sorted(match[1] for match in found if match)


def absence(place: BackupPlace) -> str:
    """Return the message about a place without snapshots."""
    return (
        f"there is no snapshot in {place.text}, so nothing can be restored from it: make a new"
        " backup, or put the snapshots back"
    )


def strays(place: BackupPlace) -> Iterator[str]:
    """Yield a sentence for each entry among the snapshots that is not a snapshot, but may have been
    one.
    """
    for name in sorted(place.others(SNAPSHOTS)):
        yield (
            f"{name!r} is not a plain file, so it is not a snapshot:"
            " remove it, then make a new backup"
        )
    for name in sorted(entry.name for entry in place.found(SNAPSHOTS)):
        if name.startswith(SNAPSHOTS) and not _match_name(name):
            yield (
                f"{name!r} does not have the name of a snapshot: remove it, or, if it was one,"
                f" rename it to {SNAPSHOTS}TIME-RANDOM.json, such as"
                " 2026-01-31T12:00:00.000Z-0123abcd.json"
            )


def read(place: BackupPlace, name: str) -> Snapshot:
    """Return the snapshot with a name. Raises `BackupFailed`, `Corrupt`."""
    try:
        data = place.read(SNAPSHOTS + name, SIZE_MAX)
    except Corrupt as error:
        raise type(error)(f"the snapshot {name} cannot be read ({error})") from error
    if data is None:
        raise BackupFailed(f"there is no snapshot {name} in {place.text}")
    try:
        return _parse(data)
    except Corrupt as error:
        raise Corrupt(f"the snapshot {name} cannot be read ({error})") from error
    except BackupFailed as error:
        raise BackupFailed(f"the snapshot {name} {error}") from error


def _parse(data: bytes) -> Snapshot:
    summed = _match_sum(data)
    if summed is None and not data.endswith(_UNSUMMED_END):
        raise Corrupt("it is truncated or changed")
    if summed is not None:
        text = summed[1] + summed[3]
        if hashlib.sha256(text).hexdigest().encode() != summed[2]:
            raise Corrupt("it does not match its SHA-256")
    number = _decode(data, _Format).format
    if summed is not None and number > FORMAT_TIER:
        raise BackupFailed("was written by a newer dtrfast: use that one")
    if not FORMAT <= number <= FORMAT_TIER:
        raise Corrupt(f"its format {number} is unknown")
    return _decode(data, Snapshot)


def _decode(data: bytes, kind: type[T]) -> T:
    """Decode JSON. Raises `Corrupt` for bytes that do not fit."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise Corrupt(str(error)) from error


def delete(place: BackupPlace, gone: list[str]) -> None:
    place.delete([SNAPSHOTS + name for name in gone])


def healing(name: str) -> str:
    """Return the advice about a damaged object."""
    return f"delete {name} and make a new backup, which writes what the registry still has"


def choose(
    place: BackupPlace,
    until: float | None,
    tell: Callable[[str], None],
    check: Callable[[Snapshot], None],
) -> Snapshot:
    """Return the newest snapshot, or the newest that was made at the time `until` or before.

    A snapshot is left out if it is damaged, or if `check` raises `Corrupt`; `tell` gets the error.
    Raises `BackupFailed` if no snapshot is left.
    """
    for name in reversed(names(place)):
        try:
            snapshot = read(place, name)
            if until is not None and snapshot.made_at > until:
                continue
            check(snapshot)
        except Corrupt as error:
            tell(str(error))
            continue
        return snapshot
    when = "" if until is None else f" of {rfc3339(until)} or before"
    raise BackupFailed(
        f"there is no snapshot{when} in {place.text} that can be restored:"
        " `dtrfast backups list` shows what is there"
    )
