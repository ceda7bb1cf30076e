from __future__ import annotations

import logging
import sys

import msgspec
import pytest

from dtrfast.logs.line import LogLine, level_of, level_of_status, of_record, plain, repository_of


def record(message: str, *values: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("dtrfast.some", level, "", 0, message, values, None)


@pytest.mark.parametrize(
    ("path", "repository"),
    [
        ("/v2/app/manifests/latest", "app"),
        ("/v2/acme/app/manifests/sha256:00", "acme/app"),
        ("/v2/acme/app/blobs/sha256:00", "acme/app"),
        ("/v2/acme/app/blobs/uploads/", "acme/app"),
        ("/v2/acme/app/blobs/uploads/123", "acme/app"),
        ("/v2/acme/app/tags/list", "acme/app"),
        ("/v2/acme/app/referrers/sha256:00", "acme/app"),
        ("/v2/acme/manifests/blobs/sha256:00", "acme/manifests"),
        ("/v2/acme/blobs/tags/list", "acme/blobs"),
        ("/v2/acme/%61pp/tags/list", "acme/app"),
        ("/v2/acme%2Fapp/manifests/latest", "acme/app"),
        ("/v2/", ""),
        ("/v2/_catalog", ""),
        ("/v2//manifests/latest", ""),
        ("/v2/manifests/latest", ""),
        ("/api/v0/repositories/acme/app", "acme/app"),
        ("/api/v0/repositories/acme/app/tags/v1", "acme/app"),
        ("/api/v0/repositories/acme/team%2Fapp/tags", "acme/team/app"),
        ("/api/v0/repositories/_/app", "app"),
        ("/api/v0/repositories/acme", ""),
        ("/api/v0/accounts/acme", ""),
        ("/", ""),
        ("*", ""),
    ],
)
def test_the_repository_of_a_path(path: str, repository: str) -> None:
    assert repository_of(path) == repository


def test_a_long_name_is_cut() -> None:
    assert len(repository_of(f"/v2/{'a' * 5000}/tags/list")) == 255


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (200, "info"),
        (307, "info"),
        (401, "info"),
        (404, "info"),
        (400, "warning"),
        (403, "warning"),
        (429, "warning"),
        (500, "error"),
        (503, "error"),
    ],
)
def test_levels_of_answers(status: int, level: str) -> None:
    assert level_of_status(status) == level


@pytest.mark.parametrize(
    ("number", "level"),
    [(5, "debug"), (10, "debug"), (20, "info"), (25, "info"), (50, "critical"), (99, "critical")],
)
def test_levels_of_logging(number: int, level: str) -> None:
    assert level_of(number) == level


def test_a_message_has_its_traceback() -> None:
    one = record("failed: %s", "why", level=logging.ERROR)
    try:
        raise ValueError("because")
    except ValueError:
        one.exc_info = sys.exc_info()
    line = of_record(one, "worker-3")
    assert (line.text, line.level, line.process) == ("failed: why", "error", "worker-3")
    assert (line.kind, line.logger) == ("message", "dtrfast.some")
    assert line.traceback.startswith("Traceback")
    assert line.traceback.endswith("ValueError: because")


def test_a_message_that_cannot_be_formatted_is_kept_as_it_is() -> None:
    assert of_record(record("%d things", "many"), "worker-0").text == "%d things"


def test_texts_are_cut_and_control_characters_escaped() -> None:
    line = of_record(record('a\nb\x1b[2J\ud800"' + "x" * 9000), "worker-0")
    data = msgspec.json.encode(line)
    assert b"\n" not in data
    assert b"\x1b" not in data
    assert len(data) < 5000
    assert msgspec.json.decode(data, type=LogLine) == line
    assert len(plain("x" * 99_999, 16_384)) == 16_384


def test_what_says_nothing_is_left_out() -> None:
    line = LogLine(1.5, "info", "worker-0", text="hello")
    assert msgspec.json.encode(line) == (
        b'{"time":1.5,"level":"info","process":"worker-0","text":"hello"}'
    )
