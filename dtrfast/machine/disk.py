"""System calls on files, whole and with our exceptions: nothing here knows what the bytes mean."""

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
# File systems that keep dirty pages in the file that is open, by their numbers in statfs(2). On
# others, such as overlayfs, ZFS and FUSE, sync_file_range succeeds and does nothing.
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


class _Reported:
    """Not a generator: it stands around system calls, and a generator takes longer than one."""

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            if error.errno in _FULL:
                raise StorageFull("the disk is full: free some space, then push again") from error
            raise StorageFailed(
                f"the disk answered: {error.strerror} ({error.filename or 'data file'})"
            ) from error


_reported = _Reported()


def reported() -> _Reported:
    """Turn what the operating system says of a disk into `StorageFull` or `StorageFailed`."""
    return _reported


def create(path: Path) -> int:
    """A new file, open for reading and writing; it must not exist."""
    with reported():
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def open_or_create(path: Path) -> int:
    """A file, open for reading and writing, empty if it was not there."""
    with reported():
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def open_existing(path: Path, *, write: bool = False) -> int:
    """A descriptor of an existing file. Raises `FileNotFoundError` when there is none."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageFailed(f"the disk answered: {error.strerror} ({path})") from error


def write_at(descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write all of the buffers one after another from `offset`; returns the bytes written."""
    start = offset
    views = [memoryview(b) for b in buffers if len(b)]
    while views:
        with reported():
            count = os.pwritev(descriptor, views[:_BUFFERS_MAX], offset)
        offset += count
        views = _rest(views, count)
    return offset - start


def _rest(views: list[memoryview], count: int) -> list[memoryview]:
    """What a write of `count` bytes left over."""
    for position, view in enumerate(views):
        if count < len(view):
            return [view[count:], *views[position + 1 :]]
        count -= len(view)
    return []


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Exactly `length` bytes at `offset`. Raises `Corrupt` when the file ends before."""
    with reported():
        data = os.pread(descriptor, length, offset)
    if len(data) == length:
        return data
    rest = bytearray(length - len(data))
    read_into(descriptor, memoryview(rest), offset + len(data))
    return data + rest


def read_into(descriptor: int, into: memoryview, offset: int) -> None:
    """Fill `into` from `offset`. Raises `Corrupt` when the file ends before."""
    while len(into):
        with reported():
            count = os.preadv(descriptor, [into], offset)
        if count == 0:
            raise Corrupt(f"a data file ends at {offset}, before {offset + len(into)}")
        into, offset = into[count:], offset + count


def sync(descriptor: int) -> None:
    """Put the file's bytes on stable storage. A failure is final: what was written may be lost
    already.
    """
    with reported():
        os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    """As `sync`, without the file's times."""
    with reported():
        os.fdatasync(descriptor)


def write_back_of(descriptor: int) -> Literal["none", "whole", "range"]:
    """The part of this file that can be written back on request: any range, or only all of it."""
    status = ctypes.create_string_buffer(512)
    if _libc.fstatfs(descriptor, status) != 0:
        return "whole"
    kind = ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF
    if kind in _MEMORY:
        return "none"
    has_range = kind in _RANGE_SYNC and hasattr(_libc, "sync_file_range")
    return "range" if has_range else "whole"


def start_write_back(descriptor: int, offset: int, size: int) -> bool:
    """Let the kernel begin to write `size` bytes at `offset` to the disk. False if it cannot be
    told so. A failure is final, as of `sync`.
    """
    return _sync_range(descriptor, offset, size, _WRITE)


def finish_write_back(descriptor: int, offset: int, size: int) -> bool:
    """Wait until the disk has these bytes; they are on stable storage only after a `sync`. Else as
    `start_write_back`. The kernel tells an error once: a later `sync` may not hear of it.
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
    """Put the directory's entries on stable storage."""
    with reported():
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def synced(*directories: Path) -> Iterator[None]:
    """At the end of the block all that was written to these directories' file systems is on stable
    storage, from every process. An error of write-back since its begin is raised, which sync(2)
    would not tell.
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
    """Drop what lies behind `size`; a file that ends there is left alone, with its times."""
    with reported():
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 when it is not there."""
    with reported():
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0


def remove(path: Path) -> None:
    """Unlink; a file that is not there is fine."""
    with reported(), suppress(FileNotFoundError):
        path.unlink()
