"""Threads that re-create segments, and the bounds on them.

A process replays as many segments at a time as it has cores, in the order in which they were
requested. While few wait, readers also name the segments that they expect to need next. Readers of
one content share a segment, and recent segments are kept for a moment. So clients that pull the
same layer at once cause one replay.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

from dtrfast.errors import ServerBusy
from dtrfast.machine import limits

# Threads of one process. A replay has some 7 MiB. A machine with many cores has as many processes.
_THREADS_MAX = 8
# Segments that readers need and that wait, for each thread, before new readers are refused: less
# than 1 s of work. On 2 cores fewer than a worker has threads, since a new reader holds one.
_WAITING_MAX = 16
# Open readers of one process. One whose client takes nothing holds a segment and 1 MiB of chunks.
_READERS_MAX = 256
# Finished segments that no reader holds: recent ones, and those that readers expect to need.
_KEPT_BYTES_MAX = 32 << 20
_KEPT_MAX = 512
_KEPT_SECONDS = 5.0
# An expected segment that is not finished counts as so many bytes.
_EXPECTED_BYTES = 1 << 20


class SegmentJob:
    """The re-creation of one segment, which several readers may wait for."""

    __slots__ = ("_done", "_error", "_result", "_work", "expected", "used_at", "users")

    def __init__(self, work: Callable[[], bytes]) -> None:
        self.users = 0  # the pool's: readers that hold it
        self.expected = 0  # the pool's: readers that will need it
        self.used_at = time.monotonic()  # the pool's: when a reader last had to do with it
        self._work: Callable[[], bytes] | None = work
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
        work, self._work = self._work, None  # it refers to its reader, and to the chunks of that
        assert work is not None, "a job runs once"
        try:
            self._result = work()
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

    def enter(self, *, continues: bool = False) -> None:
        """Count a reader, until `leave`. Raises `ServerBusy`, but not if it `continues` another."""
        with self._lock:
            waiting = sum(job.users > 0 for job in self._queue)
            is_full = waiting >= _WAITING_MAX * self._threads_max or self._readers >= _READERS_MAX
            if is_full and not continues:
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
            self._forget()

    def expect(self, key: Hashable, work: Callable[[], bytes]) -> bool:
        """Begin a segment that the reader will need; return False if others need the room.

        Its bytes may be lost before it is requested. If True, the caller must call
        `expect_no_more` with the key.
        """
        with self._lock:
            if key not in self._jobs and not self._has_room():
                return False
            self._begin(key, work).expected += 1
            return True

    def expect_no_more(self, key: Hashable) -> None:
        """End what `expect` began."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job.expected:
                job.expected -= 1
            self._forget()

    def close(self) -> None:
        """End the threads. No reader may be open."""
        with self._lock:
            self._is_closed = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _has_room(self) -> bool:
        if len(self._queue) >= 2 * self._threads_max:
            return False
        expected = [job for job in self._jobs.values() if job.expected]
        size = sum(job.size if job.is_done else _EXPECTED_BYTES for job in expected)
        return size + _EXPECTED_BYTES <= _KEPT_BYTES_MAX

    def _begin(self, key: Hashable, work: Callable[[], bytes]) -> SegmentJob:
        job = self._jobs.get(key)
        if job is None or job.has_failed:
            self._start_thread()
            job = self._jobs[key] = SegmentJob(work)
            self._queue.append(job)
            self._wake.notify()
        job.used_at = time.monotonic()
        self._jobs.move_to_end(key)
        return job

    def _start_thread(self) -> None:
        if len(self._threads) < self._threads_max:
            name = f"dtrfast-replay-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _forget(self) -> None:
        """Drop jobs that no reader holds or expects: those not done, and old ones.

        An expected job is dropped once its reader has not come for some seconds.
        """
        idle = [(key, job) for key, job in self._jobs.items() if not job.users]
        kept, count = sum(job.size for _, job in idle), len(idle)
        oldest = time.monotonic() - _KEPT_SECONDS
        for key, job in idle:
            is_old = job.used_at < oldest
            is_over = kept > _KEPT_BYTES_MAX or count > _KEPT_MAX or is_old or job.has_failed
            is_wanted = job.expected and not (job.is_done and is_old)
            if (is_over or not job.is_done) and not is_wanted:
                kept -= job.size
                count -= 1
                del self._jobs[key]

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._is_closed:
                    if not self._wake.wait(_KEPT_SECONDS if self._jobs else None):
                        self._forget()
                if self._is_closed:
                    return
                job = self._queue.popleft()
                is_wanted = job.users + job.expected > 0
            if is_wanted:
                job.run()
            del job
