"""Keeps the courses: every ten seconds what the host, the registry and each process did since.

Two rings of each: one of ten-second steps for six hours, one of five-minute steps for thirty days.
Both are written at each look, the coarse one with what its step is so far (`course`).
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dtrfast.errors import DtrfastError
from dtrfast.machine.paths import course_file
from dtrfast.metrics import host, processes, ring
from dtrfast.metrics.course import together
from dtrfast.metrics.host import HostSample
from dtrfast.metrics.meter import difference, merge, quantile
from dtrfast.metrics.processes import ProcessSample
from dtrfast.metrics.ring import RingWriter

log = logging.getLogger("dtrfast.metrics")

STEP_SECONDS = 10
FINE = (STEP_SECONDS, 6 * 3600 // STEP_SECONDS)
COARSE = (300, 30 * 86_400 // 300)

_PARTS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
REGISTRY_COLUMNS = (
    "cpu_percent",
    "memory_used_bytes",
    "disk_used_bytes",
    "network_in_rate",
    "network_out_rate",
    "requests_rate",
    "pulls_rate",
    "pushes_rate",
    "refused_rate",
    "failed_rate",
    "bytes_in_rate",
    "bytes_out_rate",
    "hot_part",
    *(f"{kind}_{name}_seconds" for kind in ("pull", "push") for name, _ in _PARTS),
    "commits_rate",
    "changes_per_commit",
    "commit_seconds",
)
PROCESS_COLUMNS = (
    "cpu_percent",
    "resident_bytes",
    "anonymous_bytes",
    "threads",
    "descriptors",
    "requests_rate",
)
# A name that is no longer in use keeps its files; a server has no more processes than this.
_PROCESSES_MAX = 256
# For how long a process that says nothing may come back and go on from where it was.
_REMEMBERED_SECONDS = 3600.0


_Key = tuple[str, int]  # name and process id


@dataclass(frozen=True, slots=True)
class _Look:
    time: float
    host: HostSample
    processes: Mapping[_Key, ProcessSample]


class _Tiers:
    """A course in both resolutions."""

    def __init__(self, directory: Path, name: str, columns: Sequence[str]) -> None:
        self._fine_path = course_file(directory, name, "fine")
        self._fine = RingWriter(self._fine_path, columns, *FINE)
        self._coarse = RingWriter(course_file(directory, name, "coarse"), columns, *COARSE)
        self._step = -1
        self._rows: list[Mapping[str, float]] = []

    def put(self, now: float, values: Mapping[str, float]) -> None:
        step = int(now) // COARSE[0]
        if step != self._step:
            self._step, self._rows = step, self._known(step * COARSE[0], now)
        self._fine.put(now, values)
        self._rows.append(values)
        rows = self._rows
        means = {n: together(n, (row.get(n, math.nan) for row in rows)) for n in values}
        self._coarse.put(now, means)

    def _known(self, since: float, now: float) -> list[Mapping[str, float]]:
        """What an earlier recorder wrote of this step."""
        found = ring.read(self._fine_path, since, now - 1)
        return [
            {name: values[at] for name, values in found.columns.items()}
            for at in range(len(found.times))
        ]

    def close(self) -> None:
        self._fine.close()
        self._coarse.close()


class Recorder:
    """Writes the courses of one data directory. `read_store` gives the store's own figures, under
    `store_columns`. One thread.
    """

    def __init__(
        self,
        directory: Path,
        data: Path,
        store_columns: Sequence[str],
        read_store: Callable[[], Mapping[str, float]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._data = data
        self._read_store = read_store
        self._clock = clock
        self._columns = (*REGISTRY_COLUMNS, *store_columns)
        # Opened when they are first written: a disk without room stops no housekeeper.
        self._registry: _Tiers | None = None
        self._processes: dict[str, _Tiers] = {}
        self._before: _Look | None = None
        self._last: dict[_Key, ProcessSample] = {}

    def step(self) -> None:
        """Look, and write what was since the last look. Raises OSError."""
        now = self._clock()
        if self._before is not None and 0 <= now - self._before.time < STEP_SECONDS / 2:
            return  # a clock that is being set; over a moment rates mean nothing
        processes.make_directory(self._directory)
        samples = processes.read_processes(self._directory, now)
        look = _Look(now, host.measure_host(self._data), {(s.name, s.pid): s for s in samples})
        before, self._before = self._before, look
        last, self._last = self._last, {**self._seen_lately(now), **look.processes}
        if before is None or now <= before.time:
            return
        before = _Look(before.time, before.host, _comparable(last, look, before.time))
        if self._registry is None:
            self._registry = _Tiers(self._directory, "registry", self._columns)
        self._registry.put(now, {**registry_values(before, look), **self._figures()})
        for key, sample in look.processes.items():
            values = _process_values(before.processes.get(key), sample)
            self._tiers_of(sample.name).put(now, values)

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()
        for tiers in self._processes.values():
            tiers.close()

    def _figures(self) -> Mapping[str, float]:
        try:
            return self._read_store()
        except DtrfastError:
            return {}  # the host's figures are worth keeping all the same

    def _seen_lately(self, now: float) -> dict[_Key, ProcessSample]:
        return {k: s for k, s in self._last.items() if now - s.time < _REMEMBERED_SECONDS}

    def _tiers_of(self, name: str) -> _Tiers:
        if name not in self._processes:
            if len(self._processes) >= _PROCESSES_MAX:
                self._processes.pop(next(iter(self._processes))).close()
            file_name = f"process-{plain(name)}"
            self._processes[name] = _Tiers(self._directory, file_name, PROCESS_COLUMNS)
        return self._processes[name]


def _comparable(
    last: Mapping[_Key, ProcessSample], look: _Look, since: float
) -> dict[_Key, ProcessSample]:
    """What each process was to be compared with. One that began since counts from zero; one that
    is seen for the first time and is older counts from now: nobody knows when it did what.
    """
    found = dict(last)
    for key, sample in look.processes.items():
        if key not in found and sample.started_at < since:
            found[key] = sample
    return found


def plain(name: str) -> str:
    """A process's name, for a file."""
    return re.sub(r"[^a-z0-9-]", "_", name.lower())[:64]


