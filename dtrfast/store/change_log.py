"""The files of the change log: changes that the index recorded, appended and synced.

Only the housekeeper writes; each start of it begins a new file. After a crash some records may
repeat; readers skip them by their sequence number. `docs/format.md` has the bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import xxhash

from dtrfast.errors import DtrfastError
from dtrfast.index.changes import ChangeRecord, decode
from dtrfast.machine import disk, paths

_HEAD = struct.Struct("<4sIQ")  # magic, length and XXH3-64 of the payload, which follows
_MAGIC = b"DTRC"
_FILE_SIZE_MAX = 64 << 20


class ChangeLog:
    """Writes the log in one directory. One thread.

    Only the object that began a file appends to it, and not after a failure: after a failed sync
    the content of the file is unknown.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = -1
        self._size = 0

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, payloads: list[bytes]) -> None:
        """Write encoded changes and sync them. Raises `StorageFull`, `StorageFailed`."""
        if self._descriptor < 0 or self._size >= _FILE_SIZE_MAX:
            self.close()
            number = max(_numbers(self._directory), default=0) + 1
            self._descriptor = disk.create(paths.change_file(self._directory, number))
            self._size = 0
            disk.sync_directory(self._directory)
        records = [
            _HEAD.pack(_MAGIC, len(payload), xxhash.xxh3_64_intdigest(payload)) + payload
            for payload in payloads
        ]
        try:
            self._size += disk.write_at(self._descriptor, records, self._size)
            disk.sync(self._descriptor)
        except DtrfastError:
            self.close()
            raise


def read(directory: Path) -> Iterator[ChangeRecord]:
    """All changes of the log in order, each once."""
    last = 0
    for number in _numbers(directory):
        for change, _ in _scan(paths.change_file(directory, number)):
            if change.sequence > last:
                last = change.sequence
                yield change


def _numbers(directory: Path) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob("*.log"))


def _scan(path: Path) -> Iterator[tuple[ChangeRecord, int]]:
    """The changes of a file, and the end of each record in bytes. Ends at a torn record."""
    end = 0
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, length, check = _HEAD.unpack(head)
            payload = file.read(length) if magic == _MAGIC else b""
            if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != check:
                return
            end += _HEAD.size + length
            yield decode(payload), end


def size_until(path: Path, sequence: int) -> int:
    """Return the size in bytes of the records at the start of a file up to that sequence number."""
    size = 0
    for change, end in _scan(path):
        if change.sequence > sequence:
            break
        size = end
    return size
