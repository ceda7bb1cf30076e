"""Claims on content, by digest: locks that processes and threads share.

While a caller has a claim, nothing frees the content and no other caller places it. Callers that
find the content in the store may share a claim.

A claim is a lock on one byte of a file. The SHA-256 determines the byte. The lock belongs to an
open file description (F_OFD_SETLK of fcntl(2)), so threads of a process exclude each other as
processes do, and it ends with its process. The kernel does not detect deadlocks among such locks.
So a caller waits only while it has no lock, and never turns a shared claim into an exclusive one.
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

# struct flock of Linux on 64-bit machines: type, whence, start, length, and a process id of 0
_FLOCK = struct.Struct("@hhqqi4x")
_PLACE_BITS = 62


class ContentClaim:
    """A claim on one content or on many. Its methods raise `StorageFailed`."""

    def __init__(self, path: Path) -> None:
        """Open the lock file at `path`. The new claim covers no content."""
        self._descriptor = disk.open_or_create(path)

    def add(self, sha256: Digest) -> bool:
        """Claim one more content. Return False if another caller has it. Never waits."""
        with disk.reported():
            try:
                self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, sha256)
            except BlockingIOError:
                return False
        return True

    def wait(self, sha256: Digest) -> None:
        """Wait until no other caller has the content, then claim it.

        This claim must cover no other content.
        """
        self._wait(fcntl.F_WRLCK, sha256)

    def wait_to_share(self, sha256: Digest) -> None:
        """Wait until no caller has the content exclusively, then share it.

        This claim must cover no other content.
        """
        self._wait(fcntl.F_RDLCK, sha256)

    def try_to_share(self, sha256: Digest) -> bool:
        """Share a content. Return False if another caller has it exclusively. Never waits."""
        with disk.reported():
            try:
                self._lock(fcntl.F_OFD_SETLK, fcntl.F_RDLCK, sha256)
            except BlockingIOError:
                return False
        return True

    def share(self, sha256: Digest) -> None:
        """Let other callers share a content that this claim has exclusively. Never waits."""
        with disk.reported():
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_RDLCK, sha256)

    def close(self) -> None:
        """Give up the claim on all contents. Idempotent."""
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
            # Unlock first: two callers that both shared the content would wait for each other
            # forever.
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, sha256)
            self._lock(fcntl.F_OFD_SETLKW, kind, sha256)

    def _lock(self, command: int, kind: int, sha256: Digest) -> None:
        place = int.from_bytes(sha256.raw[:8], "big") >> (64 - _PLACE_BITS)
        fcntl.fcntl(self._descriptor, command, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
