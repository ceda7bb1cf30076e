"""A bound on the threads that do one kind of slow work, and on the threads that wait to do it.

Requests share the threads of a worker. Work that waits for another machine or for a core gets only
a part of them, so other requests are answered as usual.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turnstile:
    """Lets at most `running_max` threads in at a time. `waiting_max` others wait, each up to
    `wait_seconds`. Safe from many threads.
    """

    def __init__(self, running_max: int, waiting_max: int, wait_seconds: float) -> None:
        self._running = threading.BoundedSemaphore(running_max)
        self._waiting = threading.BoundedSemaphore(waiting_max)
        self._wait_seconds = wait_seconds

    @contextmanager
    def passed(self) -> Iterator[bool]:
        """Return a context that gives True if the thread is inside; False if there is no room."""
        is_inside = self._running.acquire(blocking=False)
        if not is_inside and self._waiting.acquire(blocking=False):
            try:
                is_inside = self._running.acquire(timeout=self._wait_seconds)
            finally:
                self._waiting.release()
        try:
            yield is_inside
        finally:
            if is_inside:
                self._running.release()
