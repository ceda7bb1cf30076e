"""Directories for the data of measured servers, and the space that the data takes."""

from __future__ import annotations

import os
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path


class Place(StrEnum):
    """A file system: in memory, so that only CPU work counts, or on a disk, with its waits."""

    MEMORY = "tmpfs"
    DISK = "disk"


class Scratch:
    """The folders of one run in both places. `remove` deletes all of them."""

    def __init__(self, memory: Path, disk: Path) -> None:
        """Make a folder below each of these directories."""
        self._tops = {
            Place.MEMORY: Path(tempfile.mkdtemp(prefix="dtrfast-benchmarks-", dir=memory)),
            Place.DISK: Path(tempfile.mkdtemp(prefix="dtrfast-benchmarks-", dir=disk)),
        }

    def folder(self, place: Place, name: str) -> Path:
        """Return a new empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._tops[place]))

    def remove(self) -> None:
        """Delete everything."""
        for top in self._tops.values():
            shutil.rmtree(top, ignore_errors=True)


def occupied_bytes(folder: Path) -> int:
    """Return the bytes on disk below `folder`, as `du` counts them (hard links once)."""
    seen: dict[tuple[int, int], int] = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            try:
                found = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:
                continue  # a file of an upload that was committed meanwhile
            seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def drop_from_cache(folder: Path) -> None:
    """Drop all files below `folder` from the page cache, so that the next read needs the disk."""
    os.sync()  # only clean pages can be dropped
    for parent, _, files in os.walk(folder):
        for name in files:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`, such as ext4."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, found, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind
