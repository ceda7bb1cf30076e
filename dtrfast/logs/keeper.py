"""Keeps log lines in the data directory, within a size bound.

Adding a line appends it to a queue; a thread writes the queued lines. Requests that change
something, are refused, fail or are slow are always kept. Of other requests, including those with
status 401 or 404, only a limited number a second is kept. The rest is counted, so a storm of
requests is visible but does not fill the log.
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

# Enough for a week or two of a busy server's changes and failures, or for some hours of a storm.
SIZE_MAX = 256 << 20

# The bound of queued bytes. A request's line has about 300 bytes, with a traceback up to 20 KiB.
_QUEUE_SIZE_MAX = 8 << 20
_GATHER_SECONDS = 0.2
_READS_PER_SECOND = 100
_SLOW_SECONDS = 1.0
_NEVER = -1  # a second that no clock has
_SAFE = ("GET", "HEAD")

_encoder = msgspec.json.Encoder()


class LogKeeper:
    """Appends the log lines of one process. Safe from many threads; never raises."""

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
        # Bytes added since the queue was last emptied. Without a lock, concurrent additions may be
        # lost.
        self._size = 0
        self._dropped = 0
        self._reads = _ReadCounter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-log", daemon=True)
        self._thread.start()

    def message(self, record: logging.LogRecord) -> None:
        """Add a message of this process."""
        self._add(of_record(record, self._process))

    def admits(self, method: str, status: int, seconds: float) -> bool:
        """Return True if a request is to be kept; else count it. Call it once for each request."""
        if method not in _SAFE or seconds >= _SLOW_SECONDS:
            return True
        # 401 and 404 are part of normal pulls and pushes, and any client can cause any number.
        if status >= 400 and status not in (401, 404):
            return True
        # The second of the end: requests that began in one second end in many different ones.
        return self._reads.admit(int(self._clock()))

    def count(self, unlisted: int) -> None:
        """Count answered requests for which `admits` was not called."""
        self._reads.add(unlisted)

    def request(self, line: LogLine) -> None:
        """Add a request for which `admits` returned True."""
        self._add(line)

    def close(self) -> None:
        """Write the queued lines, then stop the thread."""
        self._stop.set()
        self._thread.join()
        self._files.close()

    def _add(self, line: LogLine) -> None:
        # No lock, because a signal handler may log during this call. Two threads may both pass the
        # check and exceed the bound by one line.
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
            # Most likely the disk is full. Messages still go to standard error.
            self._dropped += dropped + len(lines)
            self._reads.add(unlisted)


class _ReadCounter:
    """Counts the plain reads of each second. Request threads and the writing thread share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0
        self._unlisted = 0  # of past seconds

    def admit(self, second: int) -> bool:
        """Return True if one more read may be listed in this second; else count it."""
        with self._lock:
            self._begin(second)
            self._count += 1
            return self._count <= _READS_PER_SECOND

    def add(self, unlisted: int) -> None:
        """Add to the number of unlisted reads."""
        with self._lock:
            self._unlisted += unlisted

    def settle(self, second: int) -> int:
        """Return the number of unlisted reads since the last call, without those of `second`."""
        with self._lock:
            self._begin(second)
            unlisted, self._unlisted = self._unlisted, 0
            return unlisted

    def _begin(self, second: int) -> None:
        if second != self._second:
            self._unlisted += max(0, self._count - _READS_PER_SECOND)
            self._second, self._count = second, 0


class KeeperHandler(logging.Handler):
    """Passes log records of the standard library to a keeper."""

    def __init__(self, keeper: LogKeeper) -> None:
        super().__init__()
        self._keeper = keeper

    def emit(self, record: logging.LogRecord) -> None:
        self._keeper.message(record)
