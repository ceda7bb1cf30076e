"""Samples of the processes of a server. Each process replaces its small file every two seconds.

All processes can read the files. The files are not synced: after a power cut they are too old to
count.
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
from dtrfast.metrics.blob_totals import BlobTotals
from dtrfast.metrics.meter import BOUNDS, Meter, Totals

log = logging.getLogger("dtrfast.metrics")

_INTERVAL_SECONDS = 2.0
# A process that has not written for so long is not reported.
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


class Reporter:
    """A thread that writes the samples of this process.

    `commits` returns the number of group commits of the index, the number of changes in them, and
    their total seconds. `blobs` returns the counts of calls to the blob store.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        meter: Meter | None = None,
        commits: Callable[[], tuple[int, int, float]] = lambda: (0, 0, 0.0),
        blobs: Callable[[], BlobTotals] = BlobTotals,
    ) -> None:
        self._path = sample_file(directory, name)
        self._name = name
        self._meter = meter
        self._commits = commits
        self._blobs = blobs
        self._process = psutil.Process()
        self._started_at = self._process.create_time()
        # Earlier versions wrote files `NAME.PID` and left them if they were killed.
        for path in directory.glob(f"{name}.*"):
            if path.suffix[1:].isdecimal():
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        self._has_failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop writing and remove the file."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def sample(self) -> ProcessSample:
        """Return a sample of this process."""
        anonymous = 0
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    anonymous = int(line.split()[1]) * 1024
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
                anonymous_bytes=anonymous,
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
                # Names are unique, so this overwrites a file that a killed process left.
                temporary = self._path.with_suffix(".new")
                temporary.write_bytes(_encoder.encode(self.sample()))
                temporary.replace(self._path)
            except (OSError, psutil.Error) as error:
                if not self._has_failed:
                    self._has_failed = True
                    log.warning("metrics of this process cannot be written: %s", error)
            if self._stop.wait(_INTERVAL_SECONDS):
                return


def read_processes(directory: Path, now: float) -> list[ProcessSample]:
    """Return the samples of the running processes, sorted by name. `now` is in seconds."""
    found: list[ProcessSample] = []
    for path in sorted(directory.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, RecursionError, msgspec.DecodeError):
            sample = _decoder.decode(path.read_bytes())
            totals, size = sample.totals, len(BOUNDS) + 1
            # Another version may have written histograms with other buckets.
            is_whole = totals is None or len(totals.pull) == len(totals.push) == size
            if is_whole and abs(now - sample.time) <= _FRESH_SECONDS:
                found.append(sample)
    return found
