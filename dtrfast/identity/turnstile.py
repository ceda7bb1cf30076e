"""A bound on the threads that do one kind of slow work, and on those that wait to do it.

Requests share the threads of a worker. Work that waits for another machine, or for a core, gets a
part of them, so that all other requests are answered as usual.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turnstile:
    """At most `running_max` threads inside, and `waiting_max` that wait for `wait_seconds`."""

    def __init__(self, running_max: int, waiting_max: int, wait_seconds: float) -> None:
        self._running = threading.BoundedSemaphore(running_max)
        self._waiting = threading.BoundedSemaphore(waiting_max)
        self._wait_seconds = wait_seconds

    @contextmanager
    def passed(self) -> Iterator[bool]:
        """True for a thread that is inside during the block; False: there is no room."""
        is_inside = self._enter()
        try:
            yield is_inside
        finally:
            if is_inside:
                self._running.release()

    def _enter(self) -> bool:
        if self._running.acquire(blocking=False):
            return True
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            return self._running.acquire(timeout=self._wait_seconds)
        finally:
            self._waiting.release()
