"""Claims on content: while one is held, nothing frees what has its digest, and nobody else places
it.

A claim is a lock on bytes of one file, at a place that follows from the SHA-256. It belongs to an
open file description (F_OFD_SETLK of fcntl(2)), so threads of a process exclude each other as
processes do, and it ends with its process.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from dtrfast.machine import disk
from dtrfast.oci.digests import Digest

# struct flock of Linux on 64-bit machines: type, whence, start, length, and a process id of 0.
_FLOCK = struct.Struct("@hhqqi4x")
_PLACE_BITS = 62


class Claim:
    """A claim that is held, on one content or on many."""

    def __init__(self, path: Path) -> None:
        """Holds nothing yet."""
        self._descriptor = disk.open_or_create(path)

    @classmethod
    def take(cls, path: Path, sha256: Digest) -> Self:
        """Claim a content; waits while another has it."""
        claim = cls(path)
        try:
            claim._lock(fcntl.F_OFD_SETLKW, sha256)
        except BaseException:
            claim.close()
            raise
        return claim

    def add(self, sha256: Digest) -> bool:
        """Claim one more, if nobody has it."""
        try:
            self._lock(fcntl.F_OFD_SETLK, sha256)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give all of it up. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self, command: int, sha256: Digest) -> None:
        place = int.from_bytes(sha256.raw[:8], "big") >> (64 - _PLACE_BITS)
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
        fcntl.fcntl(self._descriptor, command, wanted)
