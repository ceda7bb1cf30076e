"""Reading ahead for a client that may leave: a little, and only of what it asked for.

Left alone the kernel reads ahead of a stream in steps that double, up to twice the device's
`read_ahead_kb`, and past the end of the range. On a device with 8 MiB, as cloud disks have, a
client that hung up after 8 MiB made it read 23. So a ranged read of such a device begins with small
steps, the next of which is on its way while one is sent. Once the client took many times what the
kernel would read ahead, the kernel has the rest: its large steps cost less processor time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from dtrfast.machine.mounts import kind_of_device
from dtrfast.store.blobs import Extent

# Bytes of content in a step. Two are on their way: a disk that takes 1 ms for each gives 250 MB/s.
STEP_SIZE = 256 * 1024
# A step over what is in memory already: there is nothing to wait for and nothing to waste.
_CACHED_STEP_SIZE = 4 << 20
# A device that reads ahead no more than this wastes little, and is left to the kernel.
_SMALL_SIZE_MAX = 256 * 1024
# The kernel is up to two of its steps ahead; it takes over once they are a quarter of what was
# read.
_HANDOVER_FACTOR = 8
# For a file system that does not tell how far it reads ahead, as btrfs, which has 4 MiB.
_UNKNOWN_SIZE = 4 << 20
# The kernel may cut one request down to this, the default of `read_ahead_kb`, and says nothing.
_REQUEST_SIZE = 128 * 1024
_DEVICES = Path("/sys/dev/block")
_FILE_SYSTEMS = Path("/sys/class/bdi")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
# cachestat, of Linux 6.5: the same number on every architecture.
_CACHESTAT = 451


class ReadAhead:
    """The part of a ranged read that goes in small steps."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: int | None = None  # bytes of content; not known before there is a file

    def is_paced(self, descriptor: int) -> bool:
        """Return True while the read, which is at this file, takes small steps."""
        if self._left is None:
            size = kernel_size(os.fstat(descriptor).st_dev)
            self._left = 0 if size <= _SMALL_SIZE_MAX else size * _HANDOVER_FACTOR
        return self._left > 0

    def steps(self, extent: Extent) -> Iterator[Extent]:
        """The extent in steps, the next of which is on its way while one is handed out."""
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
        """`size` bytes of content are handed out."""
        if self._left is not None:
            self._left -= size


def fetch(descriptor: int, offset: int, length: int) -> None:
    """Let the kernel begin to read those of these bytes that are not in memory.

    Nothing is waited for and nothing fails: a read that follows tells what is wrong.
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
    """Return True if all of these bytes are in memory, False if not or if an old kernel is asked.

    To try a read without waiting (RWF_NOWAIT) would tell as well, but begins to read ahead.
    """
    stretch, pages = _Stretch(offset, length), _Pages()
    if _system_call(_CACHESTAT, descriptor, ctypes.byref(stretch), ctypes.byref(pages), 0) != 0:
        return False
    wanted = (offset + length - 1) // _PAGE_SIZE - offset // _PAGE_SIZE + 1
    return int(pages.cached) >= wanted


@lru_cache
def kernel_size(device: int) -> int:
    """Bytes that the kernel reads ahead at most in one step, of files on a device (`st_dev`)."""
    name = f"{os.major(device)}:{os.minor(device)}"
    block = (_DEVICES / name).resolve()
    # A partition leaves it to its disk; network file systems have no disk.
    for place in (block / "queue", block.parent / "queue", _FILE_SYSTEMS / name):
        try:
            return int((place / "read_ahead_kb").read_text()) * 1024
        except (OSError, ValueError):
            continue
    return 0 if kind_of_device(name) in _IN_MEMORY else _UNKNOWN_SIZE
