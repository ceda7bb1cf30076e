"""Room on file systems, in bytes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# A small file system keeps this part of itself, so that most of it can be used.
_RESERVE_PART_MAX = 20


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """A file system at one moment. Used and free add up to `usable_bytes`, as `df` has them: what
    only root may use is left out. `files_free` is None where files are not counted.
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
        """The used part, from 0 to 1, as its users see it."""
        return self.used_bytes / max(1, self.usable_bytes)

    def reserve_bytes(self, wanted: int) -> int:
        """The bytes to keep free: what is wanted, of a small file system a part of itself."""
        return min(wanted, self.total_bytes // _RESERVE_PART_MAX)


def measure(path: Path) -> DiskSpace:
    """The file system that holds `path`. Raises OSError."""
    status = os.statvfs(path)
    return DiskSpace(
        total_bytes=status.f_blocks * status.f_frsize,
        used_bytes=(status.f_blocks - status.f_bfree) * status.f_frsize,
        free_bytes=status.f_bavail * status.f_frsize,
        files_free=status.f_favail if status.f_files else None,
    )


def measure_or_zero(path: Path) -> DiskSpace:
    """As `measure`, with zeros where it cannot be known."""
    with suppress(OSError):
        return measure(path)
    return DiskSpace(0, 0, 0, None)
