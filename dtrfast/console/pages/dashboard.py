"""The dashboard: the host, each process, and what the registry does."""

from __future__ import annotations

from typing import Any

import msgspec

from dtrfast.api.v0 import ldap, metrics, objects, storage
from dtrfast.api.v0.admin_objects import Metrics
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


def show(page: Page) -> View:
    """The page; its courses are asked for by the charts."""
    wanted = page.query.get("span", "3600")
    span = int(wanted) if wanted in {str(seconds) for seconds, _ in SPANS} else 3600
    return View("dashboard.html", {**live_values(page), "spans": SPANS, "span": span})


def live_values(page: Page) -> dict[str, Any]:
    """What changes while one looks."""
    now = page.ask(metrics.get_metrics)
    state = page.ask(storage.get_storage)
    return {
        "now": now,
        "state": state,
        "full_at": rfc3339(now.disk_full_at) if now.disk_full_at else "",
        "problems": problems(page, state, now),
        "totals": _totals(now),
    }


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


def problems(page: Page, state: objects.Storage, now: Metrics) -> list[tuple[str, str]]:
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


def numbers(now: Metrics) -> dict[str, Any]:
    """Counters for the charts, which make rates of them."""
    return {
        "time": now.time,
        "cpu": [now.cpu_busy_seconds, now.cpu_total_seconds],
        "memory_used_bytes": now.memory_used_bytes,
        "disk_used_bytes": now.disk_used_bytes,
        "network": [now.network_in_bytes, now.network_out_bytes],
        "processes": {
            p.name: {
                "cpu_seconds": p.cpu_seconds,
                "resident_bytes": p.resident_bytes,
                "anonymous_bytes": p.anonymous_bytes,
                "requests": sum(p.requests.values()),
                "pulls": p.requests.get("pull", 0),
                "pushes": p.requests.get("push", 0),
                "bytes_in": p.bytes_in,
                "bytes_out": p.bytes_out,
            }
            for p in now.processes
        },
    }


def course(page: Page) -> View:
    """Courses for the charts, as JSON."""
    query: dict[str, object] = {"seconds": page.query.get("seconds", "3600"), "points": _POINTS}
    if page.query.get("process"):
        query["process"] = page.query["process"]
    found = page.ask(metrics.get_metrics_history, query=query)
    return View(content=msgspec.json.encode(found), media_type="application/json")
