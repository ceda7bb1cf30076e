"""A line of the server's log: a message of a process, or a request that it answered."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import msgspec

Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")

_TEXT_LENGTH_MAX = 4096
_TRACEBACK_LENGTH_MAX = 16_384
_REPOSITORY_LENGTH_MAX = 255
# Behind these a path goes on with something of the repository.
_PARTS = ("/manifests/", "/blobs/", "/tags/", "/referrers/")

_formatter = logging.Formatter()


def log_path(data: Path) -> Path:
    """Where the lines are. `data/log` is the change log."""
    return data / "server-log"


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """`time`: seconds since the epoch. What is behind `traceback` is of requests alone."""

    time: float
    level: Level
    process: str
    kind: Literal["message", "request"] = "message"
    text: str = ""
    logger: str = ""
    traceback: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    remote: str = ""
    user: str = ""
    repository: str = ""
    user_agent: str = ""
    is_cut: bool = False


def of_record(record: logging.LogRecord, process: str) -> LogLine:
    """A message of the standard library's logging."""
    trace = _formatter.formatException(record.exc_info) if record.exc_info else ""
    return LogLine(
        time=record.created,
        level=level_of(record.levelno),
        process=process,
        text=plain(record.getMessage()),
        logger=record.name,
        traceback=plain(trace, _TRACEBACK_LENGTH_MAX),
    )


def level_of(number: int) -> Level:
    """The level of logging's number."""
    return LEVELS[max(0, min(number // 10 - 1, len(LEVELS) - 1))]


def level_of_status(status: int) -> Level:
    """What somebody who looks after the server makes of an answer."""
    if status >= 500:
        return "error"
    return "warning" if status >= 400 and status not in (401, 404) else "info"


def repository_of(path: str) -> str:
    """The repository that a request's path names; empty where it names none."""
    if path.startswith("/v2/"):
        for part in _PARTS:
            at = path.rfind(part)
            if at > 4:
                return path[4:at][:_REPOSITORY_LENGTH_MAX]
        return ""
    if path.startswith("/api/v0/repositories/"):
        pieces = path.split("/")[4:6]
        if len(pieces) == 2:
            namespace, name = (unquote(piece)[:_REPOSITORY_LENGTH_MAX] for piece in pieces)
            return name if namespace == "_" else f"{namespace}/{name}"
    return ""


def plain(text: str, length_max: int = _TEXT_LENGTH_MAX) -> str:
    """What UTF-8 can hold of a text, cut."""
    return text[:length_max].encode("utf-8", "replace").decode()
