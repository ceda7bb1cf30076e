"""Keeps log lines in the data directory, for who asks later, within a bound.

A line costs an append to a queue; a thread of its own writes what has gathered. What changes
something, fails or is slow is always kept. Of other requests so many a second are, and the rest is
counted: a storm of pulls is to be seen, and not to be written down one by one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from dtrfast.line_files import LineFiles
from dtrfast.logs.line import LogLine, of_record

# A week or two of a busy server's changes and failures; of one that is stormed, some hours.
SIZE_MAX = 256 << 20

_QUEUE_COUNT_MAX = 20_000
_GATHER_SECONDS = 0.2
_READS_PER_SECOND = 100
_SLOW_SECONDS = 1.0
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
        self._queue: deque[LogLine] = deque()
        self._dropped = 0
        self._second = 0
        self._reads = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-log", daemon=True)
        self._thread.start()

    def message(self, record: logging.LogRecord) -> None:
        """A message of this process."""
        self._add(of_record(record, self._process))

    def request(self, line: LogLine) -> None:
        """A request that this process answered. Called from one thread."""
        if line.method not in _SAFE or line.level != "info" or line.seconds >= _SLOW_SECONDS:
            self._add(line)
            return
        second = int(line.time)
        if second != self._second:
            self._tell_unlisted()
            self._second, self._reads = second, 0
        self._reads += 1
        if self._reads <= _READS_PER_SECOND:
            self._add(line)

    def close(self) -> None:
        """Write what is there, then end."""
        self._stop.set()
        self._thread.join()
        self._files.close()

    def _add(self, line: LogLine) -> None:
        if len(self._queue) >= _QUEUE_COUNT_MAX:
            self._dropped += 1
        else:
            self._queue.append(line)

    def _tell_unlisted(self) -> None:
        more = self._reads - _READS_PER_SECOND
        if more > 0:
            self._add(self._note(f"{more} more requests of that second were answered"))

    def _note(self, text: str) -> LogLine:
        return LogLine(self._clock(), "info", self._process, text=text, logger="dtrfast.log")

    def _run(self) -> None:
        while not self._stop.wait(_GATHER_SECONDS):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._queue.append(self._note(f"{dropped} lines are lost: they came too fast"))
        lines = [self._queue.popleft() for _ in range(len(self._queue))]
        if not lines:
            return
        try:
            self._files.append(b"".join(_encoder.encode(line) + b"\n" for line in lines))
        except OSError:
            # A full disk, most likely: what is told goes to standard error all the same.
            self._dropped += len(lines)


class KeeperHandler(logging.Handler):
    """Hands the messages of logging to a keeper."""

    def __init__(self, keeper: LogKeeper) -> None:
        super().__init__()
        self._keeper = keeper

    def emit(self, record: logging.LogRecord) -> None:
        self._keeper.message(record)
