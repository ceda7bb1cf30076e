"""The files of the change log: what the index recorded, appended and synced.

One process writes, the housekeeper; it begins a file of its own. A crash repeats records at most,
and those are told by their sequence number. `docs/format.md` has the bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import xxhash

from dtrfast.errors import DtrfastError
from dtrfast.index.changes import Change, decode
from dtrfast.machine import disk, paths

_HEAD = struct.Struct("<4sIQ")  # magic, length and XXH3-64 of what follows
_MAGIC = b"DTRC"
_FILE_SIZE_MAX = 64 << 20


class ChangeLog:
    """Writes the log in one directory. One thread.

    A file is only appended to by the object that began it, and not behind a failure: what a sync
    that failed has left of a file, nobody knows.
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
        """Write encoded changes; they are on stable storage then. Raises `StorageFull`,
        `StorageFailed`.
        """
        if self._descriptor < 0 or self._size >= _FILE_SIZE_MAX:
            self._begin_file()
        try:
            self._size += disk.write_at(
                self._descriptor, [_record(p) for p in payloads], self._size
            )
            disk.sync(self._descriptor)
        except DtrfastError:
            self.close()
            raise

    def _begin_file(self) -> None:
        self.close()
        number = max(_numbers(self._directory), default=0) + 1
        self._descriptor = disk.create(paths.change_file(self._directory, number))
        self._size = 0
        disk.sync_directory(self._directory)


def read(directory: Path) -> Iterator[Change]:
    """All changes of the log in order, each once."""
    last = 0
    for number in _numbers(directory):
        for change in _scan(paths.change_file(directory, number)):
            if change.sequence > last:
                last = change.sequence
                yield change


def _numbers(directory: Path) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob("*.log"))


def _scan(path: Path) -> Iterator[Change]:
    """The whole records of a file. What is torn ends it."""
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, length, check = _HEAD.unpack(head)
            payload = file.read(length) if magic == _MAGIC else b""
            if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != check:
                return
            yield decode(payload)


def _record(payload: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, len(payload), xxhash.xxh3_64_intdigest(payload)) + payload


def size_until(path: Path, sequence: int) -> int:
    """The bytes of a log's file whose changes are not later than that one."""
    size = 0
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, length, check = _HEAD.unpack(head)
            payload = file.read(length) if magic == _MAGIC else b""
            if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != check:
                break
            if decode(payload).sequence > sequence:
                break
            size += _HEAD.size + length
    return size
