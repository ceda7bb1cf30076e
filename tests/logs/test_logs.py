"""The server's log: kept lines, counted requests, and the reader."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from dtrfast.logs import keeper as keepers
from dtrfast.logs import reader as readers
from dtrfast.logs.keeper import KeeperHandler, LogKeeper
from dtrfast.logs.line import LogLine, level_of_status, repository_of
from dtrfast.logs.reader import LogFilter, LogReader
from tests.server.conftest import eventually

NOW = 1_800_000_000.0


def _request(number: int = 0, *, method: str = "GET", status: int = 200, **more: object) -> LogLine:
    fields: dict[str, object] = {
        "time": NOW + number / 1000,
        "level": level_of_status(status),
        "process": "worker-0",
        "kind": "request",
        "text": f"{method} /v2/acme/app/manifests/v{number}",
        "method": method,
        "path": f"/v2/acme/app/manifests/v{number}",
        "status": status,
        "repository": "acme/app",
        "user": "will",
        **more,
    }
    return LogLine(**fields)  # type: ignore[arg-type]


def _tell(keeper: LogKeeper, line: LogLine) -> None:
    if keeper.admits(line.method, line.status, line.seconds):
        keeper.request(line)


def _kept(directory: Path, *lines: LogLine) -> LogReader:
    keeper = LogKeeper(directory, "worker-0", clock=lambda: NOW)
    for line in lines:
        _tell(keeper, line)
    keeper.close()
    return LogReader(directory)


def test_lines_are_found_newest_first_page_by_page(tmp_path: Path) -> None:
    reader = _kept(tmp_path, *(_request(n, method="PUT") for n in range(25)))
    first, cursor = reader.page(LogFilter(), limit=10)
    assert [line.path[-3:] for line in first[:2]] == ["v24", "v23"]
    second, cursor = reader.page(LogFilter(), cursor, 10)
    third, end = reader.page(LogFilter(), cursor, 10)
    assert len(second) + len(third) == 15
    assert end == ""


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    reader = _kept(tmp_path, _request(1, method="PUT"))
    (path,) = tmp_path.glob("*.jsonl")
    line = path.read_bytes()
    damaged = (line.replace(b"acme", b"ac\xffe"), b'{"x":' + b"[" * 100_000 + b"\n", b"\x00\n")
    path.write_bytes(b"".join(damaged) + line)
    assert len(reader.page(LogFilter(), limit=10)[0]) == 1


def test_reads_beyond_a_hundred_a_second_are_counted(tmp_path: Path) -> None:
    reader = _kept(tmp_path, *(_request(n) for n in range(900)))
    lines, _ = reader.page(LogFilter(), limit=2000)
    assert sum(line.kind == "request" for line in lines) == 100
    (note,) = [line for line in lines if line.kind == "message"]
    assert note.text == "800 more requests were not listed"


def test_each_second_has_its_own_hundred(tmp_path: Path) -> None:
    now = [NOW]
    keeper = LogKeeper(tmp_path, "worker-0", clock=lambda: now[0])
    for second in range(3):
        now[0] = NOW + second
        for number in range(150):
            _tell(keeper, _request(number))
    keeper.close()
    lines, _ = LogReader(tmp_path).page(LogFilter(kind="request"), limit=2000)
    assert len(lines) == 300


def test_what_everybody_asks_first_is_no_failure_to_list(tmp_path: Path) -> None:
    reads = [_request(n) for n in range(100)]
    usual = [_request(101, status=401), _request(102, method="HEAD", status=404)]
    reader = _kept(tmp_path, *reads, *usual, _request(103, status=404))
    lines, _ = reader.page(LogFilter(kind="request"), limit=2000)
    assert {line.status for line in lines} == {200}


def test_changes_failures_and_slow_answers_are_always_kept(tmp_path: Path) -> None:
    reads = [_request(n) for n in range(500)]
    kept = [
        _request(501, method="PUT"),
        _request(502, status=500),
        _request(503, status=403),
        _request(504, seconds=2.0),
    ]
    reader = _kept(tmp_path, *reads, *kept)
    paths = {line.path for line in reader.page(LogFilter(), limit=2000)[0]}
    assert {line.path for line in kept} <= paths


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (LogFilter(), 4),
        (LogFilter(level="warning"), 2),
        (LogFilter(level="error"), 1),
        (LogFilter(kind="message"), 1),
        (LogFilter(process="worker-0"), 4),
        (LogFilter(process="housekeeper"), 0),
        (LogFilter(repository="acme/app"), 3),
        (LogFilter(repository="acme/"), 3),
        (LogFilter(repository="acme/ap"), 0),
        (LogFilter(user="will"), 3),
        (LogFilter(text="MANIFESTS/V2"), 1),
        (LogFilter(text='say "ü"'), 1),
        (LogFilter(since=NOW + 0.0015), 2),
        (LogFilter(until=NOW + 0.0015), 2),
    ],
)
def test_filters_admit_what_they_say(tmp_path: Path, wanted: LogFilter, count: int) -> None:
    keeper = LogKeeper(tmp_path, "worker-0", clock=lambda: NOW)
    keeper.request(_request(1))
    keeper.request(_request(2, status=503))
    keeper.request(_request(3, status=403))
    record = logging.LogRecord("dtrfast.x", logging.INFO, "", 0, 'they say "ü"', None, None)
    record.created = NOW
    keeper.message(record)
    keeper.close()
    assert len(LogReader(tmp_path).page(wanted)[0]) == count


def test_a_tail_gives_what_came_since(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    keeper = LogKeeper(tmp_path, "worker-0")
    cursor = reader.end()
    keeper.request(_request(1))
    keeper.request(_request(2, status=500))
    keeper.close()
    lines, end = reader.after(LogFilter(level="error"), cursor)
    assert [line.status for line in lines] == [500]
    assert reader.after(LogFilter(), end)[0] == []


def test_a_tail_says_what_it_leaves_out(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    keeper = LogKeeper(tmp_path, "worker-0")
    for number in range(25):
        keeper.request(_request(number, method="PUT"))
    keeper.close()
    lines, end = reader.after(LogFilter(), "0-0", 10)
    assert lines[0].text == "16 lines are left out here: the log has them"
    assert (lines[0].kind, len(lines)) == ("message", 10)
    assert [line.path[-3:] for line in lines[1:]] == [f"v{n}"[-3:] for n in range(16, 25)]
    assert reader.after(LogFilter(), end)[0] == []
    assert len(reader.after(LogFilter(), "0-0", 25)[0]) == 25
    assert [line.kind for line in reader.after(LogFilter(), "0-0", 1)[0]] == ["message"]


def test_lines_that_are_lost_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepers, "_QUEUE_SIZE_MAX", 1000)
    monkeypatch.setattr(keepers, "_GATHER_SECONDS", 3600.0)
    keeper = LogKeeper(tmp_path, "worker-0", clock=lambda: NOW)
    for number in range(20):
        keeper.request(_request(number, method="PUT", user_agent="x" * 200))
    assert sum(map(len, keeper._queue)) < 1500
    keeper.close()
    lines = LogReader(tmp_path).page(LogFilter())[0]
    kept = [line for line in lines if line.kind == "request"]
    (told,) = [line for line in lines if line.kind == "message"]
    assert 0 < len(kept) < 20
    assert told.text == f"{20 - len(kept)} lines of the log are lost"
    assert told.level == "warning"


def test_a_queue_that_was_emptied_has_room_again(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path, "worker-0", clock=lambda: NOW)
    for number in range(3):
        keeper.request(_request(number, method="PUT"))
        eventually(lambda: not keeper._size)
    keeper.close()
    assert len(LogReader(tmp_path).page(LogFilter())[0]) == 3


def test_what_could_not_be_written_is_told_once_there_is_room(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    directory.write_text("a file in its place")
    keeper = LogKeeper(directory, "worker-0", clock=lambda: NOW)
    for number in range(3):
        keeper.request(_request(number, method="PUT"))
    keeper.count(7)
    eventually(lambda: keeper._dropped == 3)
    directory.unlink()
    keeper.close()
    texts = {line.text for line in LogReader(directory).page(LogFilter())[0]}
    assert texts == {"3 lines of the log are lost", "7 more requests were not listed"}


def test_a_request_that_took_long_is_found_by_when_it_began(tmp_path: Path) -> None:
    reader = _kept(
        tmp_path,
        _request(0, method="PUT", time=NOW + 5),
        _request(1, method="PUT", time=NOW - 400, seconds=500.0),
        _request(2, method="PUT", time=NOW + 6),
    )
    paths = [line.path[-2:] for line in reader.page(LogFilter(since=NOW))[0]]
    assert paths == ["v2", "v0"]


def test_a_page_reads_so_much_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_PAGE_BYTES_MAX", 2000)
    reader = _kept(tmp_path, *(_request(n, method="PUT") for n in range(50)))
    lines, cursor = reader.page(LogFilter(text="manifests/v3x"))
    assert lines == []
    assert cursor
    pages, found = 1, []
    while cursor:
        lines, cursor = reader.page(LogFilter(text="manifests/v3"), cursor)
        found += lines
        pages += 1
    assert pages > 3
    assert "v3" in {line.path[-2:] for line in found}


def test_messages_come_with_their_trace_and_nothing_forges_a_line(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path, "housekeeper")
    logger = logging.getLogger("tests.logs")
    handler = KeeperHandler(keeper)
    logger.addHandler(handler)
    try:
        raise ZeroDivisionError("the inside")
    except ZeroDivisionError:
        logger.exception('first\n{"time": 1, "level": "info", "process": "forged"}\ud800')
    finally:
        logger.removeHandler(handler)
    keeper.close()
    (line,) = LogReader(tmp_path).page(LogFilter())[0]
    assert line.process == "housekeeper"
    assert line.level == "error"
    assert "ZeroDivisionError: the inside" in line.traceback
    (path,) = tmp_path.iterdir()
    assert len(path.read_bytes().splitlines()) == 1
    assert json.loads(path.read_bytes())["process"] == "housekeeper"


def test_a_directory_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    keeper = LogKeeper(blocked / "log", "worker-0")
    keeper.request(_request(1))
    keeper.close()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/acme/app/manifests/v1", "acme/app"),
        ("/v2/a/b/c/blobs/uploads/x", "a/b/c"),
        ("/v2/app/tags/list", "app"),
        ("/v2/manifests/manifests/v1", "manifests"),
        ("/v2/", ""),
        ("/v2/_catalog", ""),
        ("/api/v0/repositories/acme/a%2Fb/tags", "acme/a/b"),
        ("/api/v0/repositories/_/app", "app"),
        ("/api/v0/repositories/acme", ""),
        ("/logs", ""),
    ],
)
def test_a_path_tells_its_repository(path: str, name: str) -> None:
    assert repository_of(path) == name
