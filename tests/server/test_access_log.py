from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import pytest

from dtrfast.server.access_log import AccessLog, AccessWriter, Entry, json_line, text_line
from dtrfast.server.asgi import App, Message, Receive, Scope, Send


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
    line = line_of(Entry(0.0, scope, status=200))
    assert line.isascii()
    assert line.isprintable()
    assert 'evil" 200 "evil' not in line


def test_long_words_are_cut() -> None:
    entry = Entry(0.0, scope_of(path="/" + "p" * 100_000, user_agent=b"u" * 100_000))
    assert len(text_line(entry)) < 2000


def test_lines_of_a_batch_are_written_whole(tmp_path: Path) -> None:
    reader, descriptor = os.pipe()
    writer = AccessWriter("json", descriptor=descriptor)
    for _ in range(100):
        writer.add(Entry(0.0, scope_of()))
    writer.close()
    os.close(descriptor)
    with open(reader, "rb") as lines:
        assert sum(json.loads(line)["path"] == "/v2/" for line in lines) == 100


def test_a_reader_that_is_gone_does_not_matter() -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    writer = AccessWriter("text", descriptor=descriptor)
    writer.add(Entry(0.0, scope_of()))
    writer.close()
    os.close(descriptor)


def test_an_answer_that_closes_its_connection_is_complete(tmp_path: Path) -> None:
    """The application hears of the end while its last piece is sent: all of it was handed on."""
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
