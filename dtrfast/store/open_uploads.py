"""Bounds on the open uploads of one user: with one name (the upload's label), and in all.

Each user has a small file in `locks/uploads`, which lists the uploads that the user began. An entry
is the hash of the name (8 bytes) and the file id (16 bytes). A new upload appends its entry without
a lock. An upload that ends writes nothing. A list that has grown is *pruned*: entries without a
state file are removed. So a list never has fewer entries than uploads are open, and a new upload
costs two system calls while its list is short.

Pruning replaces the file, under its lock. If an entry was appended to the old file meanwhile,
either the pruning process copies it, or the appending process notices and appends it again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dtrfast.errors import UploadBusy, UploadsTooMany, UploadUnknown
from dtrfast.machine import disk
from dtrfast.machine.paths import upload_name
from dtrfast.store import leftovers
from dtrfast.store.blobs import OpenBound
from dtrfast.store.context import StoreContext
from dtrfast.store.upload_state import StateFile

# Uploads that got no bytes for so long are dropped when new ones of the same user need room.
IDLE_SECONDS = 3600
# Dropped at a time: each costs some file operations.
_DROPPED_MAX = 50
_HASH_SIZE = 8
_ENTRY_SIZE = _HASH_SIZE + 16
# A list is pruned when it has twice its entries after the last pruning, and this many more.
_GROWTH = 256
# Pruning looks at every upload of a user, which takes 4 µs each. After a refusal a list that is not
# short is pruned again only after so many seconds for each entry. This bounds the cost of refusals.
_SHORT = 100
_PRUNE_SECONDS = 0.0001
# Lists that a process keeps open.
_LISTS_MAX = 256


class OpenUploads:
    """Lists uploads as they begin. Safe from many threads and processes."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        # Text, because Path objects cost more than the calls.
        self._folder = f"{context.layout.uploads}/"
        self._lists: dict[str, _List] = {}
        self._refused: dict[bytes, float] = {}  # hash of a name or an owner → time of the refusal

    def enter(self, name: str, file_id: bytes, bound: OpenBound) -> None:
        """List an upload that has just begun, which the caller holds.

        Raises `UploadsTooMany` if `bound` allows no more. Before that it drops idle uploads of the
        same owner.
        """
        entry = _hash(name, _HASH_SIZE) + file_id
        listed = self._list(bound.owner)
        while not (length := listed.append(entry)):
            self._lists.pop(bound.owner, None)
            listed = self._list(bound.owner)
        if length <= min(bound.name_max, listed.length_max):
            return
        is_within = length <= min(bound.all_max, listed.length_max)
        if not is_within or listed.count_of(entry) > bound.name_max:
            self._prune(entry, bound, length)

    def forget_empty(self) -> int:
        """Remove the lists of owners without an open upload; return their number."""
        removed = 0
        for path in self._context.layout.open_uploads.glob("*[!w]"):
            if self._context.clock() - path.stat().st_mtime > IDLE_SECONDS:
                with _locked(path) as (descriptor, entries):
                    kept = self._touched(entries)
                    _replace(path, descriptor, entries, kept)
                    removed += not kept
        return removed

    def _prune(self, entry: bytes, bound: OpenBound, length: int) -> None:
        """Prune a list and drop idle uploads, if it has too many. Raises `UploadsTooMany`."""
        if length > _SHORT:
            self._refuse_again(entry, bound, length)
        path = _path(self._context, bound.owner)
        with _locked(path) as (descriptor, entries):
            touched = self._touched(entries)
            refusal = _check(touched, entry, bound)
            if refusal is not None:
                self._drop_idle(touched, entry, bound)
                refusal = _check(touched, entry, bound)
            if refusal is not None:
                touched.pop(entry, None)
            _replace(path, descriptor, entries, touched)
        if refusal is not None:
            is_of_name = _count_of(touched, entry) >= bound.name_max
            if len(self._refused) >= _LISTS_MAX:
                self._refused = {}
            key = entry[:_HASH_SIZE] if is_of_name else _hash(bound.owner, _HASH_SIZE)
            self._refused[key] = time.monotonic()
            raise refusal

    def _refuse_again(self, entry: bytes, bound: OpenBound, length: int) -> None:
        """Raise `UploadsTooMany` again shortly after a refusal, without looking at the uploads."""
        due = time.monotonic() - length * _PRUNE_SECONDS
        if self._refused.get(entry[:_HASH_SIZE], due) > due:
            raise _refusal(bound.name_max, " to a repository")
        if length > bound.all_max and self._refused.get(_hash(bound.owner, _HASH_SIZE), due) > due:
            raise _refusal(bound.all_max, "")

    def _drop_idle(self, touched: dict[bytes, float], entry: bytes, bound: OpenBound) -> None:
        """Cancel up to `_DROPPED_MAX` uploads, those that have been idle the longest."""
        due = self._context.clock() - IDLE_SECONDS
        is_of_name = _count_of(touched, entry) > bound.name_max
        idle = sorted(
            (at, other)
            for other, at in touched.items()
            if at <= due and other != entry and (not is_of_name or _is_same_name(other, entry))
        )
        for _, other in idle[:_DROPPED_MAX]:
            if self._drop(other):
                del touched[other]

    def _drop(self, entry: bytes) -> bool:
        """Cancel an idle upload unless a request holds it; return True if it is gone."""
        file_id = entry[_HASH_SIZE:]
        try:
            path = self._context.layout.upload(file_id, "state")
            state_file = StateFile.open(path, wait_seconds=0)
        except UploadUnknown:
            return True
        except UploadBusy:
            return False
        try:
            if self._touched_at(entry) > self._context.clock() - IDLE_SECONDS:
                return False
            leftovers.remove_upload(self._context, file_id)
            return True
        finally:
            state_file.close()

    def _touched(self, entries: Iterable[bytes]) -> dict[bytes, float]:
        """Return the time of the last write to each open upload.

        Leaves out uploads that have ended.
        """
        touched = {entry: self._touched_at(entry) for entry in entries}
        return {entry: at for entry, at in touched.items() if at}

    def _touched_at(self, entry: bytes) -> float:
        try:
            return os.stat(self._folder + upload_name(entry[_HASH_SIZE:], "state")).st_mtime
        except FileNotFoundError:
            return 0.0

    def _list(self, owner: str) -> _List:
        listed = self._lists.get(owner)
        if listed is None:
            listed = _List(_open(_path(self._context, owner)))
            if len(self._lists) >= _LISTS_MAX:
                self._lists = {}
            self._lists[owner] = listed
        return listed


