"""The bytes of one file system that are on their way to the disk, and its write rate, counted over
all processes of a user.

A byte is on its way from when its write-back is started until a call has said that the disk has it.
The counts lie in shared memory, not in the data directory: a page of a file there is locked while
the slow disk takes it. Each process writes its own slot only, and the kernel ends the slot's lock
with the process. So a process that is killed leaves nothing half changed, and its slot is found and
emptied.

Where there is no shared memory each process counts for itself.
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

# There on every Linux; a container has one of its own.
DIRECTORY = Path("/dev/shm")
# What is ahead of each sync on this file system. A push of a few bytes waits for up to three
# commits of the index, of five waits each: so it takes less than two seconds.
LIMIT_SECONDS = 0.05
LIMIT_MIN = 1 << 20
RATE_UNKNOWN = 16 << 20  # bytes a second, before the first measurement
RATE_MAX = 1 << 40
_RATE_MIN = 1 << 10
# Small enough that several are on their way at once, large enough that each is a long stretch.
# Whole pages: one that is half full would be written twice.
_PIECES = 8
PIECE_SIZE_MIN = 512 << 10
_PIECE_SIZE_MAX = 8 << 20
_PAGE_SIZE = 4096
_DEAD_SECONDS = 1.0
# Of observations, for a measurement: long enough for a disk that takes its bytes in gulps, short
# enough to follow it.
_WINDOW_SECONDS = 0.2
# A writer that waits less of its time gives the disk less than it could take.
_BUSY_PART = 0.05

_SLOTS = 128
_RATE = 0
_SENT = 8  # word of the first slot
_LANDED = _SENT + _SLOTS
_SIZE = 8 * (_LANDED + _SLOTS)


class BytesOnWay:
    """The account of one file system. Safe from many threads."""

    def __init__(self, path: Path | None) -> None:
        """Shared through the file at `path`, or of this process alone."""
        self._lock = threading.Lock()
        self._turn_lock = threading.Lock()  # where there is no file
        self._path = path
        self._looked_at = time.monotonic()
        self._count, self._seconds, self._waited_seconds = 0, 0.0, 0.0  # observed, of all files
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
        """Bytes a second that the disk takes, as last measured."""
        return self._words[_RATE] or RATE_UNKNOWN

    @property
    def limit(self) -> int:
        """Bytes that may be on their way."""
        return max(LIMIT_MIN, int(self.rate * LIMIT_SECONDS))

    @property
    def piece_size(self) -> int:
        """Bytes whose write-back is started, and waited for, at once."""
        size = min(_PIECE_SIZE_MAX, max(PIECE_SIZE_MIN, self.limit // _PIECES))
        return size - size % _PAGE_SIZE

    @property
    def landed(self) -> int:
        """Bytes that were on their way once, of all processes."""
        return sum(self._words[_LANDED : _LANDED + _SLOTS])

    @property
    def on_way(self) -> int:
        """Bytes that are on their way, of all processes."""
        # Those that land between the two sums count once more.
        landed = self.landed
        return sum(self._words[_SENT : _SENT + _SLOTS]) - landed

    def is_full(self) -> bool:
        """True if as many bytes are on their way as may be."""
        if self.on_way < self.limit:
            return False
        if time.monotonic() - self._looked_at < _DEAD_SECONDS:
            return True
        self.forget_dead()
        return self.on_way >= self.limit

    def send(self, count: int) -> None:
        """Write-back was started."""
        with self._lock:
            self._words[_SENT + self._slot] += count

    def land(self, count: int) -> None:
        """Bytes that were sent are on disk, or are not waited for any more."""
        with self._lock:
            self._words[_LANDED + self._slot] += count

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One writer at a time, over all processes; the lock ends with its holder."""
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
        """Note that `count` bytes landed in that time, of which a writer has waited so long."""
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
        """Note that the disk took `count` bytes in that time; it can do more unless it was busy."""
        rate, measured = self.rate, int(count / seconds)
        if was_busy or measured > rate:
            # Twice at most: of a disk that was idle the first bytes go fast.
            rate = min(2 * rate, (rate + measured) // 2, RATE_MAX)
            self._words[_RATE] = max(_RATE_MIN, rate)

    def forget_dead(self) -> None:
        """Empty the slots of processes that are gone: their bytes have landed, or will."""
        self._looked_at = time.monotonic()
        if self._descriptor < 0:
            return
        for slot in range(_SLOTS):
            sent, landed = self._words[_SENT + slot], self._words[_LANDED + slot]
            if slot != self._slot and sent != landed and _lock(self._descriptor, slot):
                self._words[_SENT + slot] = self._words[_LANDED + slot]
                _unlock(self._descriptor, slot)

    def close(self) -> None:
        """Let go of the slot. Idempotent."""
        with self._lock:
            self._words[_SENT + self._slot] = self._words[_LANDED + self._slot]
        self._let_go()

    def _take_slot(self) -> int:
        """A slot that no process has; where all are taken we count for ourselves."""
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
    """The file, of full size; -1 where it cannot be had, or another user has made it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return -1
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            if status.st_size < _SIZE:
                # Not sparse: a page that a full tmpfs has no room for would kill us by SIGBUS.
                os.posix_fallocate(descriptor, 0, _SIZE)
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return -1


def _lock(descriptor: int, slot: int) -> bool:
    """Lock a slot for this open file; False while another one has it."""
    try:
        _set_lock(descriptor, slot, fcntl.F_WRLCK)
    except OSError:
        return False
    return True


def _unlock(descriptor: int, slot: int) -> None:
    _set_lock(descriptor, slot, fcntl.F_UNLCK)


def _set_lock(descriptor: int, slot: int, kind: int) -> None:
    # Of the open file, not of the process: two stores in one process are two.
    lock = struct.pack("hhqqi0q", kind, os.SEEK_SET, slot, 1, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)


_accounts: dict[int, BytesOnWay] = {}
_accounts_lock = threading.Lock()


def of_device(device: int) -> BytesOnWay:
    """The account of the file system with this number (`st_dev`): one a process."""
    with _accounts_lock:
        if device not in _accounts:
            path = DIRECTORY / f"dtrfast-bytes-{os.geteuid()}-{device:x}"
            _accounts[device] = BytesOnWay(path)
        return _accounts[device]


def _forget_accounts() -> None:
    """A forked process counts in slots of its own."""
    global _accounts_lock
    _accounts_lock = threading.Lock()
    _accounts.clear()


os.register_at_fork(after_in_child=_forget_accounts)
