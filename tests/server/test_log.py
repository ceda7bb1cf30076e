from __future__ import annotations

import json
import logging

from dtrfast.jobs.log import JsonFormatter, TextFormatter, escape
from dtrfast.times import rfc3339


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    information = None if error is None else (type(error), error, None)
    return logging.LogRecord("dtrfast", logging.INFO, "", 0, message, (), information)


def test_times_are_utc_with_milliseconds() -> None:
    assert rfc3339(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"


def test_a_message_stays_on_its_line() -> None:
    line = TextFormatter("worker-0").format(record("name\n2026 ERROR forged \x1b[2J"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.endswith("INFO worker-0: name\\n2026 ERROR forged \\x1b[2J")


def test_a_traceback_is_a_field_of_json() -> None:
    entry = json.loads(JsonFormatter("worker-0").format(record("failed", ValueError("why"))))
    assert entry["message"] == "failed"
    assert entry["process"] == "worker-0"
    assert "ValueError: why" in entry["traceback"]


def test_plain_text_is_not_escaped() -> None:
    assert escape(r"C:\path and more") == r"C:\path and more"


def test_a_traceback_moves_no_cursor() -> None:
    text = TextFormatter("worker-0").format(record("failed", ValueError("forged \x1b[2J\u202e")))
    assert "ValueError: forged \ufffd[2J\ufffd" in text
