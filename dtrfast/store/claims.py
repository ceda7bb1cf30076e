"""Claims on content: while one is held, nothing frees what has its digest, and no other caller
places it. Callers that find the content there may share a claim.

A claim is a lock on a byte of one file, at a place that follows from the SHA-256. It belongs to an
open file description (F_OFD_SETLK of fcntl(2)), so threads of a process exclude each other as
processes do, and it ends with its process. The kernel looks for no deadlocks among such locks: so
a caller waits only while it has none, and no claim is raised from shared to whole.
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
    """A claim that is held, on one content or on many. Its methods raise `StorageFailed`."""

    def __init__(self, path: Path) -> None:
        """Holds nothing yet."""
        self._descriptor = disk.open_or_create(path)

    def add(self, sha256: Digest) -> bool:
        """Claim one content more, unless another caller has it."""
        with disk.reported():
            try:
                self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, sha256)
            except BlockingIOError:
                return False
        return True

    def wait(self, sha256: Digest) -> None:
        """Claim a content once no other caller has it. The only one of this claim."""
        self._wait(fcntl.F_WRLCK, sha256)

    def wait_to_share(self, sha256: Digest) -> None:
        """Claim a content together with others that share it. The only one of this claim."""
        self._wait(fcntl.F_RDLCK, sha256)

    def share(self, sha256: Digest) -> None:
        """Let others share a content that this claim has whole. Never waits."""
        with disk.reported():
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_RDLCK, sha256)

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

    def _wait(self, kind: int, sha256: Digest) -> None:
        with disk.reported():
            # First give up what it may have: two that raise a shared claim would wait for ever.
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, sha256)
            self._lock(fcntl.F_OFD_SETLKW, kind, sha256)

    def _lock(self, command: int, kind: int, sha256: Digest) -> None:
        place = int.from_bytes(sha256.raw[:8], "big") >> (64 - _PLACE_BITS)
        fcntl.fcntl(self._descriptor, command, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
