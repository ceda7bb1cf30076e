"""Used and free space of file systems, in bytes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# The reserve is at most one twentieth of a file system, so that most of a small one can be used.
_RESERVE_PART_MAX = 20


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The space of a file system at one moment.

    Used and free bytes add up to `usable_bytes`, as in `df`: the part that only root may use is
    left out. `files_free` is None if the file system does not count its files.
    """

    total_bytes: int
    used_bytes: int
    free_bytes: int
    files_free: int | None

    @property
    def usable_bytes(self) -> int:
        return self.used_bytes + self.free_bytes

    @property
    def fullness(self) -> float:
        """The used part of the usable bytes, from 0 to 1."""
        return self.used_bytes / max(1, self.usable_bytes)

    @property
    def reserve_bytes_max(self) -> int:
        """The most that a reserve can be: one twentieth of the whole."""
        return self.total_bytes // _RESERVE_PART_MAX

    def reserve_bytes(self, wanted: int) -> int:
        """Return the bytes to keep free: `wanted`, but not more than possible."""
        return min(wanted, self.reserve_bytes_max)


def measure(path: Path) -> DiskSpace:
    """Return the space of the file system that holds `path`. Raises OSError."""
    status = os.statvfs(path)
    return DiskSpace(
        total_bytes=status.f_blocks * status.f_frsize,
        used_bytes=(status.f_blocks - status.f_bfree) * status.f_frsize,
        free_bytes=status.f_bavail * status.f_frsize,
        files_free=status.f_favail if status.f_files else None,
    )


def measure_or_zero(path: Path) -> DiskSpace:
    """Return the result of `measure`, or zeros if it fails."""
    with suppress(OSError):
        return measure(path)
    return DiskSpace(0, 0, 0, None)
