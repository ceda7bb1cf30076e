"""System calls on files, whole and with our exceptions: nothing here knows what the bytes mean."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dtrfast.errors import Corrupt, StorageFailed, StorageFull

Buffer = bytes | bytearray | memoryview

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BUFFERS_MAX = 1024  # IOV_MAX on Linux


@contextmanager
def reported() -> Iterator[None]:
    """Turn what the operating system says of a disk into `StorageFull` or `StorageFailed`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("the disk is full: free some space, then push again") from error
        raise StorageFailed(
            f"the disk answered: {error.strerror} ({error.filename or 'data file'})"
        ) from error


def create(path: Path) -> int:
    """A new file, open for reading and writing; it must not exist."""
    with reported():
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)


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


def sync_directory(path: Path) -> None:
    """Put the directory's entries on stable storage."""
    with reported():
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
