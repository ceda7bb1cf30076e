"""Lines to a descriptor, from a thread of its own: who reads them may be slow, or never come back.

What waits to be written is bounded. What does not fit is not taken, and whoever has it counts it.
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
# A reader that is stuck must not keep the process from ending.
_END_SECONDS = 2.0


class Output:
    """Writes lines. `write` and `close` belong to one thread; neither waits for the reader."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pieces: deque[bytes] = deque()
        # Bytes, ever: each is counted up by one thread alone, so no lock is needed.
        self._added = self._done = 0
        self._wake = threading.Event()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="dtrfast-output", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        return self._added - self._done < _WAITING_SIZE_MAX

    def write(self, lines: Iterable[bytes], *, anyway: bool = False) -> int:
        """Have lines written, `anyway` or where there is room; returns how many had none."""
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
        """Write what is there, if somebody reads it, and end."""
        self._is_ending = True
        self._wake.set()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while not self._is_ending or self._pieces:
            self._wake.wait()
            self._wake.clear()
            while self._pieces:
                piece = self._pieces.popleft()
                # Lost when nobody reads it any more: that is no reason to stop serving.
                with contextlib.suppress(OSError):
                    _write_all(self._descriptor, piece)
                self._done += len(piece)


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """`lines` joined to pieces that are written at once; a line is never cut."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > _WRITE_SIZE_MAX:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
