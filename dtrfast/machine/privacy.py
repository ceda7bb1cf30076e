"""Modes of the data directory: other users of the machine read nothing of it.

There are hashes of passwords, keys that sign tokens, and content. The mode of the data directory
protects all that lies in it, whatever modes files of earlier versions have. A directory in it that
is a link or a mount point can be reached by another way, so its own mode counts as well.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dtrfast.machine.paths import Layout

DIRECTORY_MODE = 0o700
_OTHERS = 0o077


def keep_private(data: Path) -> None:
    """Take all modes of other users from the directories of a store, where this process may."""
    for path in _directories(data):
        with suppress(OSError):
            _narrow(path)


def exposures(data: Path) -> list[str]:
    """Return what other users of the machine may reach, and what to do; empty if that is nothing.

    A file system that ignores `chmod`, a directory of another owner, and one that is shared on
    purpose (with the sticky bit) stay as they are.
    """
    found = []
    for path in _directories(data):
        if path != data and not (path.is_symlink() or path.is_mount()):
            continue
        status = path.stat()
        if status.st_mode & _OTHERS:
            found.append(
                f"other users of this machine may reach {path.absolute()} (mode"
                f" {stat.S_IMODE(status.st_mode):o}, owner {status.st_uid}): run `chmod 700` on it"
                " as its owner, or give it to the server's user"
            )
    return found


def _directories(data: Path) -> Iterator[Path]:
    yield from (path for path in (data, *Layout(data).directories) if path.is_dir())


def _narrow(path: Path) -> None:
    """Raises OSError."""
    status = path.stat()
    is_ours = status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX
    if is_ours and status.st_mode & _OTHERS:
        path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
