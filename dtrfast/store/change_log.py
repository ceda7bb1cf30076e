"""The change log's second half: what the index recorded, appended to files and synced.

One process writes, the housekeeper. A file is a run of records; the newest is appended to until it
is full. Rows leave the index only after their records are synced, so a crash repeats records at
most, and those are told by their sequence number. `docs/format.md` has the bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import xxhash

from dtrfast.index import changes
from dtrfast.index.changes import Change
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import CHANGES
from dtrfast.store import disk

_HEAD = struct.Struct("<4sIQ")  # magic, length and XXH3-64 of what follows
_MAGIC = b"DTRC"
_FILE_SIZE_MAX = 64 << 20
_BATCH_MAX = 500  # rows taken from the index at a time: below a group's limit


class ChangeLog:
    """Writes the log of one store. One thread."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory
        self._descriptor = -1
        self._size = 0
        self._sequence = 0  # of the last record in the files

    def drain(self) -> int:
        """Move what waits in the index to the files; returns how many changes that were."""
        total = 0
        while rows := self._waiting():
            self._append(rows)
            self._engine.write(partial(_delete, keys=[key for key, _ in rows]))
            total += len(rows)
        return total

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _waiting(self) -> list[tuple[bytes, bytes]]:
        with self._engine.read() as transaction:
            return list(transaction.scan(CHANGES, limit=_BATCH_MAX))

    def _append(self, rows: list[tuple[bytes, bytes]]) -> None:
        self._open()
        new = [(key, data) for key, data in rows if int.from_bytes(key, "big") > self._sequence]
        records = [_record(data) for _, data in new]
        self._size += disk.write_at(self._descriptor, records, self._size)
        disk.sync(self._descriptor)
        if new:
            self._sequence = int.from_bytes(new[-1][0], "big")

    def _open(self) -> None:
        """Open the newest file behind its last whole record, or the next one when it is full."""
        if self._descriptor >= 0 and self._size < _FILE_SIZE_MAX:
            return
        self.close()
        numbers = _numbers(self._directory)
        number = numbers[-1] if numbers else 1
        if self._size >= _FILE_SIZE_MAX:
            number += 1
        path = self._directory / f"{number:08d}.log"
        with disk.reported():
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        disk.sync_directory(self._directory)
        self._size = 0
        for change, end in _scan(path):
            self._size, self._sequence = end, change.sequence
        disk.truncate(self._descriptor, self._size)


def read(directory: Path) -> Iterator[Change]:
    """All changes of the log in order, each once."""
    last = 0
    for number in _numbers(directory):
        for change, _ in _scan(directory / f"{number:08d}.log"):
            if change.sequence > last:
                last = change.sequence
                yield change


def _numbers(directory: Path) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob("*.log"))


def _scan(path: Path) -> Iterator[tuple[Change, int]]:
    """The whole records of a file, each with the offset behind it. What is torn ends the file."""
    with path.open("rb") as file:
        offset = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            magic, length, check = _HEAD.unpack(head)
            payload = file.read(length) if magic == _MAGIC else b""
            if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != check:
                return
            offset += _HEAD.size + length
            yield changes.decode(payload), offset


def _record(payload: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, len(payload), xxhash.xxh3_64_intdigest(payload)) + payload


def _delete(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        transaction.delete(CHANGES, key)
