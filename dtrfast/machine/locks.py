"""Locks of the data directory: one server, one housekeeper, and a number for each application.

They are `flock`s, so a lock belongs to the open file and not to a process. If the process that took
it is killed, children that inherited the descriptor keep the lock. The kernel releases it when the
last of them ends.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from contextlib import suppress
from pathlib import Path

from dtrfast.errors import DataDirectoryLocked, StorageFailed
from dtrfast.machine import disk
from dtrfast.machine.paths import Layout
from dtrfast.machine.privacy import DIRECTORY_MODE, require_owner

_MODE = 0o600


def take_server(data: Path, *, shared: bool = False) -> int:
    """Lock `data` for this server and return the descriptor that holds the lock.

    Creates `data` if it is missing. With `shared`, several workers of one server hold the lock
    together. Raises `DataDirectoryLocked` or `StorageFailed`, and `StartRefused` to root if another
    user owns `data`.
    """
    require_owner(data)
    path = Layout(data).server_lock
    try:
        data.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = _open(path)
    except OSError as error:
        raise StorageFailed(
            f"the data directory {data} cannot be used: {error.strerror}"
        ) from error
    if not _try(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise DataDirectoryLocked(
            f"the data directory {data} is in use by another server (process {owner}, or workers"
            " that it left behind): stop that one, or choose another directory with --data"
        )
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def try_housekeeper(data: Path) -> int | None:
    """Take the housekeeper's lock of `data`. Returns its descriptor, or None if it is taken."""
    with disk.reported():
        descriptor = _open(Layout(data).housekeeper_lock)
    if _try(descriptor, fcntl.LOCK_EX):
        return descriptor
    os.close(descriptor)
    return None


def take_number(data: Path) -> tuple[int, int]:
    """Reserve the least number that no other process serving `data` has.

    Returns the number and the descriptor of its lock. A restarted process gets the same number
    again, so its metrics continue under the same name.
    """
    layout = Layout(data)
    for number in itertools.count():
        descriptor = _open(layout.application_lock(number))
        if _try(descriptor, fcntl.LOCK_EX):
            return number, descriptor
        os.close(descriptor)
    raise AssertionError("numbers do not end")


def _open(path: Path) -> int:
    """Open a lock file that only this user can open: opening it is enough to lock it.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    if os.fstat(descriptor).st_mode & 0o077:  # made by an earlier version
        with suppress(OSError):
            os.fchmod(descriptor, _MODE)
    return descriptor


def _try(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
