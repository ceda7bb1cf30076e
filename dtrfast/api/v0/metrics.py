"""Metrics: what the processes and the host do now, and have done for thirty days."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from dtrfast.api.v0 import admin_objects as objects
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import CredentialUnknown
from dtrfast.machine.paths import Layout
from dtrfast.metrics import forecast, host, processes
from dtrfast.metrics.history import History
from dtrfast.metrics.meter import merge, quantile
from dtrfast.metrics.processes import ProcessSample
from dtrfast.metrics.ring import Series

operations = Operations("metrics")

_POINTS_MAX = 1000
_MONTH_SECONDS = 30 * 86_400
_BUSIEST_MAX = 10
_FORECAST_POINTS = 500
_FORECAST_SECONDS = 60


@operations.add("GET", "/admin/metrics", answer=objects.Metrics)
def get_metrics(call: ApiCall) -> objects.Metrics:
    """Show what the host and each process do now. Counters count since the process began."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    data = call.config.store.data
    now = time.time()
    state = host.measure_host(data)
    samples = processes.read_processes(Layout(data).metrics, now)
    full_at = _full_at(Layout(data).metrics, state.disk_bytes, int(now) // _FORECAST_SECONDS)
    return objects.Metrics(
        time=now,
        cores=state.cores,
        load=state.load_1,
        cpu_busy_seconds=state.cpu_busy_seconds,
        cpu_total_seconds=state.cpu_total_seconds,
        memory_used_bytes=state.memory_used_bytes,
        memory_bytes=state.memory_bytes,
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
    course = History(directory).registry(_MONTH_SECONDS, _FORECAST_POINTS, now)
    used = course.columns.get("disk_used_bytes", [])
    return forecast.full_at(course.times, used, disk_bytes, now)


def _process(sample: ProcessSample) -> objects.ProcessMetrics:
    totals = sample.totals
    return objects.ProcessMetrics(
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
        blobs_placed=sample.blobs.placed,
        blobs_placed_bytes=sample.blobs.placed_bytes,
        blobs_opened=sample.blobs.opened,
        blobs_read_bytes=sample.blobs.read_bytes,
        blobs_released=sample.blobs.released,
        blobs_failed=dict(sample.blobs.failed),
    )


def _busiest(samples: list[ProcessSample]) -> list[objects.BusyRepository]:
    """Over all processes, of the last minutes."""
    sums: dict[str, list[int]] = {}
    for sample in samples:
        for name, *numbers in sample.totals.repositories if sample.totals else ():
            have = sums.setdefault(name, [0, 0, 0])
            for place, number in enumerate(numbers):
                have[place] += number
    order = sorted(sums.items(), key=lambda item: item[1], reverse=True)[:_BUSIEST_MAX]
    return [
        objects.BusyRepository(name=name, requests=n[0], bytes_in=n[1], bytes_out=n[2])
        for name, n in order
    ]


def _quantiles(samples: list[ProcessSample], kind: str) -> list[float]:
    """50 %, 95 % and 99 % of what was answered since the processes began."""
    counts: list[int] = []
    for sample in samples:
        if sample.totals is not None:
            mine = sample.totals.pull if kind == "pull" else sample.totals.push
            counts = merge(counts, mine) if counts else list(mine)
    return [quantile(counts, part) if sum(counts) else 0.0 for part in (0.5, 0.95, 0.99)]


class HistoryQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`seconds` back from now, at most `points` points; `process`: one process's own course."""

    seconds: Annotated[int, Meta(ge=60, le=_MONTH_SECONDS)] = 3600
    points: Annotated[int, Meta(ge=2, le=_POINTS_MAX)] = 300
    process: Annotated[str, Meta(max_length=64)] = ""


@operations.add(
    "GET",
    "/admin/metrics/history",
    answer=objects.MetricsHistory,
    query=HistoryQuery,
    refusals=(404,),
)
def get_metrics_history(call: ApiCall) -> objects.MetricsHistory:
    """Show the course of the metrics. Rates are per second; what is not known is null."""
    query: HistoryQuery = call.query
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    history = History(Layout(call.config.store.data).metrics)
    now = time.time()
    if not query.process:
        found = history.registry(query.seconds, query.points, now)
    elif query.process in history.process_names():
        found = history.process(query.process, query.seconds, query.points, now)
    else:
        raise CredentialUnknown(f"there is no process {query.process!r}")
    return _history(found)


def _history(series: Series) -> objects.MetricsHistory:
    columns = {
        name: [None if math.isnan(value) else value for value in values]
        for name, values in series.columns.items()
    }
    return objects.MetricsHistory(times=list(series.times), columns=columns)
