"""The dashboard: the host, each process, and the activity of the registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from dtrfast.api.v0 import jobs, ldap, metrics, storage
from dtrfast.console.page import PageRequest, View
from dtrfast.metrics.report import Metrics, MetricsHistory
from dtrfast.times import rfc3339

SPANS = (
    (900, "15 minutes"),
    (3600, "1 hour"),
    (86_400, "1 day"),
    (604_800, "7 days"),
    (2_592_000, "30 days"),
)
_POINTS = 240
# The history has a point every ten seconds. A point older than a minute is not current.
_POINT_SECONDS = 10
_CURRENT_SECONDS = 60
_CURRENT_COLUMNS = ("cpu_percent", "network_in_rate", "network_out_rate")
_BUSY_POINTS = 15 * 60 // _POINT_SECONDS
_NEARLY = 0.95
# The time that an administrator needs to order a disk.
_DISK_FULL_SECONDS = 14 * 86_400
_PROBLEMS_SHOWN_MAX = 10
_RUNS_LOOKED_AT = 50


def show(page: PageRequest) -> View:
    """Show the page. The charts load their data by themselves."""
    wanted = page.query.get("span", "3600")
    span = int(wanted) if wanted in {str(seconds) for seconds, _ in SPANS} else 3600
    return View("dashboard.html", {**live_values(page), "spans": SPANS, "span": span})


def live_values(page: PageRequest) -> dict[str, Any]:
    """Return the values of the live part."""
    now = page.ask(metrics.get_metrics)
    state = page.ask(storage.get_storage)
    hour = page.ask(
        metrics.get_metrics_history,
        query={"seconds": 3600, "points": 3600 // _POINT_SECONDS},
    )
    workers = [process for process in now.processes if process.requests]
    requests = sum(sum(worker.requests.values()) for worker in workers)
    commits = sum(process.commits for process in now.processes)
    return {
        "now": now,
        "current": {name: _last(hour, name) for name in _CURRENT_COLUMNS},
        "state": state,
        "full_at": rfc3339(now.disk_full_at) if now.disk_full_at else "",
        "problems": problems(page, now, hour) + [(t, "/settings/storage") for t in state.exposures],
        # Sums over the processes, each since its start.
        "totals": {
            "requests": requests,
            "pulls": sum(worker.requests.get("pull", 0) for worker in workers),
            "pushes": sum(worker.requests.get("push", 0) for worker in workers),
            "refused": sum(worker.refused for worker in workers),
            "failed": sum(worker.failed for worker in workers),
            "bytes_in": sum(worker.bytes_in for worker in workers),
            "bytes_out": sum(worker.bytes_out for worker in workers),
            "hot_part": sum(worker.hot for worker in workers) / max(1, requests),
            "commits": commits,
            "changes_per_commit": sum(p.changes for p in now.processes) / max(1, commits),
            "commit_seconds": sum(p.commit_seconds for p in now.processes) / max(1, commits),
        },
    }


def points(page: PageRequest, names: Iterable[str]) -> dict[str, MetricsHistory]:
    """Return the points of the last minute: of each process by its name, of the registry by ''."""
    query: dict[str, object] = {"seconds": _CURRENT_SECONDS, "points": 2 * _CURRENT_SECONDS}
    found = {"": page.ask(metrics.get_metrics_history, query=query)}
    for name in names:
        history = page.glance(metrics.get_metrics_history, query={**query, "process": name})
        if history is not None:
            found[name] = history
    return found


def _last(history: MetricsHistory, column: str) -> float | None:
    """Return the newest value of a column; None if the last minute has no value."""
    values = history.columns.get(column, [])[-_CURRENT_SECONDS // _POINT_SECONDS :]
    known = [value for value in values if value is not None]
    return known[-1] if known else None


def problems(page: PageRequest, now: Metrics, hour: MetricsHistory) -> list[tuple[str, str]]:
    """Return the open problems besides the notices of every page: texts and addresses."""
    found: list[tuple[str, str]] = []
    if now.disk_full_at and now.disk_full_at < now.time + _DISK_FULL_SECONDS:
        day = rfc3339(now.disk_full_at)[:10]
        found.append((f"The disk will be full on {day}", "/settings/storage"))
    if now.memory_bytes and now.memory_used_bytes > _NEARLY * now.memory_bytes:
        found.append(("The host's memory is nearly used up", "/dashboard"))
    busy = [value for value in hour.columns.get("cpu_percent", ())[-_BUSY_POINTS:] if value]
    if len(busy) == _BUSY_POINTS and min(busy) > 100 * _NEARLY:
        found.append(("The host's CPU has been busy for 15 minutes", "/dashboard"))
    failed = round(
        sum(value or 0 for value in hour.columns.get("failed_rate", ())) * _POINT_SECONDS
    )
    if failed:
        word = "request" if failed == 1 else "requests"
        found.append((f"{failed} {word} failed in the last hour", "/logs?level=error"))
    names = {process.name for process in now.processes}
    if "housekeeper" not in names and any(name.startswith("worker") for name in names):
        found.append(("The housekeeper is not running: no space is freed", "/logs"))
    found += _of_jobs(page)
    last = page.glance(ldap.get_last_sync)
    if last is None:
        return found
    texts = [f"LDAP was not synchronized: {last.error}"] if last.error else []
    texts += [f"LDAP: {p.subject}: {p.dn}: {p.reason}" for p in last.problems[:_PROBLEMS_SHOWN_MAX]]
    if len(last.problems) > _PROBLEMS_SHOWN_MAX:
        texts.append(f"LDAP: {len(last.problems) - _PROBLEMS_SHOWN_MAX} more problems")
    return found + [(text, "/settings/auth#ldap") for text in texts]


def _of_jobs(page: PageRequest) -> list[tuple[str, str]]:
    """Return the tasks and jobs whose last run failed."""
    known = page.glance(jobs.list_jobs, query={"limit": _RUNS_LOOKED_AT})
    if known is None:
        return []
    found = [
        (f"The task {task.name} fails: {task.error}", "/settings/jobs#tasks")
        for task in known.tasks
        if task.error
    ]
    last = {run.job: run for run in reversed(known.runs)}
    return found + [
        (f"The job {run.job} failed: {run.result}", "/settings/jobs")
        for run in last.values()
        if run.state in ("error", "worker_dead")
    ]


def history(page: PageRequest) -> View:
    """Return the data of the charts as JSON."""
    query: dict[str, object] = {"seconds": page.query.get("seconds", "3600"), "points": _POINTS}
    if page.query.get("process"):
        query["process"] = page.query["process"]
    found = page.ask(metrics.get_metrics_history, query=query)
    return View(content=msgspec.json.encode(found), media_type="application/json")
