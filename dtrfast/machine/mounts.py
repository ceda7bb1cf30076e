"""File systems and where they are mounted, as the kernel tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dtrfast.errors import FileSystemUnsupported

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")  # blanks and the like in names of mount points
# LMDB maps its file and locks by shared memory; neither holds over these.
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph"})


class _Mount(NamedTuple):
    device: str  # MAJOR:MINOR
    place: Path
    kind: str


def require_local(path: Path) -> None:
    """Return if locks and mapped files hold below `path`. Raises `FileSystemUnsupported`."""
    kind = kind_of(path)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise FileSystemUnsupported(
            f"{path} lies on {kind}: locks and mapped files do not hold there; "
            "name a directory on a local disk"
        )


def kind_of(path: Path) -> str:
    """The type of the file system that holds `path`, as the kernel names it; empty where the kernel
    does not say.
    """
    path = path.resolve()
    best, kind = -1, ""
    for mount in _mounts():
        depth = len(mount.place.parts)
        if depth >= best and path.is_relative_to(mount.place):
            best, kind = depth, mount.kind
    return kind


def kind_of_device(device: str) -> str:
    """The type of the file system on a device, `MAJOR:MINOR`; empty if it is not mounted."""
    return next((mount.kind for mount in _mounts() if mount.device == device), "")


def _mounts() -> Iterator[_Mount]:
    """Yield the mounts in order: later mounts hide earlier ones. See proc_pid_mountinfo(5)."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        head, _, source = line.partition(" - ")
        fields = head.split(" ")
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
        yield _Mount(fields[2], Path(place), source.split(" ")[0])
