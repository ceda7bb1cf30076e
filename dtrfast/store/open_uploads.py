"""Bounds on the uploads that one user has open: in a repository, and in all of them.

Each user has a small file in `locks/uploads` that lists the uploads it began. An upload is listed
before its state file is made, and nothing is written when it ends: the list is *weeded* when it has
grown, and then loses those without a state file. So the list never misses an upload, whatever dies
when, and a begin costs one short append. The file is locked from counting to making the state file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dtrfast.errors import UploadBusy, UploadsTooMany, UploadUnknown
from dtrfast.store import disk, leftovers
from dtrfast.store.blobs import OpenBound
from dtrfast.store.context import Context
from dtrfast.store.upload_state import StateFile

_HEAD = struct.Struct("<QQ")  # entries after the last weeding, second of that weeding
_ENTRY_SIZE = 24  # hash of the repository's name (8), file id (16)
_HASH_SIZE = 8
# A list is weeded when it is twice as long as it was, and by so much longer.
_GROWTH = 256
# Weeding looks at every upload of a user, which takes 3 ms for so many. A longer list is weeded at
# most once in so many seconds.
_SHORT = 1500
_WEED_SECONDS = 1
# Uploads that nobody wrote to for so long make room for new ones of the same user.
IDLE_SECONDS = 3600
# So many at a time: each costs some file operations.
_DROPPED_MAX = 50


class _Entry(NamedTuple):
    """An upload in a list."""

    repository: bytes
    file_id: bytes


class _List:
    """A user's list, open and locked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        head = os.pread(descriptor, _HEAD.size, 0)
        self.count, self.weeded_at = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
        self._length = max(0, os.fstat(descriptor).st_size - _HEAD.size) // _ENTRY_SIZE
        self._read: bytes | None = None

    def __len__(self) -> int:
        return self._length

    @property
    def _data(self) -> bytes:
        if self._read is None:
            self._read = os.pread(self._descriptor, self._length * _ENTRY_SIZE, _HEAD.size)
        return self._read

    def entries(self) -> Iterator[_Entry]:
        for at in range(0, len(self._data), _ENTRY_SIZE):
            entry = self._data[at : at + _ENTRY_SIZE]
            yield _Entry(entry[:_HASH_SIZE], entry[_HASH_SIZE:])

    def count_of(self, repository: bytes) -> int:
        """Entries of a repository."""
        return self._data.count(repository) if self._length else 0

    def append(self, entry: _Entry) -> None:
        """The last that is done with the list."""
        at = _HEAD.size + self._length * _ENTRY_SIZE
        disk.write_at(self._descriptor, [entry.repository + entry.file_id], at)

    def replace(self, entries: Iterable[_Entry], now: int) -> None:
        self._read = b"".join(entry.repository + entry.file_id for entry in entries)
        self._length = self.count = len(self._read) // _ENTRY_SIZE
        self.weeded_at = now
        # Entries that come twice, if this process dies before the file is cut, do no harm.
        disk.write_at(self._descriptor, [_HEAD.pack(self.count, now) + self._read], 0)
        disk.cut_off(self._descriptor, _HEAD.size + len(self._read))


@contextmanager
def entered(context: Context, name: str, file_id: bytes, bound: OpenBound) -> Iterator[None]:
    """List an upload, which the block begins. Raises `UploadsTooMany`, after uploads of the same
    user that are idle were dropped.
    """
    entry = _Entry(_hash(name, _HASH_SIZE), file_id)
    with _locked(_path(context, bound.owner)) as listed:
        if len(listed) >= 2 * listed.count + _GROWTH:
            _weed(context, listed)
        if _is_full(listed, entry, bound):
            _make_room(context, listed, entry, bound)
        listed.append(entry)
        yield


def _make_room(context: Context, listed: _List, entry: _Entry, bound: OpenBound) -> None:
    """Raises `UploadsTooMany` where there is none to make."""
    if len(listed) <= _SHORT or context.clock() - listed.weeded_at >= _WEED_SECONDS:
        touched = _weed(context, listed)
        if _is_full(listed, entry, bound):
            _drop_idle(context, listed, entry, bound, touched)
    if _is_full(listed, entry, bound):
        is_of_name = listed.count_of(entry.repository) >= bound.name_max
        count = bound.name_max if is_of_name else bound.all_max
        raise UploadsTooMany(
            f"{count} uploads {'to this repository ' if is_of_name else ''}are open, which is the"
            " most for one user: finish some, or cancel them with DELETE; an upload that is idle"
            " for an hour makes room by itself"
        )


def forget_empty(context: Context) -> int:
    """Remove the lists of users without an upload; returns how many."""
    removed = 0
    for path in _directory(context).glob("*"):
        is_old = context.clock() - path.stat().st_mtime > IDLE_SECONDS
        if is_old:
            with _locked(path) as listed:
                _weed(context, listed)
                if not len(listed):
                    disk.remove(path)
                    removed += 1
    return removed


def _is_full(listed: _List, entry: _Entry, bound: OpenBound) -> bool:
    if len(listed) >= bound.all_max:
        return True
    return len(listed) >= bound.name_max and listed.count_of(entry.repository) >= bound.name_max


def _weed(context: Context, listed: _List) -> dict[_Entry, float]:
    """Drop the entries of uploads that have ended; returns when the others were written to."""
    touched = {entry: _touched_at(context, entry) for entry in listed.entries()}
    open_ones = {entry: at for entry, at in touched.items() if at}
    listed.replace(open_ones, context.clock())
    return open_ones


def _drop_idle(
    context: Context,
    listed: _List,
    entry: _Entry,
    bound: OpenBound,
    touched: dict[_Entry, float],
) -> None:
    """Cancel the uploads that have been idle the longest, some at a time."""
    is_of_name = listed.count_of(entry.repository) >= bound.name_max
    due = context.clock() - IDLE_SECONDS
    idle = sorted(
        (at, other)
        for other, at in touched.items()
        if at <= due and (not is_of_name or other.repository == entry.repository)
    )
    dropped = {other for _, other in idle[:_DROPPED_MAX] if _drop(context, other)}
    listed.replace([e for e in touched if e not in dropped], listed.weeded_at)


def _touched_at(context: Context, entry: _Entry) -> float:
    """When the upload was written to last; 0 if it has ended."""
    try:
        return os.stat(context.layout.upload(entry.file_id, "state")).st_mtime
    except FileNotFoundError:
        return 0.0


def _drop(context: Context, entry: _Entry) -> bool:
    """Cancel an upload unless a request holds it; whether it is gone."""
    path = context.layout.upload(entry.file_id, "state")
    try:
        state_file = StateFile.open(path, wait_seconds=0)
    except UploadUnknown:
        return True
    except UploadBusy:
        return False
    try:
        if _touched_at(context, entry) > context.clock() - IDLE_SECONDS:
            return False
        leftovers.remove_upload(context, entry.file_id)
        return True
    finally:
        state_file.close()


@contextmanager
def _locked(path: Path) -> Iterator[_List]:
    descriptor = _open_locked(path)
    try:
        yield _List(descriptor)
    finally:
        os.close(descriptor)  # unlocks


def _open_locked(path: Path) -> int:
    while True:
        descriptor = _open(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # removed meanwhile: it was empty


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with disk.reported():
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            return os.open(path, flags, 0o600)


def _directory(context: Context) -> Path:
    return context.layout.locks / "uploads"


def _path(context: Context, owner: str) -> Path:
    return _directory(context) / _hash(owner, 16).hex()


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()