# ---- from two looks to rates -------------------------------------------------------------------
def registry_values(before: _Look, now: _Look) -> dict[str, float]:
    """What the host and all processes together did between two looks."""
    passed = now.time - before.time
    cpu = now.host.cpu_total_seconds - before.host.cpu_total_seconds
    busy = now.host.cpu_busy_seconds - before.host.cpu_busy_seconds
    # Less than before where an interface has gone.
    received = now.host.network_in_bytes - before.host.network_in_bytes
    sent = now.host.network_out_bytes - before.host.network_out_bytes
    values: dict[str, float] = {
        "cpu_percent": 100 * max(0.0, busy) / cpu if cpu > 0 else math.nan,
        "memory_used_bytes": now.host.memory_used_bytes,
        "disk_used_bytes": now.host.disk_used_bytes,
        "network_in_rate": max(0, received) / passed,
        "network_out_rate": max(0, sent) / passed,
    }
    pairs = [(before.processes.get(key), sample) for key, sample in now.processes.items()]
    return values | _rates(pairs, passed) | _times(pairs)


_Pair = tuple[ProcessSample | None, ProcessSample]


def _rates(pairs: Sequence[_Pair], passed: float) -> dict[str, float]:
    grown = dict.fromkeys(_GROWING, 0.0)
    rates = dict.fromkeys(_RATES, 0.0)
    for old, new in pairs:
        had = {} if old is None else _growing(old)
        # A process says when it looked at itself: after a silence it did not do all of it just now.
        own = passed if old is None else new.time - old.time
        for name, value in _growing(new).items():
            more = max(0.0, value - had.get(name, 0.0))
            grown[name] += more
            if name in rates and own > 0:
                rates[name] += more / own
    requests, commits = grown["requests"], grown["commits"]
    return {
        **{f"{name}_rate": value for name, value in rates.items()},
        "hot_part": grown["hot"] / requests if requests else math.nan,
        "changes_per_commit": grown["changes"] / commits if commits else math.nan,
        "commit_seconds": grown["commit_seconds"] / commits if commits else math.nan,
    }


_RATES = (
    "requests",
    "pulls",
    "pushes",
    "refused",
    "failed",
    "bytes_in",
    "bytes_out",
    "commits",
)
_GROWING = (*_RATES, "hot", "changes", "commit_seconds")


def _growing(sample: ProcessSample) -> dict[str, float]:
    """The counters of a process."""
    found: dict[str, float] = {
        "commits": sample.commits,
        "changes": sample.changes,
        "commit_seconds": sample.commit_seconds,
    }
    totals = sample.totals
    if totals is not None:
        found |= {
            "requests": sum(totals.requests.values()),
            "pulls": totals.requests.get("pull", 0),
            "pushes": totals.requests.get("push", 0),
            "refused": totals.refused,
            "failed": totals.failed,
            "hot": totals.hot,
            "bytes_in": totals.bytes_in,
            "bytes_out": totals.bytes_out,
        }
    return found


def _times(pairs: Sequence[_Pair]) -> dict[str, float]:
    """Quantiles of what was answered in between."""
    found: dict[str, float] = {}
    for kind in ("pull", "push"):
        counts: list[int] = []
        for old, new in pairs:
            if new.totals is not None:
                mine: list[int] = getattr(new.totals, kind)
                if old is not None and old.totals is not None:
                    mine = difference(mine, getattr(old.totals, kind))
                counts = merge(counts, mine) if counts else list(mine)
        for name, part in _PARTS:
            value = quantile(counts, part) if sum(counts) else math.nan
            found[f"{kind}_{name}_seconds"] = value
    return found


def _process_values(old: ProcessSample | None, new: ProcessSample) -> dict[str, float]:
    values: dict[str, float] = {
        "resident_bytes": new.resident_bytes,
        "anonymous_bytes": new.anonymous_bytes,
        "threads": new.threads,
        "descriptors": new.descriptors,
    }
    passed = 0.0 if old is None else new.time - old.time
    if old is not None and passed > 0:
        values["cpu_percent"] = 100 * max(0.0, new.cpu_seconds - old.cpu_seconds) / passed
        grown = _growing(new).get("requests", 0.0) - _growing(old).get("requests", 0.0)
        values["requests_rate"] = max(0.0, grown) / passed
    return values


class Recording:
    """A thread that keeps a recorder going."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._has_failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtrfast-recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._recorder.close()

    def _run(self) -> None:
        while True:
            self._try()
            # The middle of a step, so that a clock which is being set does not miss one.
            if self._stop.wait(STEP_SECONDS - (time.time() - STEP_SECONDS / 2) % STEP_SECONDS):
                return

    def _try(self) -> None:
        try:
            self._recorder.step()
            self._has_failed = False
        except OSError as error:
            if not self._has_failed:
                log.warning("metrics are not recorded for now: %s", error)
            self._has_failed = True
        except Exception:
            log.exception("metrics were not recorded; they will be tried again")
