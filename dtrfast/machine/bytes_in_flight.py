"""The bytes in flight to the disk of one file system, and its write rate.

All processes of a user share the counts.

A byte is in flight from the start of its write-back until a system call reports that the disk has
it. The counts are in shared memory and not in the data directory, because the kernel locks a page
of a file there while a slow disk writes it. Each process writes only its own slot, which it locks.
The kernel releases the lock when the process ends. So a killed process leaves no half-written
count, and another process finds its slot and empties it.

Without shared memory each process counts for itself.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Every Linux has it; a container has its own.
DIRECTORY = Path("/dev/shm")
# The write time of the bytes in flight, which each sync on this file system has to wait for. A push
# of a few bytes waits for up to three index commits of five waits each, so it takes less than two
# seconds.
LIMIT_SECONDS = 0.05
LIMIT_MIN = 1 << 20
RATE_UNKNOWN = 16 << 20  # bytes a second, before the first measurement
RATE_MAX = 1 << 40
_RATE_MIN = 1 << 10
# Small enough that several pieces are in flight at once, large enough for sequential writes. Whole
# pages, because a half-filled page would be written twice.
_PIECES = 8
PIECE_SIZE_MIN = 512 << 10
_PIECE_SIZE_MAX = 8 << 20
_PAGE_SIZE = 4096
_DEAD_SECONDS = 1.0
# The observed time of one measurement: long enough for a disk that writes in bursts, short enough
# to follow changes of its rate.
_WINDOW_SECONDS = 0.2
# If writers wait for a smaller part of the time, the disk could take more than it gets.
_BUSY_PART = 0.05

_SLOTS = 128
_RATE = 0
_SENT = 8  # index of the first slot's word
_LANDED = _SENT + _SLOTS
_SIZE = 8 * (_LANDED + _SLOTS)


class BytesInFlight:
    """The counts of one file system. Safe from many threads."""

    def __init__(self, path: Path | None) -> None:
        """Share the counts through the file at `path`; with None, count this process only."""
        self._lock = threading.Lock()
        self._turn_lock = threading.Lock()  # used if there is no file
        self._path = path
        self._looked_at = time.monotonic()
        self._count, self._seconds, self._waited_seconds = 0, 0.0, 0.0  # observed since `learn`
        self._descriptor = -1 if path is None else _open(path)
        try:
            self._memory = mmap.mmap(self._descriptor, _SIZE)
        except OSError:
            self._let_go()
            self._memory = mmap.mmap(-1, _SIZE)
        self._words = memoryview(self._memory).cast("Q")
        self._slot = self._take_slot()
        self.forget_dead()

    @property
    def rate(self) -> int:
        """The disk's write rate in bytes a second, as last measured."""
        return self._words[_RATE] or RATE_UNKNOWN

    @property
    def limit(self) -> int:
        """The number of bytes that may be in flight."""
        return max(LIMIT_MIN, int(self.rate * LIMIT_SECONDS))

    @property
    def piece_size(self) -> int:
        """The number of bytes of one write-back call, and of one wait."""
        size = min(_PIECE_SIZE_MAX, max(PIECE_SIZE_MIN, self.limit // _PIECES))
        return size - size % _PAGE_SIZE

    @property
    def landed(self) -> int:
        """The bytes of all processes that were in flight and no longer are."""
        return sum(self._words[_LANDED : _LANDED + _SLOTS])

    @property
    def in_flight(self) -> int:
        """The bytes in flight of all processes."""
        # Bytes that land between the two sums still count as in flight.
        landed = self.landed
        return sum(self._words[_SENT : _SENT + _SLOTS]) - landed

    def is_full(self) -> bool:
        """Return True if the bytes in flight reach the limit."""
        if self.in_flight < self.limit:
            return False
        if time.monotonic() - self._looked_at < _DEAD_SECONDS:
            return True
        self.forget_dead()
        return self.in_flight >= self.limit

    def send(self, count: int) -> None:
        """Count bytes whose write-back was started."""
        with self._lock:
            self._words[_SENT + self._slot] += count

    def land(self, count: int) -> None:
        """Count sent bytes that are on disk, or that the process no longer waits for."""
        with self._lock:
            self._words[_LANDED + self._slot] += count

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Exclude other writers of all processes while the block runs. The kernel releases the lock
        if the process ends.
        """
        try:
            descriptor = -1 if self._path is None else os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            descriptor = -1
        if descriptor < 0:
            with self._turn_lock:
                yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def observe(self, count: int, seconds: float, waited_seconds: float) -> None:
        """Record that `count` bytes landed within `seconds`, and that a writer waited for
        `waited_seconds` of them.
        """
        with self._lock:
            self._count += count
            self._seconds += seconds
            self._waited_seconds += waited_seconds
            if self._seconds < _WINDOW_SECONDS:
                return
            was_busy = self._waited_seconds > self._seconds * _BUSY_PART
            self.learn(self._count, self._seconds, was_busy=was_busy)
            self._count, self._seconds, self._waited_seconds = 0, 0.0, 0.0

    def learn(self, count: int, seconds: float, *, was_busy: bool) -> None:
        """Update the rate: the disk took `count` bytes within `seconds`.

        If the disk was not busy, it can do more than that, so the rate is only raised.
        """
        rate, measured = self.rate, int(count / seconds)
        if was_busy or measured > rate:
            # At most doubled: an idle disk takes the first bytes fast.
            rate = min(2 * rate, (rate + measured) // 2, RATE_MAX)
            self._words[_RATE] = max(_RATE_MIN, rate)

    def forget_dead(self) -> None:
        """Count the bytes that dead processes sent as landed: they have landed or will land."""
        self._looked_at = time.monotonic()
        if self._descriptor < 0:
            return
        for slot in range(_SLOTS):
            sent, landed = self._words[_SENT + slot], self._words[_LANDED + slot]
            if slot != self._slot and sent != landed and _lock(self._descriptor, slot):
                self._words[_SENT + slot] = self._words[_LANDED + slot]
                _set_lock(self._descriptor, slot, fcntl.F_UNLCK)

    def close(self) -> None:
        """Release the slot. Idempotent."""
        with self._lock:
            self._words[_SENT + self._slot] = self._words[_LANDED + self._slot]
        self._let_go()

    def _take_slot(self) -> int:
        """Lock and return a free slot. If all are taken, count this process only."""
        if self._descriptor < 0:
            return 0
        for slot in range(_SLOTS):
            if _lock(self._descriptor, slot):
                self._words[_SENT + slot] = self._words[_LANDED + slot]
                return slot
        self._let_go()
        self._memory = mmap.mmap(-1, _SIZE)
        self._words = memoryview(self._memory).cast("Q")
        return 0

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open(path: Path) -> int:
    """Open the file at its full size. Returns -1 if that fails or another user owns the file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return -1
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            if status.st_size < _SIZE:
                # Not sparse: if a full tmpfs has no room for a page, writing to it raises SIGBUS.
                os.posix_fallocate(descriptor, 0, _SIZE)
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return -1


def _lock(descriptor: int, slot: int) -> bool:
    """Lock a slot for this open file. Returns False if another open file has the lock."""
    try:
        _set_lock(descriptor, slot, fcntl.F_WRLCK)
    except OSError:
        return False
    return True


def _set_lock(descriptor: int, slot: int, kind: int) -> None:
    # The lock belongs to the open file, not to the process: two stores in one process need two.
    lock = struct.pack("hhqqi0q", kind, os.SEEK_SET, slot, 1, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)


_accounts: dict[int, BytesInFlight] = {}
_accounts_lock = threading.Lock()


def of_device(device: int) -> BytesInFlight:
    """Return this process's counts for the file system with this number (`st_dev`)."""
    with _accounts_lock:
        if device not in _accounts:
            path = DIRECTORY / f"dtrfast-bytes-{os.geteuid()}-{device:x}"
            _accounts[device] = BytesInFlight(path)
        return _accounts[device]


def _forget_accounts() -> None:
    """Make a forked process take its own slots."""
    global _accounts_lock
    _accounts_lock = threading.Lock()
    _accounts.clear()


os.register_at_fork(after_in_child=_forget_accounts)
