"""A second thread for a transfer that runs alone in its process, while another core is free.

Hashing takes a third to a half of a transfer's time, and compression half of the time of
compressible content. If a process has one transfer, a second thread takes over a part of that
(measured on two cores: docs/performance.md). With more transfers every core has work already, and
each transfer does all of its own work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

from dtrfast.machine import limits

T = TypeVar("T")


class SecondThread:
    """The process's second thread for transfers. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transfers = 0
        self._cores = limits.count_cores()
        self._jobs: SimpleQueue[ThreadJob[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_free(self) -> bool:
        """True if exactly one transfer runs and there is more than one core."""
        return self._transfers == 1 and self._cores > 1

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Count a transfer for the length of the block."""
        with self._lock:
            self._transfers += 1
        try:
            yield
        finally:
            with self._lock:
                self._transfers -= 1

    def begin(self, work: Callable[[], T]) -> ThreadJob[T]:
        """Run `work` in the second thread. The caller must wait for the job. Jobs run in order."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dtrfast-2", daemon=True)
                self._thread.start()
        job = ThreadJob(work)
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
            del job  # it has a view of a buffer, which is used again


class ThreadJob(Generic[T]):
    """Work for the second thread, and its result or its error."""

    __slots__ = ("_done", "_error", "_result", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: T | None = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self._done.release()

    def wait(self) -> T:
        """Wait for the result and return it; may be called once. Raises what the work raised."""
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)
