from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from dtrfast.api.visits import ACTOR
from dtrfast.server import access_log, line_output
from dtrfast.server.access_log import AccessLog, AccessLogEntry, AccessWriter, json_line, text_line
from dtrfast.server.asgi import App, Message, Receive, Scope, Send
from dtrfast.server.tally import TallyCounts
from tests.server.conftest import eventually


def scope_of(path: str = "/v2/", user_agent: bytes = b"docker/28") -> Scope:
    return {
        "type": "http",
        "method": "PUT",
        "path": path,
        "raw_path": path.encode(),
        "headers": [(b"host", b"x"), (b"user-agent", user_agent)],
        "client": ("10.0.0.9", 40_000),
    }


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": body * 2})


async def vanish(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"abc", "more_body": True})
    raise asyncio.CancelledError


async def receive_body() -> Message:
    return {"type": "http.request", "body": b"12345", "more_body": False}


async def send_nowhere(message: Message) -> None:
    pass


def logged(tmp_path: Path, app: App, format: Literal["text", "json"]) -> list[str]:
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    writer = AccessWriter(format, descriptor=descriptor)

    async def request() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await AccessLog(app, writer)(scope_of(), receive_body, send_nowhere)

    asyncio.run(request())
    writer.close()
    os.close(descriptor)
    return path.read_text().splitlines()


def test_a_request_is_one_json_object(tmp_path: Path) -> None:
    (line,) = logged(tmp_path, echo, "json")
    entry: dict[str, Any] = json.loads(line)
    assert entry.pop("time").endswith("Z")
    assert 0 <= entry.pop("seconds") < 5
    assert entry == {
        "remote": "10.0.0.9",
        "method": "PUT",
        "path": "/v2/",
        "status": 201,
        "bytes_in": 5,
        "bytes_out": 10,
        "user": "",
        "user_agent": "docker/28",
        "complete": True,
    }


def test_a_request_is_one_text_line(tmp_path: Path) -> None:
    (line,) = logged(tmp_path, echo, "text")
    time, remote, user, method, path, status, received, sent, _, user_agent = line.split(" ")
    assert user == "-"
    assert time.endswith("Z")
    assert (remote, method, path, status) == ("10.0.0.9", '"PUT"', '"/v2/"', "201")
    assert (received, sent, user_agent) == ("5", "10", '"docker/28"')


def test_a_client_that_vanished_is_told_apart(tmp_path: Path) -> None:
    (line,) = logged(tmp_path, vanish, "json")
    entry = json.loads(line)
    assert (entry["status"], entry["bytes_out"], entry["complete"]) == (200, 3, False)


@pytest.mark.parametrize("line_of", [text_line, json_line])
@pytest.mark.parametrize("forged", ["\n", "\r", "\x1b[2J", "\x7f", "\x85", "\x9b", '" 200 "'])
def test_a_line_cannot_be_forged(line_of: Any, forged: str) -> None:
    scope = scope_of(user_agent=f"evil{forged}evil".encode("latin-1"))
    line = line_of(AccessLogEntry(0.0, scope, status=200))
    assert line.isascii()
    assert line.isprintable()
    assert 'evil" 200 "evil' not in line


def test_long_words_are_cut() -> None:
    entry = AccessLogEntry(0.0, scope_of(path="/" + "p" * 100_000, user_agent=b"u" * 100_000))
    assert len(text_line(entry)) < 2000


def test_lines_of_a_batch_are_written_whole(tmp_path: Path) -> None:
    reader, descriptor = os.pipe()
    writer = AccessWriter("json", descriptor=descriptor)
    for _ in range(100):
        writer.add(AccessLogEntry(0.0, scope_of()))
    writer.close()
    os.close(descriptor)
    with open(reader, "rb") as lines:
        assert sum(json.loads(line)["path"] == "/v2/" for line in lines) == 100


def test_a_reader_that_is_gone_does_not_matter() -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    writer = AccessWriter("text", descriptor=descriptor)
    writer.add(AccessLogEntry(0.0, scope_of()))
    writer.close()
    os.close(descriptor)


