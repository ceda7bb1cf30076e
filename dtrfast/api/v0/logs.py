"""Operations on the server's log: messages of its processes, and the requests they answered."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dtrfast.api.v0 import views
from dtrfast.api.v0.lists import JournalQuery
from dtrfast.api.v0.objects import ApiObject, ListPage
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity.checks import Checks
from dtrfast.logs.reader import LogFilter, LogReader
from dtrfast.machine.paths import Layout

operations = Operations("logs")


class LogLine(ApiObject, frozen=True, kw_only=True):
    """A message of a process, or a request that it answered. `isCut`: the answer was incomplete."""

    time: str
    level: str
    process: str
    kind: Literal["message", "request"]
    text: str
    logger: str
    traceback: str
    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    seconds: float
    remote: str
    user: str
    repository: str
    user_agent: str
    is_cut: bool


class LogLines(ListPage, frozen=True, kw_only=True):
    """Log lines. `cursor` is the end of the log. The next page has older lines."""

    lines: list[LogLine]
    cursor: str


class LogsQuery(JournalQuery, frozen=True, rename="camel", kw_only=True):
    """`after` is a `cursor`: only lines after it are listed. `level` is the lowest level.
    `repository` is a name, or a prefix that ends in a slash.
    """

    after: Annotated[str, Meta(max_length=64)] = ""
    level: Literal["", "debug", "info", "warning", "error", "critical"] = ""
    kind: Literal["", "message", "request"] = ""
    process: str = ""
    repository: str = ""
    user: str = ""


@operations.add("GET", "/admin/logs")
def list_logs(call: ApiCall, query: LogsQuery) -> LogLines:
    """List log lines, newest first; with `after` the lines since then, oldest first."""
    call.use(Checks).require_admin()
    wanted = views.parse(LogFilter, query, **query.period)
    reader = LogReader(Layout(call.config.store.data).server_log)
    if query.after:
        found, cursor = reader.after(wanted, query.after, query.count)
        more = ""
    else:
        cursor = reader.end()
        found, more = reader.page(wanted, query.start or cursor, query.count)
    lines = [views.show(LogLine, line) for line in found]
    return LogLines(lines=lines, cursor=cursor, next_page_start=more)
