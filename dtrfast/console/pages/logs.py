"""Logs: lines as they come and as they were, and audit events beside them."""

from __future__ import annotations

from typing import Any

import msgspec

from dtrfast.api.v0 import administration, metrics
from dtrfast.api.v0 import logs as operations
from dtrfast.console.page import Page, PageFunction, View

_PAGE_SIZE = 100
_DOWNLOAD_MAX = 1000
_DOWNLOAD_PAGES_MAX = 50
_FILTERS = ("level", "kind", "process", "repository", "user", "text", "since", "until")
_EVENT_FILTERS = ("kind", "actor", "remote", "subject", "outcome", "since", "until", "text")


def _query(page: Page, names: tuple[str, ...]) -> dict[str, object]:
    """The filters that the address has; browsers leave the seconds of a time out."""
    found: dict[str, object] = {}
    for name in names:
        value = page.query.get(name, "").strip()
        if value:
            found[name] = value
    return found


def show(page: Page) -> View:
    """The newest lines that pass the filters."""
    query = _query(page, _FILTERS) | {"limit": _PAGE_SIZE, "start": page.query.get("start", "")}
    found = page.ask(operations.list_logs, query=query)
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


def show_audit(page: Page) -> View:
    """Who did what."""
    query = _query(page, _EVENT_FILTERS) | {
        "limit": _PAGE_SIZE,
        "start": page.query.get("start", ""),
    }
    found = page.ask(administration.list_events, query=query)
    return View(
        "logs/audit.html",
        {
            "tab": "audit",
            "events": found.events,
            "listing": page.listing(""),
            "next_start": found.next_page_start,
        },
    )


def download(page: Page) -> View:
    """Lines that pass the filters, one JSON object a line, the newest first."""
    return _file(page, operations.list_logs, _FILTERS, "lines", "dtrfast-log.jsonl")


def download_audit(page: Page) -> View:
    """Events that pass the filters, one JSON object a line, the newest first."""
    return _file(page, administration.list_events, _EVENT_FILTERS, "events", "dtrfast-audit.jsonl")


def _file(page: Page, handler: Any, filters: tuple[str, ...], field: str, name: str) -> View:
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
    """What comes behind a cursor, `after` in the address, and passes the filters there."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._filters = _query(page, tuple(n for n in _FILTERS if n not in ("since", "until")))
        now = page.ask(operations.list_logs, query={"limit": 1}).cursor
        self.cursor = page.query.get("after") or now

    def read(self) -> list[Any]:
        """Lines since the last look, the newest first. `cursor` is behind them."""
        query = self._filters | {"after": self.cursor, "limit": _PAGE_SIZE}
        found = self._page.ask(operations.list_logs, query=query)
        self.cursor = found.cursor
        # Processes write their lines one after the other.
        return sorted(found.lines, key=lambda line: str(line.time), reverse=True)


PAGES: dict[str, PageFunction] = {
    "/logs": show,
    "/logs/download": download,
    "/logs/audit": show_audit,
    "/logs/audit/download": download_audit,
}
