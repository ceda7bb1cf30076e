"""The dashboard: the health of the registry, its activity, its storage, and its processes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from dtrfast.api.v0 import ldap, metrics, storage
from dtrfast.api.v0.objects import AuditEvent
from dtrfast.console import health
from dtrfast.console.health import CURRENT_SECONDS, Observation
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
# More than the ten-second steps of an hour and the five-minute steps of a day.
_POINTS = 400
_POINTS_MAX = 1000
_CURRENT_COLUMNS = ("cpu_percent", "network_in_rate", "network_out_rate")


def show(page: PageRequest) -> View:
    """Show the page. The charts load their data by themselves."""
    wanted = page.query.get("span", "3600")
    span = int(wanted) if wanted in {str(seconds) for seconds, _ in SPANS} else 3600
    values = live_values(page, health.last_backup(page))
    values |= {"notices": []}  # the health has them
    return View("dashboard.html", {**values, "spans": SPANS, "span": span})


def live_values(page: PageRequest, backup: AuditEvent | None) -> dict[str, Any]:
    """Return the values of the live parts. `backup` is the event of the last backup."""
    now = page.ask(metrics.get_metrics)
    state = page.ask(storage.get_storage)
    # With the most points, so that each is one step: the sum of the rates gives counts.
    hour = page.ask(metrics.get_metrics_history, query={"seconds": 3600, "points": _POINTS_MAX})
    seen = Observation(now, state, hour, backup, page.glance(ldap.get_last_sync))
    return {
        "now": now,
        "current": {name: seen.current(name) for name in _CURRENT_COLUMNS},
        "state": state,
        "health": health.judge(page, seen),
        "totals": _totals(now),
    }


def _totals(now: Metrics) -> dict[str, Any]:
    """Return sums over the processes, each since its start."""
    workers = [process for process in now.processes if process.requests]
    requests = sum(sum(worker.requests.values()) for worker in workers)
    commits = sum(process.commits for process in now.processes)
    begun = min((worker.started_at for worker in workers), default=0.0)
    return {
        "since": rfc3339(begun) if begun else "",
        "images_pushed": sum(worker.images_pushed for worker in workers),
        "images_pulled": sum(worker.images_pulled for worker in workers),
        "bytes_in": sum(worker.bytes_in for worker in workers),
        "bytes_out": sum(worker.bytes_out for worker in workers),
        "requests": requests,
        "refused": sum(worker.refused for worker in workers),
        "failed": sum(worker.failed for worker in workers),
        "hot_part": sum(worker.hot for worker in workers) / max(1, requests),
        "commits": commits,
        "changes_per_commit": sum(p.changes for p in now.processes) / max(1, commits),
        "commit_seconds": sum(p.commit_seconds for p in now.processes) / max(1, commits),
    }


def points(page: PageRequest, names: Iterable[str]) -> dict[str, MetricsHistory]:
    """Return the points of the last minute: of each process by its name, of the registry by ''."""
    query: dict[str, object] = {"seconds": CURRENT_SECONDS, "points": 2 * CURRENT_SECONDS}
    found = {"": page.ask(metrics.get_metrics_history, query=query)}
    for name in names:
        history = page.glance(metrics.get_metrics_history, query={**query, "process": name})
        if history is not None:
            found[name] = history
    return found


def history(page: PageRequest) -> View:
    """Return the data of the charts as JSON, and the time at which they end."""
    query: dict[str, object] = {"seconds": page.query.get("seconds", "3600"), "points": _POINTS}
    if page.query.get("process"):
        query["process"] = page.query["process"]
    found = page.ask(metrics.get_metrics_history, query=query)
    document = {**msgspec.to_builtins(found), "now": time.time()}
    return View(content=msgspec.json.encode(document), media_type="application/json")
