"""When something was last pulled: gathered in memory, and written now and then by a thread of its
own, since a commit may wait for a slow disk and those who note pulls must not.
"""

from __future__ import annotations

import logging
import threading

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine
from dtrfast.registry import pulls

log = logging.getLogger("dtrfast.pulls")

# When pulls are written down, and how many are remembered until then.
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
        """Something was pulled."""
        with self._lock:
            if len(self._seen) < _COUNT_MAX or (repository, reference) in self._seen:
                self._seen[repository, reference] = at

    def close(self) -> None:
        """Write down the last ones, and end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            pulls.note(self._engine, seen)
        except DtrfastError:
            return  # a full disk: when something was pulled can wait
        except Exception:  # the thread is for all pulls to come
            log.exception("it is not written when some things were last pulled")
