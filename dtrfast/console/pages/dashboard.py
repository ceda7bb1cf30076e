"""The dashboard: the host, each process, and what the registry does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from dtrfast.api.v0 import jobs, ldap, metrics, storage
from dtrfast.api.v0.admin_objects import Metrics, MetricsHistory
from dtrfast.console.page import Page, View
from dtrfast.times import rfc3339

SPANS = (
    (900, "15 minutes"),
    (3600, "1 hour"),
    (86_400, "1 day"),
    (604_800, "7 days"),
    (2_592_000, "30 days"),
)
_POINTS = 240
# A course has a point each ten seconds; what was recorded a minute ago is not what goes on.
_POINT_SECONDS = 10
_LATELY_SECONDS = 60
_LATELY = ("cpu_percent", "network_in_rate", "network_out_rate")
_BUSY_POINTS = 15 * 60 // _POINT_SECONDS
_NEARLY = 0.95
# Time to order a disk.
_DISK_FULL_SECONDS = 14 * 86_400
_PROBLEMS_SHOWN_MAX = 10
_RUNS_LOOKED_AT = 50


def show(page: Page) -> View:
    """The page; its courses are asked for by the charts."""
    wanted = page.query.get("span", "3600")
    span = int(wanted) if wanted in {str(seconds) for seconds, _ in SPANS} else 3600
    return View("dashboard.html", {**live_values(page), "spans": SPANS, "span": span})


def live_values(page: Page) -> dict[str, Any]:
    """What changes while one looks."""
    now = page.ask(metrics.get_metrics)
    state = page.ask(storage.get_storage)
    hour = page.ask(
        metrics.get_metrics_history,
        query={"seconds": 3600, "points": 3600 // _POINT_SECONDS},
    )
    return {
        "now": now,
        "lately": {name: _last(hour, name) for name in _LATELY},
        "state": state,
        "full_at": rfc3339(now.disk_full_at) if now.disk_full_at else "",
        "problems": problems(page, now, hour) + [(t, "/settings/storage") for t in state.exposures],
        "totals": _totals(now),
    }


def points(page: Page, names: Iterable[str]) -> dict[str, MetricsHistory]:
    """What was recorded in the last minute: of the registry under no name, and of processes."""
    query: dict[str, object] = {"seconds": _LATELY_SECONDS, "points": 2 * _LATELY_SECONDS}
    found = {"": page.ask(metrics.get_metrics_history, query=query)}
    for name in names:
        course = page.glance(metrics.get_metrics_history, query={**query, "process": name})
        if course is not None:
            found[name] = course
    return found


def _last(course: MetricsHistory, column: str) -> float | None:
    """The newest value; None where it is not of the last minute."""
    values = course.columns.get(column, [])[-_LATELY_SECONDS // _POINT_SECONDS :]
    known = [value for value in values if value is not None]
    return known[-1] if known else None


def _totals(now: Metrics) -> dict[str, float]:
    """Sums over the workers, since each began."""
    workers = [process for process in now.processes if process.requests]
    requests = sum(sum(worker.requests.values()) for worker in workers)
    commits = sum(process.commits for process in now.processes)
    return {
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
    }


def problems(page: Page, now: Metrics, hour: MetricsHistory) -> list[tuple[str, str]]:
    """What somebody should see to, besides the notices of every page: a text, and where."""
    found: list[tuple[str, str]] = []
    if now.disk_full_at and now.disk_full_at < now.time + _DISK_FULL_SECONDS:
        found.append((f"The disk is full on {rfc3339(now.disk_full_at)[:10]}", "/settings/storage"))
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
    return found + _of_jobs(page) + _of_directory(page)


def _of_jobs(page: Page) -> list[tuple[str, str]]:
    """Tasks whose last try failed, and the last run of each job if it did."""
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


def _of_directory(page: Page) -> list[tuple[str, str]]:
    last = page.glance(ldap.get_last_sync)
    if last is None:
        return []
    place = "/settings/auth#ldap"
    found = [(f"LDAP was not synchronised: {last.error}", place)] if last.error else []
    shown = [f"LDAP: {p.subject}: {p.dn}: {p.reason}" for p in last.problems[:_PROBLEMS_SHOWN_MAX]]
    if len(last.problems) > _PROBLEMS_SHOWN_MAX:
        shown.append(f"LDAP: {len(last.problems) - _PROBLEMS_SHOWN_MAX} more problems")
    return found + [(text, place) for text in shown]


def course(page: Page) -> View:
    """Courses for the charts, as JSON."""
    query: dict[str, object] = {"seconds": page.query.get("seconds", "3600"), "points": _POINTS}
    if page.query.get("process"):
        query["process"] = page.query["process"]
    found = page.ask(metrics.get_metrics_history, query=query)
    return View(content=msgspec.json.encode(found), media_type="application/json")
