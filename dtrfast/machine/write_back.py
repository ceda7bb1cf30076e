"""Early write-back of a file while it is written, so that its sync has little left to do.

Write-back starts a piece at a time while bytes arrive. If too many bytes of the file system are in
flight (`bytes_in_flight`), the writer waits for its own oldest pieces. If that does not help, it
writes one piece at a time and takes turns with other waiting writers.

The kernel reports a write-back error only once. It may report it to any of the calls here. In each
case the written bytes may be lost, so the error counts as a failed sync of the file.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from dtrfast.machine import bytes_in_flight, disk
from dtrfast.machine.bytes_in_flight import BytesInFlight

# After a longer pause between two waits the disk was idle, so the time says nothing about its rate.
_PAUSE_SECONDS_MIN = 2.0
# Unsynced bytes that `write_paced` may leave. A backup writes many small files; their bytes stay in
# flight until one sync at its end.
_LEFT_MAX = 64 << 10


def write_paced(descriptor: int, pieces: Iterable[bytes]) -> None:
    """Write a new file from pieces, with early write-back.

    At most `_LEFT_MAX` bytes are left for a later sync. Exceptions of `pieces` pass through.
    """
    write_back = WriteBack(descriptor)
    size = 0
    try:
        for piece in pieces:
            size += disk.write_at(descriptor, [piece], size)
            write_back.note(size)
        if size > _LEFT_MAX:
            disk.sync_data(descriptor)
    finally:
        write_back.close()


class _WaitEnd(NamedTuple):
    """The end of a wait for the disk."""

    at: float  # monotonic seconds
    landed: int  # bytes of the whole file system that had landed by then


class WriteBack:
    """The write-back of one file. For one thread at a time.

    `doubt` is entered around each call that can report a write-back error. The file may be used
    only if the block ends without an exception.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        started: int = 0,
        on_disk: int = 0,
        doubt: Callable[[], AbstractContextManager[None]] = nullcontext,
        account: BytesInFlight | None = None,
    ) -> None:
        """Continue after the first `started` bytes, whose write-back was started earlier. The first
        `on_disk` bytes are known to be on disk.
        """
        self._descriptor = descriptor
        self._doubt = doubt
        self._account = account or bytes_in_flight.of_device(os.fstat(descriptor).st_dev)
        possible = disk.write_back_of(descriptor)
        self._is_needed = possible != "none"
        self._by_range = possible == "range"
        self._pieces: deque[int] = deque()  # end offsets of the pieces in flight, the oldest first
        self._last = _WaitEnd(-_PAUSE_SECONDS_MIN, 0)
        self.started = started
        self.on_disk = on_disk
        if started > on_disk:
            self._pieces.append(started)
            self._account.send(started - on_disk)

    def note(self, size: int) -> None:
        """Start write-back of a file that has grown to `size` bytes, and wait if too many bytes are
        in flight. Raises what `disk.sync` raises.
        """
        piece_size = self._account.piece_size
        if size - self.started < piece_size or not self._is_needed:
            return
        with self._doubt():
            while size - self.started >= piece_size:
                self._advance(piece_size, size)

    def settle(self) -> None:
        """Wait for all started pieces, because no more bytes arrive for now. Raises as `note`."""
        if self._pieces:
            with self._doubt():
                self._wait_all()

    def close(self) -> None:
        """Stop counting the file's bytes as in flight: it was synced or is no longer written.

        Idempotent.
        """
        self._account.land(self.started - self.on_disk)
        self.on_disk = self.started
        self._pieces.clear()

    def _advance(self, piece_size: int, size: int) -> None:
        while self._pieces and self._account.is_full():
            self._wait()
        if not self._account.is_full():
            self._start(piece_size, size)
            return
        with self._account.turn():
            self._start(piece_size, size)
            self._wait_all()

    def _start(self, piece_size: int, size: int) -> None:
        if self._by_range:
            self._by_range = disk.start_write_back(self._descriptor, self.started, piece_size)
        piece_size = piece_size if self._by_range else size - self.started
        self.started += piece_size
        self._pieces.append(self.started)
        self._account.send(piece_size)

    def _wait_all(self) -> None:
        while self._pieces:
            self._wait()

    def _wait(self) -> None:
        end = self._pieces.popleft()
        began = time.monotonic()
        if self._by_range:
            size = end - self.on_disk
            self._by_range = disk.finish_write_back(self._descriptor, self.on_disk, size)
        if not self._by_range:
            self._pieces.clear()  # fdatasync writes the whole file, also pieces not started yet
            end = self.started
            disk.sync_data(self._descriptor)
        self._account.land(end - self.on_disk)
        self.on_disk = end
        # All writers' bytes that landed since the last wait. The disk was busy at both ends of this
        # time.
        ended = time.monotonic()
        last, self._last = self._last, _WaitEnd(ended, self._account.landed)
        seconds = ended - last.at
        if seconds < _PAUSE_SECONDS_MIN:
            self._account.observe(self._last.landed - last.landed, seconds, ended - began)
