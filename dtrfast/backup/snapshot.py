"""What a backup says of one moment: which rows and which files belong to it."""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from dtrfast.backup.place import Place
from dtrfast.errors import BackupFailed, Corrupt
from dtrfast.store.records import LOOSE_FILE, PACK_FILE
from dtrfast.times import rfc3339

MARKER = "dtrfast-backup"
FORMAT = 1
_SNAPSHOTS = "snapshots/"
_match_hex = re.compile(r"[0-9a-f]{64}").fullmatch
_match_name = re.compile(r"snapshots/([0-9TZ:.-]{20,30}-[0-9a-f]{8}\.json)").fullmatch

_FILE = struct.Struct("<1sQ16s")  # kind, size, XXH3-128


class Marker(msgspec.Struct, frozen=True):
    """Whose backups a place has."""

    format: int
    store: str


class LogFile(msgspec.Struct, frozen=True):
    """A file of the change log or of the audit events, as long as it was."""

    name: str
    size: int
    sha256: str


class Snapshot(msgspec.Struct, frozen=True):
    """A moment of a store. Tables and files are lists of segments' names. New fields come with a
    default.
    """

    format: int
    store: str
    made_at: float  # seconds since the epoch
    change_number: int
    tables: dict[str, tuple[str, ...]]
    files: tuple[str, ...]
    logs: tuple[LogFile, ...]
    file_count: int
    file_bytes: int
    new_bytes: int  # that this backup added to the place
    missing: tuple[str, ...] = ()  # files that the index named and the disk had not

    @property
    def segments(self) -> set[str]:
        return {*self.files, *(name for names in self.tables.values() for name in names)}


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
        """Raises `Corrupt` for what is no file of ours: names of files are made of this."""
        if len(key) != 16 or len(value) < _FILE.size or value[:1] not in (LOOSE_FILE, PACK_FILE):
            raise Corrupt("a backup names something that is no file of a store")
        return DataFile(key, *_FILE.unpack_from(value))


def file_object(file_id: bytes) -> str:
    name = file_id.hex()
    return f"files/{name[-2:]}/{name}"


def segment_object(name: str) -> str:
    """Raises `Corrupt` for what is no name of a segment."""
    if not _match_hex(name):
        raise Corrupt("a backup names a segment that cannot be one")
    return f"rows/{name[:2]}/{name}"


def log_object(log: LogFile) -> str:
    if not _match_hex(log.sha256):
        raise Corrupt("a backup names a log that cannot be one")
    return f"logs/{log.sha256}"


def claim(place: Place, store_id: uuid.UUID) -> None:
    """Make the place this store's, or check that it is. Raises `BackupFailed`."""
    text = msgspec.json.encode(Marker(FORMAT, str(store_id)))
    if place.create(MARKER, text):
        return
    marker = read_marker(place)
    if marker.store != str(store_id):
        raise BackupFailed(
            f"{place.text} has the backups of another store ({marker.store}): name another place"
        )


def read_marker(place: Place) -> Marker:
    """Raises `BackupFailed` when there are no backups, or those of a newer dtrfast."""
    data = place.read(MARKER)
    if data is None:
        raise BackupFailed(f"there are no backups in {place.text}")
    try:
        marker = msgspec.json.decode(data, type=Marker)
    except msgspec.DecodeError as error:
        raise BackupFailed(f"{place.text}: {MARKER} cannot be read") from error
    if marker.format > FORMAT:
        raise BackupFailed(f"{place.text} was written by a newer dtrfast: use that one")
    return marker


def newest(place: Place) -> Snapshot | None:
    """The newest snapshot that can be read."""
    for name in reversed(names(place)):
        try:
            return read(place, name)
        except Corrupt:
            continue
    return None


def write(place: Place, snapshot: Snapshot) -> str:
    """Write a snapshot, which makes the backup one; returns its name."""
    name = f"{rfc3339(snapshot.made_at)}-{uuid.uuid4().hex[:8]}.json"
    place.put(_SNAPSHOTS + name, msgspec.json.encode(snapshot))
    return name


def names(place: Place) -> list[str]:
    """The names of all snapshots, oldest first."""
    found = (_match_name(entry.name) for entry in place.found(_SNAPSHOTS))
    return sorted(match[1] for match in found if match)


def read(place: Place, name: str) -> Snapshot:
    """Raises `BackupFailed`, `Corrupt`."""
    data = place.read(_SNAPSHOTS + name)
    if data is None:
        raise BackupFailed(f"there is no snapshot {name} in {place.text}")
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except msgspec.DecodeError as error:
        raise Corrupt(f"the snapshot {name} cannot be read ({error})") from error
    if snapshot.format > FORMAT:
        raise BackupFailed(f"the snapshot {name} was written by a newer dtrfast: use that one")
    return snapshot


def delete(place: Place, gone: list[str]) -> None:
    place.delete([_SNAPSHOTS + name for name in gone])


def choose(place: Place, until: float | None, tell: Callable[[str], None]) -> tuple[str, Snapshot]:
    """The newest snapshot, or the newest that is not later than `until`. Raises `BackupFailed`.

    One that is damaged is passed over, and told.
    """
    for name in reversed(names(place)):
        try:
            snapshot = read(place, name)
        except Corrupt as error:
            tell(str(error))
            continue
        if until is None or snapshot.made_at <= until:
            return name, snapshot
    when = "" if until is None else f" of {rfc3339(until)} or before"
    raise BackupFailed(f"there is no snapshot{when} in {place.text}")
