"""Records the time series of the host, the registry and each process, every ten seconds.

Each series has two rings: ten-second steps for six hours, and five-minute steps for thirty days.
Both are written with each observation. The current step of the coarse ring aggregates the
observations so far.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dtrfast.errors import DtrfastError
from dtrfast.machine.paths import series_file
from dtrfast.metrics import host, processes, ring
from dtrfast.metrics.aggregation import aggregate
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
    "images_pushed_rate",
    "images_pulled_rate",
)
PROCESS_COLUMNS = (
    "cpu_percent",
    "resident_bytes",
    "anonymous_bytes",
    "threads",
    "descriptors",
    "requests_rate",
)
# The most processes whose rings are open. A server has fewer; unused names keep their files.
_PROCESSES_MAX = 256
# The last sample of a silent process is kept for so long, so that its rates can continue.
_REMEMBERED_SECONDS = 3600.0


_Key = tuple[str, int]  # name and process id


@dataclass(frozen=True, slots=True)
class _Observation:
    time: float
    host: HostSample
    processes: Mapping[_Key, ProcessSample]


class _Tiers:
    """A time series in both resolutions."""

    def __init__(self, directory: Path, name: str, columns: Sequence[str]) -> None:
        self._fine_path = series_file(directory, name, "fine")
        self._fine = RingWriter(self._fine_path, columns, *FINE)
        self._coarse = RingWriter(series_file(directory, name, "coarse"), columns, *COARSE)
        self._step = -1
        self._rows: list[Mapping[str, float]] = []

    def put(self, now: float, values: Mapping[str, float]) -> None:
        step = int(now) // COARSE[0]
        if step != self._step:
            # An earlier recorder may have written observations in this coarse step.
            known = ring.read(self._fine_path, step * COARSE[0], now - 1)
            columns = known.columns.items()
            self._rows = [{n: v[at] for n, v in columns} for at in range(len(known.times))]
            self._step = step
        self._fine.put(now, values)
        self._rows.append(values)
        rows = self._rows
        means = {n: aggregate(n, (row.get(n, math.nan) for row in rows)) for n in values}
        self._coarse.put(now, means)

    def close(self) -> None:
        self._fine.close()
        self._coarse.close()


class Recorder:
    """Writes the time series of one data directory. For one thread.

    `read_store` returns further values of the registry's series; `store_columns` are their names.
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
        # Opened at the first write, because a full disk must not stop the housekeeper.
        self._registry: _Tiers | None = None
        self._processes: dict[str, _Tiers] = {}
        self._before: _Observation | None = None
        self._last: dict[_Key, ProcessSample] = {}

    def step(self) -> None:
        """Take an observation and write the rates since the last one. Raises OSError."""
        now = self._clock()
        if self._before is not None and 0 <= now - self._before.time < STEP_SECONDS / 2:
            return  # the clock was set; rates over so short a time mean nothing
        processes.make_directory(self._directory)
        samples = processes.read_processes(self._directory, now)
        seen = _Observation(
            now, host.measure_host(self._data), {(s.name, s.pid): s for s in samples}
        )
        before, self._before = self._before, seen
        recent = {k: s for k, s in self._last.items() if now - s.time < _REMEMBERED_SECONDS}
        last, self._last = self._last, {**recent, **seen.processes}
        if before is None or now <= before.time:
            return
        before = _Observation(before.time, before.host, _comparable(last, seen, before.time))
        if self._registry is None:
            self._registry = _Tiers(self._directory, "registry", self._columns)
        values = registry_values(before, seen)
        with contextlib.suppress(DtrfastError):  # the other values are still worth keeping
            values |= self._read_store()
        self._registry.put(now, values)
        for key, sample in seen.processes.items():
            name, of_process = sample.name, _process_values(before.processes.get(key), sample)
            if name not in self._processes:
                if len(self._processes) >= _PROCESSES_MAX:
                    self._processes.pop(next(iter(self._processes))).close()
                file_name = f"process-{plain(name)}"
                self._processes[name] = _Tiers(self._directory, file_name, PROCESS_COLUMNS)
            self._processes[name].put(now, of_process)

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()
        for tiers in self._processes.values():
            tiers.close()


def _comparable(
    last: Mapping[_Key, ProcessSample], seen: _Observation, since: float
) -> dict[_Key, ProcessSample]:
    """Return for each process the sample to compare with.

    A process that began after `since` has none: its counters started at zero. An older process that
    appears for the first time is compared with itself, because the time of its work is unknown.
    """
    found = dict(last)
    for key, sample in seen.processes.items():
        if key not in found and sample.started_at < since:
            found[key] = sample
    return found


def plain(name: str) -> str:
    """Return a process's name as part of a file name."""
    return re.sub(r"[^a-z0-9-]", "_", name.lower())[:64]


# ---- from two observations to rates -------------------------------------------------------------
def registry_values(before: _Observation, now: _Observation) -> dict[str, float]:
    """Return the values of the host and of all processes together, between two observations."""
    passed = now.time - before.time
    cpu = now.host.cpu_total_seconds - before.host.cpu_total_seconds
    busy = now.host.cpu_busy_seconds - before.host.cpu_busy_seconds
    # Negative if an interface was removed.
    received = now.host.network_in_bytes - before.host.network_in_bytes
    sent = now.host.network_out_bytes - before.host.network_out_bytes
    values: dict[str, float] = {
        # A quota lets a group use a little more than its part of a short time.
        "cpu_percent": 100 * min(max(0.0, busy) / cpu, 1.0) if cpu > 0 else math.nan,
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
        # The time between the samples: a process that was silent did its work during all of it.
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
    "images_pushed",
    "images_pulled",
)
_GROWING = (*_RATES, "hot", "changes", "commit_seconds")


def _growing(sample: ProcessSample) -> dict[str, float]:
    """Return the counters of a process."""
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
            "images_pushed": totals.images_pushed,
            "images_pulled": totals.images_pulled,
        }
    return found


def _times(pairs: Sequence[_Pair]) -> dict[str, float]:
    """Return the quantiles of answer times between two observations."""
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


class RecorderThread:
    """A thread that calls a recorder at each step."""

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
            try:
                self._recorder.step()
                self._has_failed = False
            except OSError as error:
                if not self._has_failed:
                    log.warning("metrics cannot be recorded for now: %s", error)
                self._has_failed = True
            except Exception:
                log.exception("metrics could not be recorded; the next step will retry")
            # The middle of a step, so that small corrections of the clock skip no step.
            if self._stop.wait(STEP_SECONDS - (time.time() - STEP_SECONDS / 2) % STEP_SECONDS):
                return
