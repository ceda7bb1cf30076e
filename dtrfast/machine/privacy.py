"""Owner and file modes of the data directory: its user alone can read it, and root leaves it alone.

The data directory has password hashes, signing keys of tokens, and content. Its mode protects
everything below it, even files of earlier versions with wider modes. A subdirectory that is a link
or a mount point can be reached by another path, so it needs a private mode too.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dtrfast.errors import StartRefused
from dtrfast.machine.paths import Layout

DIRECTORY_MODE = 0o700
_OTHERS = 0o077


def require_owner(data: Path) -> None:
    """Raise `StartRefused` if this process is root's and the data directory another user's.

    Root may open everything there, but that user's server cannot open the files that root makes:
    `format` after a rollback, or `pins/`. A missing directory passes. Call this before the first
    file is made.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = data.stat()
    except OSError:
        return
    if owner.st_uid != 0:
        name, as_owner = _change_of_user(owner)
        again = sys.argv if os.access(sys.argv[0], os.X_OK) else sys.orig_argv
        given = ["env", f"DTRFAST_STORE_DATA={data.absolute()}", *again]
        raise StartRefused(
            f"{data} belongs to {name}, whose server cannot open files that root makes there: run"
            f" `{shlex.join([*as_owner, *given])}`"
        )


def _change_of_user(owner: os.stat_result) -> tuple[str, list[str]]:
    """Return words for the owner of a directory, and the command that runs another one as it."""
    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
    except KeyError:  # such as the user of a container; runuser takes no number
        ids = [f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
        return f"the user {owner.st_uid}", ["setpriv", *ids]
    return f"the user {name}", ["runuser", "-u", name, "--"]


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
