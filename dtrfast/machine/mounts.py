"""Mounted file systems, as the kernel lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dtrfast.errors import FileSystemUnsupported

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")  # the kernel's escape for spaces in names of mount points
# LMDB needs a shared memory map of its file and working file locks. These file systems guarantee
# neither.
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph"})


class _Mount(NamedTuple):
    device: str  # MAJOR:MINOR
    place: Path
    kind: str


def require_local(path: Path) -> None:
    """Raise `FileSystemUnsupported` if `path` is on a network file system, where locks and mapped
    files do not work.
    """
    kind = kind_of(path)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise FileSystemUnsupported(
            f"{path} is on {kind}, where locks and mapped files do not work: "
            "choose a directory on a local disk"
        )


def kind_of(path: Path) -> str:
    """Return the type of the file system that holds `path`, by the kernel's name. Empty if the
    kernel does not list it.
    """
    path = path.resolve()
    best, kind = -1, ""
    for mount in _mounts():
        depth = len(mount.place.parts)
        if depth >= best and path.is_relative_to(mount.place):
            best, kind = depth, mount.kind
    return kind


def kind_of_device(device: str) -> str:
    """Return the type of the file system on a device, `MAJOR:MINOR`. Empty if it is not mounted."""
    return next((mount.kind for mount in _mounts() if mount.device == device), "")


def _mounts() -> Iterator[_Mount]:
    """Yield the mounts in order; later mounts hide earlier ones. See proc_pid_mountinfo(5)."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        head, _, source = line.partition(" - ")
        fields = head.split(" ")
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4])
        yield _Mount(fields[2], Path(place), source.split(" ")[0])