class _List:
    """A list of one user, open for appending. It is pruned beyond `length_max` entries."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.length_max = 2 * (os.fstat(descriptor).st_size // _ENTRY_SIZE) + _GROWTH

    def __del__(self) -> None:  # not `close`: another thread may still append
        os.close(self._descriptor)

    def append(self, entry: bytes) -> int:
        """Append an entry; return the number of entries, or 0 if the file has been replaced."""
        with disk.reported():
            os.write(self._descriptor, entry)
        status = os.fstat(self._descriptor)
        return status.st_size // _ENTRY_SIZE if status.st_nlink else 0

    def count_of(self, entry: bytes) -> int:
        """Return the number of entries with the name of this one."""
        return _count_of(_entries(self._descriptor), entry)


def _check(entries: Collection[bytes], entry: bytes, bound: OpenBound) -> UploadsTooMany | None:
    """Return the refusal of `entry`, which is among `entries`, if they are too many; else None."""
    if _count_of(entries, entry) > bound.name_max:
        return _refusal(bound.name_max, " to a repository")
    return _refusal(bound.all_max, "") if len(entries) > bound.all_max else None


def _refusal(count: int, where: str) -> UploadsTooMany:
    return UploadsTooMany(
        f"{count} uploads{where} are open, which is the most for one user: finish some, or cancel"
        " them with DELETE; uploads that are idle for an hour are dropped"
    )


def _count_of(entries: Iterable[bytes], entry: bytes) -> int:
    return sum(_is_same_name(other, entry) for other in entries)


def _is_same_name(one: bytes, other: bytes) -> bool:
    return one[:_HASH_SIZE] == other[:_HASH_SIZE]


# ---- files -------------------------------------------------------------------------------------
@contextmanager
def _locked(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The descriptor and the entries of a list, which no other process replaces in the block."""
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                yield descriptor, _entries(descriptor)
                return
        finally:
            os.close(descriptor)  # unlocks


def _replace(path: Path, descriptor: int, entries: list[bytes], kept: Collection[bytes]) -> None:
    """Replace the file, whose `entries` were read from the locked descriptor, by `kept`.

    Without any `kept` the file is removed.
    """
    new = path.with_suffix(".new")
    with disk.reported(), ExitStack() as stack:
        if kept:
            disk.remove(new)  # left by a process that died
            fresh = _open(new)
            stack.callback(os.close, fresh)
            fcntl.flock(fresh, fcntl.LOCK_EX)
            os.write(fresh, b"".join(kept))
            os.rename(new, path)
        else:
            os.unlink(path)
        late = _entries(descriptor)[len(entries) :]  # appended meanwhile, without the lock
        if late:
            fresh = _open(path)
            stack.callback(os.close, fresh)
            os.write(fresh, b"".join(late))


def _entries(descriptor: int) -> list[bytes]:
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return [data[at : at + _ENTRY_SIZE] for at in range(0, len(data), _ENTRY_SIZE)]


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with disk.reported():
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            return os.open(path, flags, 0o600)


def _path(context: StoreContext, owner: str) -> Path:
    return context.layout.open_uploads_of(_hash(owner, 16).hex())


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()
