"""Reading ahead for clients that may hang up: only little, and only within the requested range.

By itself the kernel reads ahead in steps that double, up to twice the device's `read_ahead_kb`, and
past the end of the range. On a device with 8 MiB, as cloud disks have, a client that hung up after
8 MiB caused 23 MiB of reads. So a ranged read of such a device begins with small steps. The kernel
reads the next step while one is sent. After the client took many times the kernel's read-ahead, the
rest is left to the kernel, whose large steps cost less processor time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from dtrfast.machine.mounts import kind_of_device
from dtrfast.store.blobs import Extent

# Bytes of content in a step. Two are read at a time: a disk that takes 1 ms for each gives 250
# MB/s.
STEP_SIZE = 256 * 1024
# The size of a step over bytes that are in memory already, which needs no reads.
_CACHED_STEP_SIZE = 4 << 20
# Up to this read-ahead a device wastes little, so that reading ahead is left to the kernel.
_SMALL_SIZE_MAX = 256 * 1024
# The kernel reads up to two of its steps ahead. It takes over once these are a quarter of the bytes
# read so far.
_HANDOVER_FACTOR = 8
# For file systems that do not state their read-ahead, such as btrfs, which has 4 MiB.
_UNKNOWN_SIZE = 4 << 20
# The kernel may silently cut a request down to this size, the default of `read_ahead_kb`.
_REQUEST_SIZE = 128 * 1024
_DEVICES = Path("/sys/dev/block")
_FILE_SYSTEMS = Path("/sys/class/bdi")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
# cachestat, of Linux 6.5: the same number on every architecture.
_CACHESTAT = 451


class ReadAhead:
    """The small steps at the beginning of a ranged read."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: int | None = None  # bytes of content; None until the first file is open

    def is_paced(self, descriptor: int) -> bool:
        """Return True while the read, which has come to this file, takes small steps."""
        if self._left is None:
            size = kernel_size(os.fstat(descriptor).st_dev)
            self._left = 0 if size <= _SMALL_SIZE_MAX else size * _HANDOVER_FACTOR
        return self._left > 0

    def steps(self, extent: Extent) -> Iterator[Extent]:
        """The extent in steps. The kernel reads the next step while one is handed out."""
        descriptor, position = extent.descriptor, extent.offset
        end, fetched = position + extent.length, position
        while position < end and self.is_paced(descriptor):
            size = min(_CACHED_STEP_SIZE, end - position)
            if fetched > position or not is_cached(descriptor, position, size):
                size = min(STEP_SIZE, end - position)
                ahead = min(position + 2 * STEP_SIZE, end)
                fetch(descriptor, fetched, ahead - fetched)
                fetched = ahead
            self.count(size)
            yield Extent(descriptor, position, size)
            position += size
            fetched = max(fetched, position)
        if position < end:
            yield Extent(descriptor, position, end - position)

    def count(self, size: int) -> None:
        """Count `size` bytes of content that are handed out."""
        if self._left is not None:
            self._left -= size


def fetch(descriptor: int, offset: int, length: int) -> None:
    """Let the kernel begin to read those of these bytes that are not in memory.

    Does not wait and does not raise: a later read raises the error.
    """
    end = offset + length
    for position in range(offset, end, _REQUEST_SIZE):
        size = min(_REQUEST_SIZE, end - position)
        try:
            os.posix_fadvise(descriptor, position, size, os.POSIX_FADV_WILLNEED)
        except OSError:
            return


class _Stretch(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = (
        ("cached", ctypes.c_uint64),
        ("dirty", ctypes.c_uint64),
        ("writeback", ctypes.c_uint64),
        ("evicted", ctypes.c_uint64),
        ("recently_evicted", ctypes.c_uint64),
    )


_system_call = ctypes.CDLL(None).syscall
_PAGE_SIZE = os.sysconf("SC_PAGESIZE")


def is_cached(descriptor: int, offset: int, length: int) -> bool:
    """Return True if all of these bytes are in memory; False if not, or on kernels before 6.5.

    A read with RWF_NOWAIT is no alternative, since it begins to read ahead.
    """
    stretch, pages = _Stretch(offset, length), _Pages()
    if _system_call(_CACHESTAT, descriptor, ctypes.byref(stretch), ctypes.byref(pages), 0) != 0:
        return False
    wanted = (offset + length - 1) // _PAGE_SIZE - offset // _PAGE_SIZE + 1
    return int(pages.cached) >= wanted


@lru_cache
def kernel_size(device: int) -> int:
    """Return the most bytes that the kernel reads ahead in a step, for files on a device
    (`st_dev`).
    """
    name = f"{os.major(device)}:{os.minor(device)}"
    block = (_DEVICES / name).resolve()
    # A partition has the value of its disk. Network file systems have no disk.
    for place in (block / "queue", block.parent / "queue", _FILE_SYSTEMS / name):
        try:
            return int((place / "read_ahead_kb").read_text()) * 1024
        except (OSError, ValueError):
            continue
    return 0 if kind_of_device(name) in _IN_MEMORY else _UNKNOWN_SIZE
