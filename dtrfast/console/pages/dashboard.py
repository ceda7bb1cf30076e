"""The dashboard: the host, each process, and what the registry does."""

from __future__ import annotations

from typing import Any

import msgspec

from dtrfast.api.v0 import ldap, metrics, storage, storage_objects
from dtrfast.api.v0.admin_objects import Metrics
from dtrfast.console import rates
from dtrfast.console.page import Page, View
from dtrfast.console.rates import Rates
from dtrfast.times import rfc3339

SPANS = (
    (900, "15 minutes"),
    (3600, "1 hour"),
    (86_400, "1 day"),
    (604_800, "7 days"),
    (2_592_000, "30 days"),
)
_POINTS = 240
# What was recorded longer ago is not what goes on.
_LATELY_SECONDS = 60


def show(page: Page) -> View:
    """The page; its courses are asked for by the charts."""
    wanted = page.query.get("span", "3600")
    span = int(wanted) if wanted in {str(seconds) for seconds, _ in SPANS} else 3600
    return View("dashboard.html", {**live_values(page), "spans": SPANS, "span": span})


def live_values(page: Page, before: Metrics | None = None) -> dict[str, Any]:
    """What changes while one looks; `before` is an earlier look."""
    now = page.ask(metrics.get_metrics)
    state = page.ask(storage.get_storage)
    seen = None if before is None else rates.between(before, now)
    return {
        "now": now,
        "rates": seen or _recorded(page, now),
        "state": state,
        "full_at": rfc3339(now.disk_full_at) if now.disk_full_at else "",
        "problems": problems(page, state, now),
        "totals": _totals(now),
    }


def _recorded(page: Page, now: Metrics) -> Rates:
    """For who looks for the first time."""
    query: dict[str, object] = {"seconds": _LATELY_SECONDS, "points": 2 * _LATELY_SECONDS}
    courses = {
        process.name: page.glance(
            metrics.get_metrics_history, query={**query, "process": process.name}
        )
        for process in now.processes
    }
    return rates.recorded(
        page.ask(metrics.get_metrics_history, query=query),
        {name: course for name, course in courses.items() if course is not None},
    )


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


def problems(page: Page, state: storage_objects.Storage, now: Metrics) -> list[tuple[str, str]]:
    """What somebody should see to: a text, and where."""
    found: list[tuple[str, str]] = []
    if state.damaged_blobs or state.damaged_chunks:
        found.append((f"{state.damaged_blobs} blobs are damaged", "/settings/storage#damages"))
    if state.disk_bytes and state.disk_free_bytes < state.reserve_bytes:
        found.append(("The disk is full: pushes are refused", "/settings/storage"))
    if now.disk_full_at and now.disk_full_at < now.time + 14 * 86_400:
        found.append((f"The disk is full on {rfc3339(now.disk_full_at)[:10]}", "/settings/storage"))
    if now.memory_bytes and now.memory_used_bytes > 0.95 * now.memory_bytes:
        found.append(("The host's memory is nearly used up", "/dashboard"))
    last = page.glance(ldap.get_last_sync)
    if last is not None and last.error:
        found.append((f"LDAP was not synchronised: {last.error}", "/settings/auth#ldap"))
    failed = sum(process.failed for process in now.processes)
    if failed:
        text = f"{failed} requests failed since the workers began"
        found.append((text, "/logs?level=error"))
    return found


def numbers(now: Metrics, seen: Rates) -> dict[str, Any]:
    """The newest point of each chart."""
    return {"time": now.time, "whole": seen.whole, "processes": seen.processes}


def course(page: Page) -> View:
    """Courses for the charts, as JSON."""
    query: dict[str, object] = {"seconds": page.query.get("seconds", "3600"), "points": _POINTS}
    if page.query.get("process"):
        query["process"] = page.query["process"]
    found = page.ask(metrics.get_metrics_history, query=query)
    return View(content=msgspec.json.encode(found), media_type="application/json")
