"""Early write-back of one file that is being written, so that little is left for its sync.

Write-back is started a piece at a time while bytes come. When too many bytes of the file system are
on their way (`bytes_on_way`) the writer waits for its own oldest pieces, and then has one piece
written at a time, in turns with others that wait.

The kernel tells an error of write-back once. Whichever call gets to see it, what was written may be
lost: it counts as a failed sync of the file.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from dtrfast.machine import bytes_on_way, disk
from dtrfast.machine.bytes_on_way import BytesOnWay

_PAUSE_SECONDS_MIN = 2.0  # of a client; the disk was idle
# Many files of this size are on their way at the end of a backup, until all is synced at once.
_LEFT_MAX = 64 << 10


def write_paced(descriptor: int, pieces: Iterable[bytes]) -> None:
    """Write a new file from pieces, early; what is left of it to be synced is less than
    `_LEFT_MAX`. What `pieces` raises passes through.
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


class _Landing(NamedTuple):
    """The end of a wait."""

    at: float
    landed: int  # of the whole file system, until then


class WriteBack:
    """One file's. One thread at a time.

    `doubt` is entered around every call that can see an error of write-back: only when its block
    ends well may the file be relied on.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        started: int = 0,
        on_disk: int = 0,
        doubt: Callable[[], AbstractContextManager[None]] = nullcontext,
        account: BytesOnWay | None = None,
    ) -> None:
        """Write-back of the first `started` bytes was started before; the first `on_disk` bytes
        are known to be on disk.
        """
        self._descriptor = descriptor
        self._doubt = doubt
        self._account = account or bytes_on_way.of_device(os.fstat(descriptor).st_dev)
        possible = disk.write_back_of(descriptor)
        self._is_needed = possible != "none"
        self._by_range = possible == "range"
        self._pieces: deque[int] = deque()  # where those end whose write-back was started
        self._last = _Landing(-_PAUSE_SECONDS_MIN, 0)
        self.started = started
        self.on_disk = on_disk
        if started > on_disk:
            self._pieces.append(started)
            self._account.send(started - on_disk)

    def note(self, size: int) -> None:
        """The file has grown to `size` bytes. Starts write-back, and waits, as is due. Raises what
        `disk.sync` raises.
        """
        piece_size = self._account.piece_size
        if size - self.started < piece_size or not self._is_needed:
            return
        with self._doubt():
            while size - self.started >= piece_size:
                self._advance(piece_size, size)

    def settle(self) -> None:
        """Wait for all that was started: no more bytes come for now. Raises as `note`."""
        if self._pieces:
            with self._doubt():
                self._wait_all()

    def close(self) -> None:
        """The file was synced, or is not written by us any more. Idempotent."""
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
            self._pieces.clear()  # it writes all that there is, and not before it is called
            end = self.started
            disk.sync_data(self._descriptor)
        self._account.land(end - self.on_disk)
        self.on_disk = end
        self._measure(began, time.monotonic())

    def _measure(self, began: float, ended: float) -> None:
        """Count what landed between two waits, of all writers: at both ends the disk was busy."""
        last, self._last = self._last, _Landing(ended, self._account.landed)
        seconds = ended - last.at
        if seconds < _PAUSE_SECONDS_MIN:
            self._account.observe(self._last.landed - last.landed, seconds, ended - began)
