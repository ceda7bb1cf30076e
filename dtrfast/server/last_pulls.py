"""The times of last pulls, which gather in memory until a thread writes them to the index.

A commit may wait for a slow disk, and the callers that record pulls must not wait.
"""

from __future__ import annotations

import logging
import threading

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine
from dtrfast.registry import pulls

log = logging.getLogger("dtrfast.pulls")

# The time between two writes, and the largest count of references that gather until then.
_SECONDS = 10.0
_COUNT_MAX = 5000


class LastPulls:
    """Remembers the last pull of each reference. Safe from many threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-pulls", daemon=True)
        self._thread.start()

    def note(self, repository: str, reference: str, at: int) -> None:
        """Record a pull of `reference` at the Unix time `at`.

        It is dropped if too many references have gathered.
        """
        with self._lock:
            if len(self._seen) < _COUNT_MAX or (repository, reference) in self._seen:
                self._seen[repository, reference] = at

    def close(self) -> None:
        """Write the gathered times, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            pulls.note(self._engine, seen)
        except DtrfastError:
            return  # the disk is full: losing some times of pulls does no harm
        except Exception:  # the thread must go on for later pulls
            log.exception("could not record the times of some last pulls")
