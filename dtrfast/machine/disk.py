"""System calls on files that finish partial reads and writes and raise exceptions of dtrfast.

Nothing here depends on the meaning of the bytes.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal

from dtrfast.errors import Corrupt, StorageFailed, StorageFull

Buffer = bytes | bytearray | memoryview

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BUFFERS_MAX = 1024  # IOV_MAX on Linux

_libc = ctypes.CDLL(None, use_errno=True)
_OFFSET = ctypes.c_int64
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4  # sync_file_range(2)
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ESPIPE, errno.EPERM, errno.EOPNOTSUPP})
# File systems whose dirty pages belong to the open file, by their numbers in statfs(2). On others,
# such as overlayfs, ZFS and FUSE, sync_file_range succeeds and does nothing.
_RANGE_SYNC = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # btrfs
        0xF2F52010,  # F2FS
        0xCA451A4E,  # bcachefs
    }
)
_MEMORY = frozenset({0x01021994, 0x858458F6})  # tmpfs and ramfs: there is no disk to write to


class _ErrorTranslation:
    """A context manager that converts OSError. A class, because a generator-based one takes longer
    than the system call inside it.
    """

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            if error.errno in _FULL:
                raise StorageFull("the disk is full: free some space, then try again") from error
            raise StorageFailed(
                f"disk operation failed: {error.strerror} ({error.filename or 'data file'})"
            ) from error


_translation = _ErrorTranslation()


def reported() -> _ErrorTranslation:
    """Convert each OSError of the block into `StorageFull` or `StorageFailed`."""
    return _translation


def create(path: Path) -> int:
    """Create a file for reading and writing and return its descriptor. The file must not exist."""
    with reported():
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def open_or_create(path: Path) -> int:
    """Open a file for reading and writing, creating it if missing. Returns its descriptor."""
    with reported():
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def open_existing(path: Path, *, write: bool = False) -> int:
    """Open an existing file and return its descriptor. Raises `FileNotFoundError` if missing."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageFailed(f"disk operation failed: {error.strerror} ({path})") from error


def write_at(descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write all buffers, one after another, from `offset`. Returns the number of bytes written."""
    start = offset
    views = [memoryview(b) for b in buffers if len(b)]
    while views:
        with reported():
            count = os.pwritev(descriptor, views[:_BUFFERS_MAX], offset)
        offset += count
        views = _rest(views, count)
    return offset - start


def _rest(views: list[memoryview], count: int) -> list[memoryview]:
    """Return `views` without their first `count` bytes."""
    for position, view in enumerate(views):
        if count < len(view):
            return [view[count:], *views[position + 1 :]]
        count -= len(view)
    return []


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Return exactly `length` bytes from `offset`. Raises `Corrupt` if the file ends before."""
    with reported():
        data = os.pread(descriptor, length, offset)
    if len(data) == length:
        return data
    rest = bytearray(length - len(data))
    read_into(descriptor, memoryview(rest), offset + len(data))
    return data + rest


def read_into(descriptor: int, into: memoryview, offset: int) -> None:
    """Fill `into` with the bytes from `offset`. Raises `Corrupt` if the file ends before."""
    while len(into):
        with reported():
            count = os.preadv(descriptor, [into], offset)
        if count == 0:
            raise Corrupt(f"a data file ends at {offset}, before {offset + len(into)}")
        into, offset = into[count:], offset + count


def sync(descriptor: int) -> None:
    """Call fsync on the file. After a failure the written bytes may be lost: do not retry."""
    with reported():
        os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    """Call fdatasync on the file: as `sync`, without the file's times."""
    with reported():
        os.fdatasync(descriptor)


def write_back_of(descriptor: int) -> Literal["none", "whole", "range"]:
    """Return the part of this file that can be written back on request.

    "range": any range. "whole": only the whole file. "none": the file is in memory only.
    """
    status = ctypes.create_string_buffer(512)
    if _libc.fstatfs(descriptor, status) != 0:
        return "whole"
    kind = ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF
    if kind in _MEMORY:
        return "none"
    has_range = kind in _RANGE_SYNC and hasattr(_libc, "sync_file_range")
    return "range" if has_range else "whole"


def start_write_back(descriptor: int, offset: int, size: int) -> bool:
    """Ask the kernel to begin writing `size` bytes at `offset` to the disk.

    Returns False if the kernel does not support that. A failure is final, as with `sync`.
    """
    return _sync_range(descriptor, offset, size, _WRITE)


def finish_write_back(descriptor: int, offset: int, size: int) -> bool:
    """Write `size` bytes at `offset` to the disk and wait for the end.

    The bytes are on stable storage only after a `sync`. Returns False if the kernel does not
    support that. The kernel reports an error only once, so a later `sync` may succeed although this
    call failed.
    """
    return _sync_range(descriptor, offset, size, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)


def _sync_range(descriptor: int, offset: int, size: int, flags: int) -> bool:
    with reported():
        if _libc.sync_file_range(descriptor, _OFFSET(offset), _OFFSET(size), flags) == 0:
            return True
        number = ctypes.get_errno()
        if number in _UNSUPPORTED:
            return False
        raise OSError(number, os.strerror(number))


def sync_directory(path: Path) -> None:
    """Call fsync on the directory, so that its entries are on stable storage."""
    with reported():
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def synced(*directories: Path) -> Iterator[None]:
    """Sync the file systems of these directories at the end of the block.

    This covers the writes of all processes. It raises write-back errors that happened since the
    begin of the block; sync(2) would not report them.
    """
    with reported(), ExitStack() as stack:
        descriptors = []
        for path in directories:
            descriptors.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            stack.callback(os.close, descriptors[-1])
        yield
        for descriptor in descriptors:
            if _libc.syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))


def cut_off(descriptor: int, size: int) -> None:
    """Truncate the file to `size` bytes. A file that is not longer keeps its times."""
    with reported():
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)


def size_of(path: Path) -> int:
    """Return the file's size in bytes; 0 if it does not exist."""
    with reported():
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0


def remove(path: Path) -> None:
    """Unlink the file if it exists."""
    with reported(), suppress(FileNotFoundError):
        path.unlink()