def test_a_reader_that_is_stuck_costs_lines_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_output, "_WAITING_SIZE_MAX", 100_000)
    monkeypatch.setattr(line_output, "_END_SECONDS", 10.0)
    taken: list[AccessLogEntry] = []
    settled: list[TallyCounts] = []
    reader, descriptor = os.pipe()
    writer = AccessWriter(
        "json", descriptor=descriptor, sinks=[taken.append], settle=settled.append
    )
    for count in (1000, 2000, 3000):
        for _ in range(1000):
            writer.add(AccessLogEntry(0.0, scope_of()))
        eventually(partial(_has, taken, count))
        settled.clear()
        writer.tally.note(("GET", b"/v2/", 200), 1, 0.1)
        eventually(lambda: any(one.count for one in settled))
    assert writer._output is not None
    assert writer._output._added - writer._output._done < 105_000
    lines: list[str] = []
    with open(reader) as file:
        reading = threading.Thread(target=lambda: lines.extend(file))
        reading.start()
        writer.close()
        os.close(descriptor)
        reading.join()
    written = sum('"path"' in line for line in lines)
    lost = sum(json.loads(line).get("requests_not_logged", 0) for line in lines)
    assert 0 < written < 3000
    assert written + lost == 3000


def _has(taken: list[AccessLogEntry], count: int) -> bool:
    return len(taken) == count


def test_lines_that_are_read_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_output, "_WAITING_SIZE_MAX", 1000)
    reader, descriptor = os.pipe()
    writer = AccessWriter("json", descriptor=descriptor, settle=lambda taken: None)
    with open(reader) as lines:
        for _ in range(20):
            writer.add(AccessLogEntry(0.0, scope_of()))
            assert '"path"' in lines.readline()
        writer.close()
        os.close(descriptor)


def test_a_process_ends_although_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_output, "_END_SECONDS", 0.05)
    reader, descriptor = os.pipe()
    writer = AccessWriter("json", descriptor=descriptor)
    for _ in range(1000):
        writer.add(AccessLogEntry(0.0, scope_of()))
    writer.close()
    assert writer._output is not None
    assert writer._output._thread.is_alive()
    os.close(reader)
    writer._output._thread.join(20)
    os.close(descriptor)


def test_requests_that_the_queue_had_no_room_for_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "_QUEUE_COUNT_MAX", 3)
    gate = threading.Event()
    path = tmp_path / "log"
    with path.open("wb") as file:

        def hold(entry: AccessLogEntry) -> None:
            gate.wait(20)

        writer = AccessWriter("json", descriptor=file.fileno(), sinks=[hold])
        writer.add(AccessLogEntry(0.0, scope_of()))
        eventually(lambda: not writer._entries)
        for _ in range(10):
            writer.add(AccessLogEntry(0.0, scope_of()))
        gate.set()
        writer.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["requests_not_logged"] for line in lines if "path" not in line] == [7]
    assert len(lines) == 5


def test_what_was_tallied_last_is_handed_over_at_the_end() -> None:
    settled: list[TallyCounts] = []
    writer = AccessWriter(None, settle=settled.append)
    eventually(lambda: bool(settled))
    writer.tally.note(("GET", b"/v2/", 200), 7, 0.1)
    writer.close()
    assert sum(one.count for one in settled) == 1


def test_a_sink_that_fails_does_not_harm_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def fail(entry: AccessLogEntry) -> None:
        raise ValueError("no")

    taken: list[AccessLogEntry] = []
    writer = AccessWriter(None, sinks=[fail, taken.append])
    writer.add(AccessLogEntry(0.0, scope_of()))
    writer.close()
    assert len(taken) == 1
    assert "an access log sink failed" in caplog.text


def test_a_user_is_named_in_text() -> None:
    scope = {**scope_of(), "state": {ACTOR: 'o"wen'}}
    assert text_line(AccessLogEntry(0.0, scope)).split(" ")[2] == '"o\\"wen"'
    assert text_line(AccessLogEntry(0.0, scope_of(), user="rita")).split(" ")[2] == '"rita"'


def test_an_answer_that_closes_its_connection_is_complete(tmp_path: Path) -> None:
    """The application gets the disconnect while its last piece is sent, so nothing is missing."""
    closed = asyncio.Event()

    async def receive() -> Message:
        await closed.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            closed.set()
            await asyncio.sleep(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        watcher = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all"})
        await watcher

    with (tmp_path / "log").open("wb") as file:
        writer = AccessWriter("json", descriptor=file.fileno())
        asyncio.run(AccessLog(app, writer)(scope_of(), receive, send))
        writer.close()
    assert json.loads((tmp_path / "log").read_text())["complete"] is True
