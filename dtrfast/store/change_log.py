"""The change log's second half: what the index recorded, appended to files and synced.

One process writes, the housekeeper; it begins a file of its own. Rows leave the index only after
their records are synced, so a crash repeats records at most, and those are told by their sequence
number. `docs/format.md` has the bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import xxhash

from dtrfast.errors import DtrfastError
from dtrfast.index import changes
from dtrfast.index.changes import Change
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import CHANGES
from dtrfast.machine import disk, paths

_HEAD = struct.Struct("<4sIQ")  # magic, length and XXH3-64 of what follows
_MAGIC = b"DTRC"
_FILE_SIZE_MAX = 64 << 20
# What is taken from the index at a time: below a group's limit of rows, and little memory.
_BATCH_MAX = 500
_BATCH_BYTES_MAX = 4 << 20


class ChangeLog:
    """Writes the log of one store. One thread.

    A file is only appended to by the object that began it, and not behind a failure: what a sync
    that failed has left of a file, nobody knows.
    """

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory
        self._descriptor = -1
        self._size = 0

    def drain(self) -> int:
        """Move what waits in the index to the files; returns how many changes that were."""
        total = 0
        while rows := self._waiting():
            self._append([data for _, data in rows])
            self._engine.write(partial(_delete, keys=[key for key, _ in rows]))
            total += len(rows)
        return total

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _waiting(self) -> list[tuple[bytes, bytes]]:
        """The oldest changes, at least one if there is any: manifests make some of them large."""
        rows: list[tuple[bytes, bytes]] = []
        size = 0
        with self._engine.read() as transaction:
            for row in transaction.scan(CHANGES, limit=_BATCH_MAX):
                rows.append(row)
                size += len(row[1])
                if size >= _BATCH_BYTES_MAX:
                    break
        return rows

    def _append(self, payloads: list[bytes]) -> None:
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
            yield changes.decode(payload)


def _record(payload: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, len(payload), xxhash.xxh3_64_intdigest(payload)) + payload


def _delete(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        transaction.delete(CHANGES, key)


def size_until(path: Path, sequence: int) -> int:
    """The bytes of a log's file whose changes are not later than that one."""
    size = 0
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, length, check = _HEAD.unpack(head)
            payload = file.read(length) if magic == _MAGIC else b""
            if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != check:
                break
            if changes.decode(payload).sequence > sequence:
                break
            size += _HEAD.size + length
    return size
