"""Reports of metrics, as administrators see them: now, and over the last thirty days."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from pathlib import Path

import msgspec

from dtrfast.errors import CredentialUnknown
from dtrfast.machine.paths import Layout
from dtrfast.metrics import forecast, host, processes
from dtrfast.metrics.history import History
from dtrfast.metrics.meter import merge, quantile
from dtrfast.metrics.processes import ProcessSample
from dtrfast.metrics.ring import Series

MONTH_SECONDS = 30 * 86_400
_BUSIEST_MAX = 10
_FORECAST_POINTS = 500
_FORECAST_SECONDS = 60


class ProcessMetrics(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A process of the server. Counters count since it began; times are seconds since the epoch.
    `sampledAt` is when it looked at itself, each two seconds: growth is over the time in between.
    `bytesIn` and `bytesOut` are bytes of content, from clients and to them. `imagesPushed` and
    `imagesPulled` count manifests: of images, of indexes of platforms, of signatures.
    `blobsPlaced` to `blobsFailed` count calls of the blob store; failures by the name of the error.
    """

    name: str
    pid: int
    started_at: float
    sampled_at: float
    cpu_seconds: float
    resident_bytes: int
    anonymous_bytes: int
    threads: int
    descriptors: int
    commits: int
    changes: int
    commit_seconds: float
    requests: dict[str, int]
    refused: int
    failed: int
    hot: int
    bytes_in: int
    bytes_out: int
    images_pushed: int
    images_pulled: int
    blobs_placed: int
    blobs_placed_bytes: int
    blobs_opened: int
    blobs_read_bytes: int
    blobs_released: int
    blobs_failed: dict[str, int]


