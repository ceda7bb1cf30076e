"""Reads the server's log while its processes write to it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dtrfast.logs.line import LEVELS, LogLine
from dtrfast.machine import line_files

# The most bytes that a page reads. If a filter matches few lines, the next page continues.
_PAGE_BYTES_MAX = 3 << 20
_TAIL_BYTES_MAX = 1 << 20
# Lines are ordered by the ends of their requests, up to this difference: processes queue lines for
# a moment.
_DISORDER_SECONDS = 60.0

_decoder = msgspec.json.Decoder(LogLine)


class LogFilter(msgspec.Struct, frozen=True):
    """A filter of log lines. Empty fields match all lines."""

    level: str = ""  # the lowest level to show
    kind: str = ""
    process: str = ""
    repository: str = ""  # a name, or a prefix that ends in a slash
    user: str = ""
    # A part of the message, the path, the traceback, the user agent or the client's address, in any
    # case.
    text: str = ""
    since: float = 0.0  # seconds since the epoch, inclusive
    until: float = 0.0  # seconds since the epoch, exclusive

    def admits(self, line: LogLine) -> bool:
        """Return True if the line matches all fields."""
        lowest = next((n for n, level in enumerate(LEVELS) if level == self.level), 0)
        is_prefix = self.repository.endswith("/")
        text = self.text.lower()
        texts = (line.text, line.path, line.traceback, line.user_agent, line.remote)
        return (
            LEVELS.index(line.level) >= lowest
            and self.kind in ("", line.kind)
            and self.process in ("", line.process)
            and self.user in ("", line.user)
            and (is_prefix or self.repository in ("", line.repository))
            and (not is_prefix or line.repository.startswith(self.repository))
            and (not self.since or line.time >= self.since)
            and (not self.until or line.time < self.until)
            and (not text or any(text in one.lower() for one in texts))
        )


class LogReader:
    """The log in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def page(
        self, wanted: LogFilter, before: str = "", limit: int = 100
    ) -> tuple[list[LogLine], str]:
        """Return lines, the newest first, and the cursor for older ones; empty at the log's begin.

        A page may be short or empty without being the last one. Raises `PageInvalid`.
        """
        lines: list[LogLine] = []
        read = 0
        for cursor, data in line_files.lines_before(self._directory, before):
            read += len(data)
            line = _parse(data)
            # The latest time at which this line was written: a request's time is its begin.
            if (
                line is not None
                and wanted.since
                and line.time + line.seconds + _DISORDER_SECONDS < wanted.since
            ):
                return lines, ""
            if line is not None and wanted.admits(line):
                lines.append(line)
            if len(lines) >= limit or read >= _PAGE_BYTES_MAX:
                return lines, cursor
        return lines, ""

    def after(self, wanted: LogFilter, cursor: str, limit: int = 100) -> tuple[list[LogLine], str]:
        """Return the newest lines after a cursor, the oldest first, and the next call's cursor.

        If there are more than `limit` lines, the first one says how many are left out. Raises
        `PageInvalid`.
        """
        found, end = line_files.lines_after(self._directory, cursor, _TAIL_BYTES_MAX)
        lines = [
            line for data in found if (line := _parse(data)) is not None and wanted.admits(line)
        ]
        if len(lines) > limit:
            left_out = len(lines) - limit + 1
            text = f"{left_out} lines are left out here: the log has them"
            time = lines[left_out - 1].time
            mark = LogLine(time, "info", "", text=text, logger="dtrfast.log")
            lines = [mark, *lines[left_out:]]
        return lines, end

    def end(self) -> str:
        """Return the cursor after the last line."""
        return line_files.end_cursor(self._directory)


def _parse(data: bytes) -> LogLine | None:
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        return None  # torn by a power cut, or damaged
