"""The digests of an upload, computed beside the rest of its work where a core is free for that.

Hashing takes a third to a half of a transfer's time. With one transfer in the process a second
thread does it: that transfer gains a quarter of its speed for a tenth more CPU time (measured on
two cores, docs/performance.md). With more transfers every core has work already, and each hashes
for itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from dtrfast import _core

# Less is hashed at once: handing it to another thread would take about as long.
_BESIDE_SIZE_MIN = 131072


class Hashing:
    """The SHA-256 and, if it was announced, the SHA-512 of one upload."""

    def __init__(self, thread: HashThread, sha256: bytes, sha512: bytes | None) -> None:
        """Goes on from saved states."""
        self._thread = thread
        self._beside: _Job | None = None
        self.sha256 = _core.Sha256.restore(sha256)
        self.sha512 = None if sha512 is None else _core.Sha512.restore(sha512)

    def update(self, data: memoryview) -> None:
        """Hash `data`, which must not change before `settle`."""
        self.settle()
        if len(data) >= _BESIDE_SIZE_MIN and self._thread.is_free:
            self._beside = self._thread.begin(self, data)
        else:
            self.update_now(data)

    def update_now(self, data: memoryview) -> None:
        self.sha256.update(data)
        if self.sha512 is not None:
            self.sha512.update(data)

    def settle(self) -> None:
        """Wait until all that was given is hashed."""
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.wait()


class HashThread:
    """The process's second thread for hashing. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transfers = 0
        self._cores = len(os.sched_getaffinity(0))
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_free(self) -> bool:
        """Whether the one transfer that runs had better not hash for itself."""
        return self._transfers == 1 and self._cores > 1

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Bytes flow, for the length of the block."""
        with self._lock:
            self._transfers += 1
        try:
            yield
        finally:
            with self._lock:
                self._transfers -= 1

    def begin(self, hashing: Hashing, data: memoryview) -> _Job:
        """Hash `data` beside the caller, who waits for the job."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dtrfast-hash", daemon=True)
                self._thread.start()
        job = _Job(hashing, data)
        self._jobs.put(job)
        return job

    def close(self) -> None:
        """End the thread. No transfer may be running."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job  # and with it a view of a buffer that is used again


class _Job:
    """Bytes to hash, and whether they are."""

    __slots__ = ("_data", "_done", "_error", "_hashing")

    def __init__(self, hashing: Hashing, data: memoryview) -> None:
        self._hashing = hashing
        self._data = data
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        try:
            self._hashing.update_now(self._data)
        except BaseException as error:
            self._error = error
        self._done.release()

    def wait(self) -> None:
        """Raises what hashing raised."""
        with self._done:
            if self._error is not None:
                raise self._error
