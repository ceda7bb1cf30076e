"""Logging: one handler on standard error, lines for people or JSON objects."""

from __future__ import annotations

import json
import logging
import sys

from dtrfast.config import LogConfig
from dtrfast.logs.keeper import KeeperHandler, LogKeeper
from dtrfast.oci import characters
from dtrfast.times import rfc3339


class TextFormatter(logging.Formatter):
    """Time, level, process, message. Control characters are escaped: nobody forges a line."""

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
    """One object a line; a traceback is a field."""

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
    """Send all logging of this process to standard error, and to `keeper`. `process` names it in
    each line.
    """
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter if config.format == "json" else TextFormatter
    handler.setFormatter(formatter(process))
    handlers: list[logging.Handler] = [handler]
    if keeper is not None:
        handlers.append(KeeperHandler(keeper))
    logging.basicConfig(handlers=handlers, level=config.level.upper(), force=True)
    # Hypercorn logs each start of a worker, which ours says already.
    logging.getLogger("hypercorn").setLevel(logging.WARNING)


def escape(text: str) -> str:
    """`text` on one line of printable ASCII, control characters and the rest as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")