class BusyRepository(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The requests to a repository in the last five to ten minutes."""

    name: str
    requests: int
    bytes_in: int
    bytes_out: int


class Metrics(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`diskFullAt` is when the disk is full at the pace of the last days; 0: not soon, or not
    known. `pullSeconds` and `pushSeconds` are the 50, 95 and 99 % quantiles. With `hasCpuLimit` or
    `hasMemoryLimit`, CPU or memory are those of the server's control group, and `cores` or
    `memoryBytes` its limit.
    """

    time: float
    cores: float
    has_cpu_limit: bool
    load: float
    cpu_busy_seconds: float
    cpu_total_seconds: float
    memory_used_bytes: int
    memory_bytes: int
    has_memory_limit: bool
    disk_used_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    disk_full_at: float
    network_in_bytes: int
    network_out_bytes: int
    processes: list[ProcessMetrics]
    busiest: list[BusyRepository]
    pull_seconds: list[float]
    push_seconds: list[float]


class MetricsHistory(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Courses: for each time (seconds since the epoch) a value of each column. Each time begins a
    step of `stepSeconds`, which is 0 without a history. Steps without a value are left out.
    """

    step_seconds: int
    times: list[int]
    columns: dict[str, list[float | None]]

    def since(self, column: str, time: float) -> list[float]:
        """Return the known values of a column from a time on, the oldest first."""
        values = zip(self.times, self.columns.get(column, ()), strict=False)
        return [value for at, value in values if at >= time and value is not None]


def measure(data: Path) -> Metrics:
    """Return the metrics of now. `data` is the data directory."""
    now = time.time()
    state = host.measure_host(data)
    samples = processes.read_processes(Layout(data).metrics, now)
    full_at = _full_at(Layout(data).metrics, state.disk_bytes, int(now) // _FORECAST_SECONDS)
    return Metrics(
        time=now,
        cores=state.cores,
        has_cpu_limit=state.has_cpu_limit,
        load=state.load_1,
        cpu_busy_seconds=state.cpu_busy_seconds,
        cpu_total_seconds=state.cpu_total_seconds,
        memory_used_bytes=state.memory_used_bytes,
        memory_bytes=state.memory_bytes,
        has_memory_limit=state.has_memory_limit,
        disk_used_bytes=state.disk_used_bytes,
        disk_free_bytes=state.disk_free_bytes,
        disk_bytes=state.disk_bytes,
        disk_full_at=0.0 if full_at is None else full_at,
        network_in_bytes=state.network_in_bytes,
        network_out_bytes=state.network_out_bytes,
        processes=[_process(sample) for sample in samples],
        busiest=_busiest(samples),
        pull_seconds=_quantiles(samples, "pull"),
        push_seconds=_quantiles(samples, "push"),
    )


@lru_cache(4)
def _full_at(directory: Path, disk_bytes: int, moment: int) -> float | None:
    """The forecast, which is made anew each minute: it reads the course of a month."""
    now = moment * _FORECAST_SECONDS
    course = History(directory).registry(MONTH_SECONDS, _FORECAST_POINTS, now)
    used = course.columns.get("disk_used_bytes", [])
    return forecast.full_at(course.times, used, disk_bytes, now)


def _process(sample: ProcessSample) -> ProcessMetrics:
    totals = sample.totals
    return ProcessMetrics(
        name=sample.name,
        pid=sample.pid,
        started_at=sample.started_at,
        sampled_at=sample.time,
        cpu_seconds=sample.cpu_seconds,
        resident_bytes=sample.resident_bytes,
        anonymous_bytes=sample.anonymous_bytes,
        threads=sample.threads,
        descriptors=sample.descriptors,
        commits=sample.commits,
        changes=sample.changes,
        commit_seconds=sample.commit_seconds,
        requests=dict(totals.requests) if totals else {},
        refused=totals.refused if totals else 0,
        failed=totals.failed if totals else 0,
        hot=totals.hot if totals else 0,
        bytes_in=totals.bytes_in if totals else 0,
        bytes_out=totals.bytes_out if totals else 0,
        images_pushed=totals.images_pushed if totals else 0,
        images_pulled=totals.images_pulled if totals else 0,
        blobs_placed=sample.blobs.placed,
        blobs_placed_bytes=sample.blobs.placed_bytes,
        blobs_opened=sample.blobs.opened,
        blobs_read_bytes=sample.blobs.read_bytes,
        blobs_released=sample.blobs.released,
        blobs_failed=dict(sample.blobs.failed),
    )


def _busiest(samples: list[ProcessSample]) -> list[BusyRepository]:
    """Over all processes, of the last minutes."""
    sums: dict[str, list[int]] = {}
    for sample in samples:
        for name, *numbers in sample.totals.repositories if sample.totals else ():
            have = sums.setdefault(name, [0, 0, 0])
            for place, number in enumerate(numbers):
                have[place] += number
    order = sorted(sums.items(), key=lambda item: item[1], reverse=True)[:_BUSIEST_MAX]
    return [
        BusyRepository(name=name, requests=n[0], bytes_in=n[1], bytes_out=n[2]) for name, n in order
    ]


def _quantiles(samples: list[ProcessSample], kind: str) -> list[float]:
    """50 %, 95 % and 99 % of what was answered since the processes began."""
    counts: list[int] = []
    for sample in samples:
        if sample.totals is not None:
            mine = sample.totals.pull if kind == "pull" else sample.totals.push
            counts = merge(counts, mine) if counts else list(mine)
    return [quantile(counts, part) if sum(counts) else 0.0 for part in (0.5, 0.95, 0.99)]


def read_history(data: Path, process: str, seconds: int, points: int) -> MetricsHistory:
    """Return the course of the last `seconds`, in at most `points` points: of a process, or of the
    whole registry if `process` is empty. Raises `CredentialUnknown` for an unknown process.
    """
    history = History(Layout(data).metrics)
    now = time.time()
    if not process:
        return _history(history.registry(seconds, points, now))
    if process not in history.process_names():
        raise CredentialUnknown(f"there is no process {process!r}")
    return _history(history.process(process, seconds, points, now))


def _history(series: Series) -> MetricsHistory:
    columns = {
        name: [None if math.isnan(value) else value for value in values]
        for name, values in series.columns.items()
    }
    return MetricsHistory(
        step_seconds=series.step_seconds, times=list(series.times), columns=columns
    )
