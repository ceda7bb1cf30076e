"""The processor time and the memory that this process may use.

Containers, pods and systemd services are control groups. Their limits lie in files, and other
interfaces of the system show the whole host. A limit of any parent counts as well. Both versions of
control groups are read, because a system may use both at once (cgroups(7)). A file that is missing
or has unexpected text sets no limit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath

# Below it are proc and the mount points.
ROOT = Path("/")
# The kernel's values for "no limit" are multiples of a page near 2^63.
_UNLIMITED_MIN = 1 << 60


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """A quota of processor time in cores, which can be a fraction. The seconds that the group used
    so far are None if they are unknown.
    """

    cores: float
    used_seconds: float | None


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The memory that a control group may use, in bytes. `used_bytes` does not count files that the
    kernel reclaims first; it is None if it is unknown.
    """

    bytes: int
    used_bytes: int | None


def usable_cores(root: Path = ROOT) -> float:
    """Return the cores that this process may use: by its affinity, and by its quota."""
    allowed = float(len(os.sched_getaffinity(0)))
    limit = read_cpu(root)
    return allowed if limit is None else min(allowed, limit.cores)


def count_cores(root: Path = ROOT) -> int:
    """Return the number of processes that can use `usable_cores` fully; at least 1."""
    return max(1, math.ceil(usable_cores(root)))


def usable_memory(root: Path = ROOT) -> int:
    """Return the bytes of memory that this process may use: of its control group, or the host's."""
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = read_memory(root)
    return host if limit is None else min(host, limit.bytes)


def read_cpu(root: Path = ROOT) -> CpuLimit | None:
    """Return the lowest quota of this process's control groups; None if there is none."""
    found: list[CpuLimit] = []
    for group in _groups(root, ""):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        used = _usage(group / "cpu.stat", "usage_usec")
        found += _quota(quota, period, None if used is None else used / 1e6)
    accounts = _groups(root, "cpuacct")  # usually the same folders
    for group, account in zip_longest(_groups(root, "cpu"), accounts, fillvalue=root):
        quota, period = (_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        used = _number(_text(account / "cpuacct.usage"))
        found += _quota(quota, period, None if used is None else used / 1e9)
    return min(found, key=lambda limit: limit.cores, default=None)


def read_memory(root: Path = ROOT) -> MemoryLimit | None:
    """Return the lowest limit of this process's control groups; None if there is none.

    Above `memory.high` the kernel stalls the processes, so it is a limit as well.
    """
    found: list[MemoryLimit] = []
    for group in _groups(root, ""):
        for name in ("memory.max", "memory.high"):
            used = _number(_text(group / "memory.current"))
            found += _memory(group, name, used, "inactive_file")
    for group in _groups(root, "memory"):
        used = _number(_text(group / "memory.usage_in_bytes"))
        found += _memory(group, "memory.limit_in_bytes", used, "total_inactive_file")
    return min(found, key=lambda limit: limit.bytes, default=None)


def _quota(quota: str, period: str, used_seconds: float | None) -> Iterator[CpuLimit]:
    """Yield the limit, unless one of the values is missing or means that there is none."""
    allowed, length = _number(quota), _number(period)
    if allowed and length:
        yield CpuLimit(allowed / length, used_seconds)


def _memory(group: Path, name: str, used: int | None, cached: str) -> Iterator[MemoryLimit]:
    """Yield the limit in the file `name`, unless there is none.

    The kernel reclaims inactive pages of files first, so they do not count as used.
    """
    limit = _number(_text(group / name))
    if limit and used is not None:
        used = max(0, min(used - (_usage(group / "memory.stat", cached) or 0), limit))
    if limit:
        yield MemoryLimit(limit, used)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of its visible parents.

    `controller` is one of version 1; empty for version 2.
    """
    mount = _mount_of(root, controller)
    if mount is None:
        return
    mounted, top = mount
    own = PurePosixPath(_own_path(root, controller))
    # A container may see only its own group, at the mount point, but its path from the host's root.
    # A path with ".." lies outside of what it sees.
    below = own.relative_to(mounted) if own.is_relative_to(mounted) else PurePosixPath()
    if ".." in below.parts:
        below = PurePosixPath()
    for part in (below, *below.parents):
        yield top / part


def _mount_of(root: Path, controller: str) -> tuple[PurePosixPath, Path] | None:
    """Return the group that is mounted for a controller, and its mount point."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        fields, source = head.split(), tail.split()
        if len(fields) < 5 or len(source) < 3:
            continue
        kind, options = source[0], source[2].split(",")
        if (kind == "cgroup" and controller in options) or (kind == "cgroup2" and not controller):
            return PurePosixPath(fields[3]), root / fields[4].lstrip("/")
    return None


def _own_path(root: Path, controller: str) -> str:
    """Return the path of this process's group in the hierarchy of a controller."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path
    return "/"


def _usage(path: Path, name: str) -> int | None:
    """Return the value of a line `name value` of a file of statistics."""
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value)
    return None


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def _number(text: str) -> int | None:
    """Return a number from 0 to the least value that means "no limit"; None for any other text."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    number = int(text)
    return number if number < _UNLIMITED_MIN else None
