"""A line of the server's log: a message of a process, or an answered request."""

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
# These parts of a path follow the name of the repository.
_PARTS = ("/manifests/", "/blobs/", "/tags/", "/referrers/")
_V0_REPOSITORIES = "/api/v0/repositories/"

_formatter = logging.Formatter()


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the log. The fields after `traceback` are set only for requests."""

    time: float  # seconds since the epoch
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
    """Return the line of a log record of the standard library."""
    try:
        text = record.getMessage()
    except Exception:  # a call with wrong arguments must not fail because of its message
        text = str(record.msg)
    trace = _formatter.formatException(record.exc_info) if record.exc_info else ""
    return LogLine(
        time=record.created,
        level=level_of(record.levelno),
        process=process,
        text=plain(text),
        logger=record.name,
        traceback=plain(trace, _TRACEBACK_LENGTH_MAX),
    )


def level_of(number: int) -> Level:
    """Return the level of a level number of the standard library."""
    return LEVELS[max(0, min(number // 10 - 1, len(LEVELS) - 1))]


def level_of_status(status: int) -> Level:
    """Return the level of an answer: 5xx is an error, 4xx except 401 and 404 a warning."""
    if status >= 500:
        return "error"
    return "warning" if status >= 400 and status not in (401, 404) else "info"


def repository_of(path: str) -> str:
    """Return the repository that a request's path names; empty if it names none."""
    if path.startswith("/v2/"):
        # The last occurrence: a repository name may contain these words, a digest or a tag cannot.
        name = path[4 : max(4, *(path.rfind(part) for part in _PARTS))]
    elif path.startswith(_V0_REPOSITORIES):
        pieces = path.split("/", 6)[4:6]
        name = "/".join(pieces).removeprefix("_/") if len(pieces) == 2 else ""
    else:
        return ""
    return (unquote(name) if "%" in name else name)[:_REPOSITORY_LENGTH_MAX]


def plain(text: str, length_max: int = _TEXT_LENGTH_MAX) -> str:
    """Return a text cut to `length_max` characters, without characters that UTF-8 cannot encode."""
    return text[:length_max].encode("utf-8", "replace").decode()
