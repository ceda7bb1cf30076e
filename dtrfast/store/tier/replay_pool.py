"""Threads that re-create segments, and the bounds on them.

A process replays as many segments at a time as it has cores, in the order in which they were
requested. While few wait, readers also ask for the segments that they will need next. Readers of
one content share a segment, and recent segments are kept for a moment. So clients that pull the
same layer at once cause one replay.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from dtrfast.errors import ServerBusy
from dtrfast.machine import limits

# Threads of one process. A replay has some 7 MiB. A machine with many cores has as many processes.
_THREADS_MAX = 8
# Segments that wait for each thread, before new readers are refused: less than 2 s of work.
_WAITING_MAX = 32
# Open readers of one process. A reader whose client takes nothing holds up to 3 MiB.
_READERS_MAX = 256
# Finished segments that no reader holds: recent ones, and those that readers will need next.
_KEPT_BYTES_MAX = 32 << 20


class SegmentJob:
    """The re-creation of one segment, which several readers may wait for."""

    __slots__ = ("_done", "_error", "_result", "expected", "users", "work")

    def __init__(self, work: Callable[[], bytes]) -> None:
        self.work = work
        self.users = 0  # the pool's: readers that hold it
        self.expected = 0  # the pool's: readers that will need it
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

    @property
    def is_wanted(self) -> bool:
        return self.users + self.expected > 0

    def run(self) -> None:
        try:
            self._result = self.work()
        except BaseException as error:
            self._error = error
        self._done.set()

    def wait(self, seconds: float | None = None) -> bytes | None:
        """Wait for the segment; return None if it takes longer. Raises what the work raised."""
        if not self._done.wait(seconds):
            return None
        if self._error is not None:
            raise self._error
        return self._result


class ReplayPool:
    """The threads of one process, and its recent segments. Safe from many threads."""

    def __init__(self) -> None:
        self._threads_max = min(limits.count_cores(), _THREADS_MAX)
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._jobs: OrderedDict[Hashable, SegmentJob] = OrderedDict()
        self._queue: deque[SegmentJob] = deque()
        self._threads: list[threading.Thread] = []
        self._readers = 0
        self._is_closed = False

    @property
    def ahead(self) -> int:
        """The number of segments that a reader expects, beside the one that it needs."""
        return self._threads_max

    def enter(self) -> None:
        """Count a reader, until `leave`. Raises `ServerBusy`."""
        with self._lock:
            waiting = sum(job.users > 0 for job in self._queue)
            if waiting >= _WAITING_MAX * self._threads_max or self._readers >= _READERS_MAX:
                raise ServerBusy("too many evicted layers are being read: try again in a moment")
            self._readers += 1

    def leave(self) -> None:
        """End a reader that `enter` counted."""
        with self._lock:
            self._readers -= 1

    def request(self, key: Hashable, work: Callable[[], bytes]) -> SegmentJob:
        """Return the job of the segment `key`, which runs `work` unless another reader began it.

        The caller must pass it to `drop`.
        """
        with self._lock:
            job = self._begin(key, work)
            job.users += 1
            return job

    def drop(self, job: SegmentJob) -> None:
        """End a reader's use of a job. It need not be done."""
        with self._lock:
            job.users -= 1
            self._forget_old()

    def expect(self, key: Hashable, work: Callable[[], bytes]) -> SegmentJob | None:
        """Return the job of a segment that the reader will need; None if others need the threads.

        Its result may be lost before it is requested. The caller must pass it to `expect_no_more`.
        """
        with self._lock:
            if key not in self._jobs and len(self._queue) >= 2 * self._threads_max:
                return None
            job = self._begin(key, work)
            job.expected += 1
            return job

    def expect_no_more(self, job: SegmentJob) -> None:
        """End what `expect` began."""
        with self._lock:
            job.expected -= 1
            self._forget_old()

    def close(self) -> None:
        """End the threads. No reader may be open."""
        with self._lock:
            self._is_closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _begin(self, key: Hashable, work: Callable[[], bytes]) -> SegmentJob:
        job = self._jobs.get(key)
        if job is None or job.has_failed:
            job = self._jobs[key] = SegmentJob(work)
            self._queue.append(job)
            self._start_thread()
            self._wake.notify()
        self._jobs.move_to_end(key)
        return job

    def _start_thread(self) -> None:
        if len(self._threads) < self._threads_max:
            name = f"dtrfast-replay-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _forget_old(self) -> None:
        """Drop jobs that no reader holds: those that none wants, and old ones beyond the bound."""
        idle = [(key, job) for key, job in self._jobs.items() if not job.users]
        kept = sum(job.size for _, job in idle)
        for key, job in idle:
            is_left = job.is_done and not job.has_failed and kept <= _KEPT_BYTES_MAX
            if not is_left and (job.is_done or not job.expected):
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
                is_wanted = job.is_wanted
            if is_wanted:
                job.run()
            del job
