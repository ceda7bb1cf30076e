"""The server's log: what its processes said, and the requests they answered."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dtrfast.api.v0 import admin_objects as objects
from dtrfast.api.v0.administration import seconds_of
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.logs.line import LogLine
from dtrfast.logs.reader import LogFilter, LogReader
from dtrfast.machine.paths import Layout
from dtrfast.times import rfc3339

operations = Operations("logs")

_LINES_MAX = 1000


class LogsQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`start` is a `nextPageStart`; `after` a `cursor`, for what came since. `level` is the least,
    `repository` may end in a slash, `since` and `until` are times as RFC 3339 has them.
    """

    start: Annotated[str, Meta(max_length=64)] = ""
    after: Annotated[str, Meta(max_length=64)] = ""
    limit: Annotated[int, Meta(ge=1)] = 100
    level: Literal["", "debug", "info", "warning", "error", "critical"] = ""
    kind: Literal["", "message", "request"] = ""
    process: str = ""
    repository: str = ""
    user: str = ""
    text: str = ""
    since: str = ""
    until: str = ""


@operations.add("GET", "/admin/logs", answer=objects.LogLines, query=LogsQuery, refusals=(400,))
def list_logs(call: ApiCall) -> objects.LogLines:
    """List log lines, newest first; with `after` those that came since, oldest first."""
    query: LogsQuery = call.query
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    wanted = LogFilter(
        level=query.level,
        kind=query.kind,
        process=query.process,
        repository=query.repository,
        user=query.user,
        text=query.text,
        since=seconds_of("since", query.since),
        until=seconds_of("until", query.until),
    )
    reader = LogReader(Layout(call.config.store.data).server_log)
    limit = min(query.limit, _LINES_MAX)
    if query.after:
        found, cursor = reader.after(wanted, query.after, limit)
        return objects.LogLines(lines=[shown(line) for line in found], cursor=cursor)
    cursor = reader.end()
    found, more = reader.page(wanted, query.start or cursor, limit)
    return objects.LogLines(
        lines=[shown(line) for line in found], cursor=cursor, next_page_start=more
    )


def shown(line: LogLine) -> objects.LogLine:
    """A line as it is sent."""
    return objects.LogLine(
        time=rfc3339(line.time),
        **{name: getattr(line, name) for name in line.__struct_fields__ if name != "time"},
    )
