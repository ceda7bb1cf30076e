"""Lines that a thread of their own writes to a descriptor, whose reader may be slow or stuck.

The bytes that wait are bounded. Lines that do not fit are refused, and the caller counts them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator

# Writes of at most PIPE_BUF bytes are atomic: lines of several workers do not mix in a pipe.
_WRITE_SIZE_MAX = 4096
# About half a second of the busiest worker's lines.
_WAITING_SIZE_MAX = 8 << 20
# A stuck reader must not keep the process from ending.
_END_SECONDS = 2.0


class LineOutput:
    """Writes lines. One thread calls `write` and `close`, which do not wait for the reader."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pieces: deque[bytes] = deque()
        # Total bytes. One thread alone changes each count, so there is no lock.
        self._added = self._done = 0
        self._wake = threading.Event()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="dtrfast-output", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        return self._added - self._done < _WAITING_SIZE_MAX

    def write(self, lines: Iterable[bytes], *, anyway: bool = False) -> int:
        """Queue lines; return the count of lines that were refused for lack of room.

        `anyway`: queue them even without room.
        """
        refused = 0
        for piece in _pieces(lines):
            if anyway or self.has_room:
                self._pieces.append(piece)
                self._added += len(piece)
            else:
                refused += piece.count(b"\n")
        self._wake.set()
        return refused

    def close(self) -> None:
        """Write the queued lines, but wait for a stuck reader two seconds only."""
        self._is_ending = True
        self._wake.set()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while not self._is_ending or self._pieces:
            self._wake.wait()
            self._wake.clear()
            while self._pieces:
                piece = self._pieces.popleft()
                rest = piece
                # If the reader has closed the descriptor, lines are lost and the server goes on.
                with contextlib.suppress(OSError):
                    while rest:
                        rest = rest[os.write(self._descriptor, rest) :]
                self._done += len(piece)


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines to pieces for one write each. A line is never split."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > _WRITE_SIZE_MAX:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece
