"""A line of the server's log: a message of a process, or a request that it answered."""

from __future__ import annotations

import logging
from typing import Literal
from urllib.parse import unquote

import msgspec

Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")

_TEXT_LENGTH_MAX = 4096
_TRACEBACK_LENGTH_MAX = 16_384
_REPOSITORY_LENGTH_MAX = 255
# Behind the last of these a path goes on with something of the repository.
_PARTS = ("/manifests/", "/blobs/", "/tags/", "/referrers/")
_V0_REPOSITORIES = "/api/v0/repositories/"

_formatter = logging.Formatter()


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
        text=plain(_message_of(record)),
        logger=record.name,
        traceback=plain(trace, _TRACEBACK_LENGTH_MAX),
    )


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # whatever formatting one raises: its caller has no use for it
        return str(record.msg)


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
        # The last one: a name may hold any of the words, a digest or a tag none.
        name = path[4 : max(4, *(path.rfind(part) for part in _PARTS))]
    elif path.startswith(_V0_REPOSITORIES):
        pieces = path.split("/", 6)[4:6]
        name = "/".join(pieces).removeprefix("_/") if len(pieces) == 2 else ""
    else:
        return ""
    return (unquote(name) if "%" in name else name)[:_REPOSITORY_LENGTH_MAX]


def plain(text: str, length_max: int = _TEXT_LENGTH_MAX) -> str:
    """What UTF-8 can hold of a text, cut."""
    return text[:length_max].encode("utf-8", "replace").decode()
