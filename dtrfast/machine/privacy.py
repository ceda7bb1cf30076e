"""File modes of the data directory, so that other users of the machine cannot read it.

The data directory has password hashes, signing keys of tokens, and content. Its mode protects
everything below it, even files of earlier versions with wider modes. A subdirectory that is a link
or a mount point can be reached by another path, so it needs a private mode too.
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
    """Remove all permissions of group and others from the directories of a store.

    Directories of other owners and directories with the sticky bit stay as they are. So do those
    whose mode cannot be changed.
    """
    for path in _directories(data):
        with suppress(OSError):
            status = path.stat()
            is_ours = status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX
            if is_ours and status.st_mode & _OTHERS:
                path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)


def exposures(data: Path) -> list[str]:
    """Return a warning for each directory of a store that other users of the machine may reach.

    `keep_private` leaves such directories if the file system ignores `chmod`, if another user owns
    the directory, or if the sticky bit says that it is shared on purpose.
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
