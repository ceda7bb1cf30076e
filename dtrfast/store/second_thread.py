"""A second thread for the one transfer that runs: where nobody else wants the other core.

Hashing takes a third to a half of a transfer's time, compressing half of the time of what
compresses. With one transfer in the process a second thread takes part of that (measured on two
cores: docs/performance.md). With more of them every core has work already, and each transfer does
all of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class SecondThread:
    """The process's second thread for transfers. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transfers = 0
        self._cores = len(os.sched_getaffinity(0))
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_free(self) -> bool:
        """Whether the one transfer that runs had better share its work."""
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

    def begin(self, work: Callable[[], T]) -> Job[T]:
        """Do this beside the caller, who waits for the job. Jobs are done in order."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dtrfast-2", daemon=True)
                self._thread.start()
        job = Job(work)
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


class Job(Generic[T]):
    """Work that a thread was given, and what became of it."""

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
        """The result, once. Raises what the work raised."""
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return cast(T, self._result)
