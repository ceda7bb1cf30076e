"""What each process of the server says of itself: a small file that it replaces every two seconds.

Any process reads them all. They need no sync: what a power cut leaves is old, and not counted.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from dtrfast.machine.paths import sample_file
from dtrfast.metrics.blobs import BlobTotals
from dtrfast.metrics.meter import BOUNDS, Meter, Totals

log = logging.getLogger("dtrfast.metrics")

_INTERVAL_SECONDS = 2.0
# A process that wrote nothing for so long is gone, or has other worries.
_FRESH_SECONDS = 15.0


class ProcessSample(msgspec.Struct, frozen=True):
    """A process at one moment. Times are seconds since the epoch; counters only grow."""

    name: str
    pid: int
    started_at: float
    time: float
    cpu_seconds: float
    resident_bytes: int
    anonymous_bytes: int
    threads: int
    descriptors: int
    commits: int = 0
    changes: int = 0
    commit_seconds: float = 0.0
    totals: Totals | None = None
    blobs: BlobTotals = BlobTotals()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ProcessSample)


def make_directory(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)


def _no_commits() -> tuple[int, int, float]:
    return 0, 0, 0.0


class Reporter:
    """Writes the samples of this process, from a thread of its own. `commits` tells the group
    commits of the index, the changes in them, and the seconds they took; `blobs` tells the
    calls of the blob store.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        meter: Meter | None = None,
        commits: Callable[[], tuple[int, int, float]] = _no_commits,
        blobs: Callable[[], BlobTotals] = BlobTotals,
    ) -> None:
        self._path = sample_file(directory, name)
        self._name = name
        self._meter = meter
        self._commits = commits
        self._blobs = blobs
        self._process = psutil.Process()
        self._started_at = self._process.create_time()
        _remove_leftovers(directory, name)
        self._has_failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write no more; the file goes."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def sample(self) -> ProcessSample:
        """This process, now."""
        with self._process.oneshot():
            times = self._process.cpu_times()
            commits, changes, commit_seconds = self._commits()
            return ProcessSample(
                name=self._name,
                pid=self._process.pid,
                started_at=self._started_at,
                time=time.time(),
                cpu_seconds=times.user + times.system,
                resident_bytes=self._process.memory_info().rss,
                anonymous_bytes=_anonymous_bytes(),
                threads=self._process.num_threads(),
                descriptors=self._process.num_fds(),
                commits=commits,
                changes=changes,
                commit_seconds=commit_seconds,
                totals=None if self._meter is None else self._meter.totals(),
                blobs=self._blobs(),
            )

    def _run(self) -> None:
        while True:
            try:
                make_directory(self._path.parent)
                # One name has one process, so what a killed one left is written over.
                temporary = self._path.with_suffix(".new")
                temporary.write_bytes(_encoder.encode(self.sample()))
                temporary.replace(self._path)
            except (OSError, psutil.Error) as error:
                if not self._has_failed:
                    self._has_failed = True
                    log.warning("metrics of this process are not written: %s", error)
            if self._stop.wait(_INTERVAL_SECONDS):
                return


def _remove_leftovers(directory: Path, name: str) -> None:
    """Files `NAME.PID` of processes that were killed while they wrote one."""
    for path in directory.glob(f"{name}.*"):
        if path.suffix[1:].isdecimal():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def read_processes(directory: Path, now: float) -> list[ProcessSample]:
    """The processes that run, by name."""
    found: list[ProcessSample] = []
    for path in sorted(directory.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, RecursionError, msgspec.DecodeError):
            sample = _decoder.decode(path.read_bytes())
            if abs(now - sample.time) <= _FRESH_SECONDS and _is_whole(sample.totals):
                found.append(sample)
    return found


def _is_whole(totals: Totals | None) -> bool:
    """Whether its counts are of the buckets that this version has."""
    return totals is None or len(totals.pull) == len(totals.push) == len(BOUNDS) + 1


def _anonymous_bytes() -> int:
    """Memory that is this process's own, without pages of files."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
