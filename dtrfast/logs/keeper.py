"""Keeps log lines in the data directory, for who asks later, within a bound.

A line costs an append to a queue; a thread of its own writes what has gathered. What changes
something, is refused, fails or is slow is always kept. Of other requests, those for what is not
there among them, so many a second are, and the rest is counted: a storm of them is to be seen, and
not to be written down one by one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from dtrfast.logs.line import LogLine, of_record
from dtrfast.machine.line_files import LineFiles

# A week or two of a busy server's changes and failures; of one that is stormed, some hours.
SIZE_MAX = 256 << 20

# What waits to be written: a request's line has some 300 bytes, one with a traceback up to 20 KiB.
_QUEUE_SIZE_MAX = 8 << 20
_GATHER_SECONDS = 0.2
_READS_PER_SECOND = 100
_SLOW_SECONDS = 1.0
_NEVER = -1  # a second that no clock has
_SAFE = ("GET", "HEAD")

_encoder = msgspec.json.Encoder()


class LogKeeper:
    """Appends the lines of one process. Safe from many threads; never raises."""

    def __init__(
        self,
        directory: Path,
        process: str,
        size_max: int = SIZE_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = LineFiles(directory, size_max)
        self._process = process
        self._clock = clock
        self._queue: deque[bytes] = deque()
        # Bytes that came since the queue was last emptied; two that count at once may count one.
        self._size = 0
        self._dropped = 0
        self._reads = _Reads()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-log", daemon=True)
        self._thread.start()

    def message(self, record: logging.LogRecord) -> None:
        """A message of this process."""
        self._add(of_record(record, self._process))

    def admits(self, method: str, status: int, seconds: float) -> bool:
        """Whether such a request is to be kept; else it is counted. Ask once for each."""
        # Of the moment it is told, since those that began in one second end in many.
        return _is_of_interest(method, status, seconds) or self._reads.admit(int(self._clock()))

    def count(self, unlisted: int) -> None:
        """So many more requests were answered of which nobody asked whether to keep them."""
        self._reads.add(unlisted)

    def request(self, line: LogLine) -> None:
        """A request that this process answered, and that `admits` was asked for."""
        self._add(line)

    def close(self) -> None:
        """Write what is there, then end."""
        self._stop.set()
        self._thread.join()
        self._files.close()

    def _add(self, line: LogLine) -> None:
        # No lock: a signal's handler may log in the middle of it. Two that come to the last free
        # place both get one.
        if self._size >= _QUEUE_SIZE_MAX:
            self._dropped += 1
            return
        data = _encoder.encode(line) + b"\n"
        self._size += len(data)
        self._queue.append(data)

    def _note(self, level: Literal["info", "warning"], text: str) -> bytes:
        line = LogLine(self._clock(), level, self._process, text=text, logger="dtrfast.log")
        return _encoder.encode(line) + b"\n"

    def _run(self) -> None:
        while not self._stop.wait(_GATHER_SECONDS):
            self._drain(self._reads.settle(int(self._clock())))
        self._drain(self._reads.settle(_NEVER))

    def _drain(self, unlisted: int) -> None:
        dropped, self._dropped = self._dropped, 0
        lines = [self._queue.popleft() for _ in range(len(self._queue))]
        self._size = 0
        told = [self._note("warning", f"{dropped} lines of the log are lost")] if dropped else []
        if unlisted:
            told.append(self._note("info", f"{unlisted} more requests were not listed"))
        if not lines and not told:
            return
        try:
            self._files.append(b"".join(lines + told))
        except OSError:
            # A full disk, most likely: what is told goes to standard error all the same.
            self._dropped += dropped + len(lines)
            self._reads.add(unlisted)


class _Reads:
    """Counts the plain reads of each second. Requests and the thread that writes meet here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0
        self._unlisted = 0  # of seconds that are over

    def admit(self, second: int) -> bool:
        """Whether to list one more; else it is counted."""
        with self._lock:
            self._begin(second)
            self._count += 1
            return self._count <= _READS_PER_SECOND

    def add(self, unlisted: int) -> None:
        """So many more that nobody lists."""
        with self._lock:
            self._unlisted += unlisted

    def settle(self, second: int) -> int:
        """How many were not listed in other seconds than this, since that was asked last."""
        with self._lock:
            self._begin(second)
            unlisted, self._unlisted = self._unlisted, 0
            return unlisted

    def _begin(self, second: int) -> None:
        if second != self._second:
            self._unlisted += max(0, self._count - _READS_PER_SECOND)
            self._second, self._count = second, 0


def _is_of_interest(method: str, status: int, seconds: float) -> bool:
    """Whether a request is listed however many there are."""
    if method not in _SAFE or seconds >= _SLOW_SECONDS:
        return True
    # Clients ask without a token to hear where to get one, and for what is not there to see
    # whether it is; anybody can, as often as they like.
    return status >= 400 and status not in (401, 404)


class KeeperHandler(logging.Handler):
    """Hands the messages of logging to a keeper."""

    def __init__(self, keeper: LogKeeper) -> None:
        super().__init__()
        self._keeper = keeper

    def emit(self, record: logging.LogRecord) -> None:
        self._keeper.message(record)
