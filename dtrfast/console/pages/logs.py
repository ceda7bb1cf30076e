"""Logs: the server's log lines, live and older ones, and audit events."""

from __future__ import annotations

from typing import Any

import msgspec

from dtrfast.api.v0 import administration, metrics
from dtrfast.api.v0.logs import list_logs
from dtrfast.console.page import PageFunction, PageRequest, View

_PAGE_SIZE = 100
_DOWNLOAD_MAX = 1000
_DOWNLOAD_PAGES_MAX = 50
_FILTERS = ("level", "kind", "process", "repository", "user", "text", "since", "until")
_EVENT_FILTERS = ("kind", "actor", "remote", "subject", "outcome", "since", "until", "text")


def _query(page: PageRequest, names: tuple[str, ...]) -> dict[str, object]:
    """Return the filters in the address."""
    found: dict[str, object] = {}
    for name in names:
        value = page.query.get(name, "").strip()
        if value:
            found[name] = value
    return found


def show(page: PageRequest) -> View:
    """Show a page of lines that match the filters, newest first."""
    query = _query(page, _FILTERS) | {"limit": _PAGE_SIZE, "start": page.query.get("start", "")}
    found = page.ask(list_logs, query=query)
    known = page.glance(metrics.get_metrics)
    return View(
        "logs.html",
        {
            "tab": "lines",
            "lines": found.lines,
            "listing": page.listing(""),
            "next_start": found.next_page_start,
            "cursor": found.cursor,
            "processes": [(p.name, p.name) for p in known.processes] if known else [],
            "is_filtered": bool(_query(page, _FILTERS)),
        },
    )


def show_audit(page: PageRequest) -> View:
    """Show a page of audit events that match the filters, newest first."""
    filters = _query(page, _EVENT_FILTERS)
    query = filters | {"limit": _PAGE_SIZE, "start": page.query.get("start", "")}
    found = page.ask(administration.list_events, query=query)
    return View(
        "logs/audit.html",
        {
            "tab": "audit",
            "events": found.events,
            "listing": page.listing(""),
            "next_start": found.next_page_start,
            "is_filtered": bool(filters),
        },
    )


def download(page: PageRequest) -> View:
    """Return lines that match the filters as a file: one JSON object per line, newest first."""
    return _file(page, list_logs, _FILTERS, "lines", "dtrfast-log.jsonl")


def download_audit(page: PageRequest) -> View:
    """Return events that match the filters as a file: one JSON object per line, newest first."""
    return _file(page, administration.list_events, _EVENT_FILTERS, "events", "dtrfast-audit.jsonl")


def _file(page: PageRequest, handler: Any, filters: tuple[str, ...], field: str, name: str) -> View:
    lines: list[bytes] = []
    start = ""
    for _ in range(_DOWNLOAD_PAGES_MAX):
        query = _query(page, filters) | {"limit": _DOWNLOAD_MAX, "start": start}
        found = page.ask(handler, query=query)
        lines += [msgspec.json.encode(one) + b"\n" for one in getattr(found, field)]
        start = found.next_page_start
        if not start:
            break
    return View(content=b"".join(lines), media_type="application/x-ndjson", file_name=name)


class Tail:
    """The lines that follow a cursor and match the filters in the address.

    The cursor is `after` in the address, or the end of the log.
    """

    def __init__(self, page: PageRequest) -> None:
        self._page = page
        self._filters = _query(page, tuple(n for n in _FILTERS if n not in ("since", "until")))
        now = page.ask(list_logs, query={"limit": 1}).cursor
        self.cursor = page.query.get("after") or now

    def read(self) -> list[Any]:
        """Return the lines since the last call, newest first, and move the cursor after them."""
        query = self._filters | {"after": self.cursor, "limit": _PAGE_SIZE}
        found = self._page.ask(list_logs, query=query)
        self.cursor = found.cursor
        # The lines of several processes are not in the order of their times.
        return sorted(found.lines, key=lambda line: str(line.time), reverse=True)


PAGES: dict[str, PageFunction] = {
    "/logs": show,
    "/logs/download": download,
    "/logs/audit": show_audit,
    "/logs/audit/download": download_audit,
}
