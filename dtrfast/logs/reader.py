"""Reads the server's log while its processes write it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dtrfast.logs.line import LEVELS, LogLine
from dtrfast.machine import line_files

# What a page reads at most: a filter that finds little goes on with the next page.
_PAGE_BYTES_MAX = 3 << 20
_TAIL_BYTES_MAX = 1 << 20
# Processes gather lines for moments, so they stand in the order of their ends but for that.
_DISORDER_SECONDS = 60.0

_decoder = msgspec.json.Decoder(LogLine)


class LogFilter(msgspec.Struct, frozen=True):
    """Which lines to show; what is empty filters nothing. `level`: at least that. `repository` may
    end in a slash: then it is a beginning. `text` is a part, in any case, of what the line says, of
    its traceback, or of who asked for what.
    """

    level: str = ""
    kind: str = ""
    process: str = ""
    repository: str = ""
    user: str = ""
    text: str = ""
    since: float = 0.0
    until: float = 0.0

    def admits(self, line: LogLine) -> bool:
        return (
            (not self.level or LEVELS.index(line.level) >= _number(self.level))
            and self.kind in ("", line.kind)
            and self.process in ("", line.process)
            and self.user in ("", line.user)
            and _is_of(line.repository, self.repository)
            and (not self.since or line.time >= self.since)
            and (not self.until or line.time < self.until)
            and (not self.text or _has(line, self.text.lower()))
        )


def _number(level: str) -> int:
    return next((n for n, name in enumerate(LEVELS) if name == level), 0)


def _is_of(repository: str, wanted: str) -> bool:
    if wanted.endswith("/"):
        return repository.startswith(wanted)
    return wanted in ("", repository)


def _has(line: LogLine, text: str) -> bool:
    """Whether one of a line's texts holds `text`, which is in lower case."""
    texts = (line.text, line.path, line.traceback, line.user_agent, line.remote)
    return any(text in one.lower() for one in texts)


class LogReader:
    """The log in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def page(
        self, wanted: LogFilter, before: str = "", limit: int = 100
    ) -> tuple[list[LogLine], str]:
        """Lines, newest first, and the cursor for those before; empty at the end of the log.

        A page may be short, or empty, and not be the last. Raises `PageInvalid`.
        """
        lines: list[LogLine] = []
        read = 0
        for cursor, data in line_files.lines_before(self._directory, before):
            read += len(data)
            line = _parse(data)
            if line is not None and wanted.since and _written_at(line) < wanted.since:
                return lines, ""
            if line is not None and wanted.admits(line):
                lines.append(line)
            if len(lines) >= limit or read >= _PAGE_BYTES_MAX:
                return lines, cursor
        return lines, ""

    def after(self, wanted: LogFilter, cursor: str, limit: int = 100) -> tuple[list[LogLine], str]:
        """The newest lines behind a cursor, oldest first, and the cursor behind all that was read.
        Where there are more than `limit`, the first says how many are left out.

        Raises `PageInvalid`.
        """
        found, end = line_files.lines_after(self._directory, cursor, _TAIL_BYTES_MAX)
        lines = [
            line for data in found if (line := _parse(data)) is not None and wanted.admits(line)
        ]
        if len(lines) > limit:
            left_out = len(lines) - limit + 1
            lines = [_left_out(left_out, lines[left_out - 1].time), *lines[left_out:]]
        return lines, end

    def end(self) -> str:
        """The cursor behind all lines."""
        return line_files.end_cursor(self._directory)


def _left_out(count: int, time: float) -> LogLine:
    """In place of lines that would be too many at once."""
    text = f"{count} lines are left out here: the log has them"
    return LogLine(time, "info", "", text=text, logger="dtrfast.log")


def _written_at(line: LogLine) -> float:
    """When a line was written at the latest: a request's time is when it began."""
    return line.time + line.seconds + _DISORDER_SECONDS


def _parse(data: bytes) -> LogLine | None:
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        return None  # torn by a power cut, or damaged
