"""Threads that re-create segments, and the bounds on them.

A process replays as many segments at a time as it has cores, in the order in which they were
requested. Readers of one content share a segment: its bytes are kept for a moment. So clients that
pull the same layer at once cause one replay.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from dtrfast.errors import ServerBusy
from dtrfast.machine import limits

# Contents that are being read at a time in one process. Each has up to one finished segment for
# each core, of about 1 MiB.
_READERS_MAX = 64
# Readers that wait, and the time that they wait. A waiting reader holds a thread of the server.
_WAITING_MAX = 8
_WAIT_SECONDS = 5.0
# Finished segments that no reader needs any more.
_KEPT_BYTES_MAX = 8 << 20


class SegmentJob:
    """The re-creation of one segment, which several readers may wait for."""

    __slots__ = ("_done", "_error", "_result", "users", "work")

    def __init__(self, work: Callable[[], bytes]) -> None:
        self.work = work
        self.users = 0  # the pool's: readers that still want it
        self._done = threading.Event()
        self._result = b""
        self._error: BaseException | None = None

    @property
    def size(self) -> int:
        return len(self._result)

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    @property
    def has_failed(self) -> bool:
        return self._error is not None

    def run(self) -> None:
        try:
            self._result = self.work()
        except BaseException as error:
            self._error = error
        self._done.set()

    def wait(self) -> bytes:
        """Wait for the segment. Raises what the work raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


class ReplayPool:
    """The threads of one process, and its recent segments. Safe from many threads."""

    def __init__(self) -> None:
        self._cores = limits.count_cores()
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._jobs: OrderedDict[Hashable, SegmentJob] = OrderedDict()
        self._queue: deque[SegmentJob] = deque()
        self._threads: list[threading.Thread] = []
        self._free = threading.Condition()
        self._readers = self._waiting = 0
        self._is_closed = False

    @property
    def ahead(self) -> int:
        """The number of segments that a reader requests before it needs them."""
        return self._cores

    def enter(self) -> None:
        """Count a reader, until `leave`. May wait. Raises `ServerBusy`."""
        with self._free:
            if self._readers >= _READERS_MAX:
                if self._waiting >= _WAITING_MAX:
                    raise _busy()
                self._waiting += 1
                try:
                    is_free = self._free.wait_for(
                        lambda: self._readers < _READERS_MAX, _WAIT_SECONDS
                    )
                finally:
                    self._waiting -= 1
                if not is_free:
                    raise _busy()
            self._readers += 1

    def leave(self) -> None:
        """End a reader that `enter` counted."""
        with self._free:
            self._readers -= 1
            self._free.notify()

    def request(self, key: Hashable, work: Callable[[], bytes]) -> SegmentJob:
        """Return the job of the segment `key`, which runs `work` unless another reader began it.

        The caller must pass it to `drop`.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.has_failed:
                job = self._jobs[key] = SegmentJob(work)
                self._queue.append(job)
                self._start_thread()
                self._wake.notify()
            self._jobs.move_to_end(key)
            job.users += 1
            return job

    def drop(self, job: SegmentJob) -> None:
        """End a reader's interest in a job. It need not be done."""
        with self._lock:
            job.users -= 1
            self._forget_old()

    def close(self) -> None:
        """End the threads. No reader may be open."""
        with self._lock:
            self._is_closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _start_thread(self) -> None:
        if len(self._threads) < self._cores:
            name = f"dtrfast-replay-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _forget_old(self) -> None:
        """Drop jobs that no reader wants: those not done, and old ones beyond the bound."""
        idle = [(key, job) for key, job in self._jobs.items() if not job.users]
        kept = sum(job.size for _, job in idle)
        for key, job in idle:
            if not job.is_done or job.has_failed or kept > _KEPT_BYTES_MAX:
                kept -= job.size
                del self._jobs[key]

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._is_closed:
                    self._wake.wait()
                if self._is_closed:
                    return
                job = self._queue.popleft()
                is_wanted = job.users > 0
            if is_wanted:
                job.run()
            del job


def _busy() -> ServerBusy:
    return ServerBusy("too many evicted layers are being read: try again in a moment")
