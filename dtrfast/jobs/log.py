"""Logging: one handler on standard error, which writes lines of text or JSON objects."""

from __future__ import annotations

import json
import logging
import sys

from dtrfast.config import LogConfig
from dtrfast.logs.keeper import KeeperHandler, LogKeeper
from dtrfast.oci import characters
from dtrfast.times import rfc3339


class TextFormatter(logging.Formatter):
    """Lines of time, level, process and message. Control characters are escaped, so no request can
    forge a line.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        message = escape(record.getMessage())
        line = f"{rfc3339(record.created)} {record.levelname} {self._process}: {message}"
        if not record.exc_info:
            return line
        trace = characters.shown_lines(self.formatException(record.exc_info))
        return line + "\n" + trace


class JsonFormatter(logging.Formatter):
    """One JSON object a line. A traceback is a field of it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": rfc3339(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure(config: LogConfig, process: str, keeper: LogKeeper | None = None) -> None:
    """Send all log records of this process to standard error, and to `keeper`. Each line has the
    name `process`.
    """
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter if config.format == "json" else TextFormatter
    handler.setFormatter(formatter(process))
    handlers: list[logging.Handler] = [handler]
    if keeper is not None:
        handlers.append(KeeperHandler(keeper))
    logging.basicConfig(handlers=handlers, level=config.level.upper(), force=True)
    # Hypercorn logs each start of a worker, which dtrfast logs already.
    logging.getLogger("hypercorn").setLevel(logging.WARNING)


def escape(text: str) -> str:
    """Return `text` as one line of printable ASCII, with all other characters escaped."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")
