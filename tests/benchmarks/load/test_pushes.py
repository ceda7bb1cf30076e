"""The requests of a push."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Body, Framing
from tests.benchmarks.load.asking import CONTENT, DIGEST, ask, push
from tests.benchmarks.load.server import (
    Reply,
    Serve,
    Uploads,
    read_head,
    response,
)

QUOTED = DIGEST.replace(":", "%3A")


@pytest.mark.parametrize("absolute", [False, True])
def test_a_push_in_chunks(serve: Serve, content: Path, absolute: bool) -> None:
    server = serve(Uploads(absolute=absolute))
    result = ask(server, push(content, chunk_size=100_000), push(content, chunk_size=131_072))
    assert result.errors == ()
    assert (result.steps["push"].count, result.steps["push"].bytes_out) == (2, 600_000)
    start, patch, close, _, other, _ = server.asked
    assert (start.method, start.path) == ("POST", "/v2/r/blobs/uploads/")
    assert (patch.method, patch.path) == ("PATCH", "/v2/r/blobs/uploads/7?_state=POST")
    assert patch.body == other.body == CONTENT
    assert patch.chunks == (100_000, 100_000, 100_000)
    assert other.chunks == (131_072, 131_072, 37_856)
    assert close.method == "PUT"
    assert close.path == f"/v2/r/blobs/uploads/7?_state=PATCH&digest={QUOTED}"
    assert (close.body, close.headers["content-length"]) == (b"", "0")


def test_a_push_with_length(serve: Serve, content: Path) -> None:
    server = serve(Uploads())
    body = Body(content, offset=1000, size=200_000)
    assert ask(server, push(content, Framing.LENGTH, body=body)).total.bytes_out == 200_000
    assert [asked.method for asked in server.asked] == ["POST", "PATCH", "PUT"]
    assert server.asked[1].body == CONTENT[1000:201_000]
    assert server.asked[1].headers["content-length"] == "200000"


def test_a_push_in_a_single_request(serve: Serve, content: Path) -> None:
    server = serve(Uploads())
    assert ask(server, push(content, Framing.SINGLE)).total.count == 1
    assert [asked.method for asked in server.asked] == ["POST", "PUT"]
    assert server.asked[1].path == f"/v2/r/blobs/uploads/7?_state=POST&digest={QUOTED}"
    assert server.asked[1].body == CONTENT


def test_an_empty_push(serve: Serve, content: Path) -> None:
    server = serve(Uploads())
    body = Body(content, size=0)
    jobs = [push(content, framing, body=body) for framing in Framing]
    assert ask(server, *jobs).total.count == 3
    assert all(asked.body == b"" for asked in server.asked)


def test_a_push_asks_first_if_told(serve: Serve, content: Path) -> None:
    server = serve(Uploads())
    assert ask(server, push(content, head_first=True)).total.count == 1
    assert [asked.method for asked in server.asked] == ["HEAD", "POST", "PATCH", "PUT"]
    assert server.asked[0].path == f"/v2/r/blobs/{DIGEST}"
    server = serve(lambda asked: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    result = ask(server, push(content, head_first=True))
    assert (result.total.count, result.total.bytes_out) == (1, 0)
    assert [asked.method for asked in server.asked] == ["HEAD"]


@pytest.mark.parametrize(("mounts", "methods"), [(True, "POST"), (False, "POST PATCH PUT")])
def test_a_push_mounts_if_it_can(serve: Serve, content: Path, mounts: bool, methods: str) -> None:
    server = serve(Uploads(mounts=mounts))
    result = ask(server, push(content, mount_from="lib/other"))
    assert (result.total.count, result.total.errors) == (1, 0)
    assert " ".join(asked.method for asked in server.asked) == methods
    assert server.asked[0].path == f"/v2/r/blobs/uploads/?mount={QUOTED}&from=lib%2Fother"


def test_a_push_goes_on_after_a_connection_ends(serve: Serve, content: Path) -> None:
    uploads = Uploads()
    server = serve(lambda asked: Reply(_closing(uploads(asked)), close=True))
    result = ask(server, push(content), push(content))
    assert (result.total.count, result.total.errors, result.connects) == (2, 0, 7)


def _closing(answer: bytes) -> bytes:
    return answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


@pytest.mark.parametrize(
    "location", ["", "Location: nowhere", "Location: http://host", "Location: /" + "x" * 5000]
)
def test_a_push_without_a_usable_location_fails(serve: Serve, content: Path, location: str) -> None:
    server = serve(lambda asked: response("202 Accepted", b"", *([location] if location else [])))
    result = ask(server, push(content))
    assert result.total.errors == 1
    assert result.errors == ("push: POST /v2/r/blobs/uploads/: no usable location of the upload",)


def test_a_file_that_is_too_short_is_an_error(serve: Serve, content: Path) -> None:
    body = Body(content, offset=100, size=len(CONTENT))
    result = ask(serve(Uploads()), push(content, body=body))
    assert result.errors == ("push: PATCH /v2/r/blobs/uploads/7?_state=POST: No data available",)


def test_a_push_that_is_refused_early_says_so(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 28)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_refuse_early, args=(listener,))
        thread.start()
        jobs = [push(large, Framing.LENGTH, body=Body(large))]
        result = load.run(listener.getsockname(), jobs, connections=1)
        thread.join()
    assert (result.total.count, result.total.errors) == (0, 1)
    assert result.total.bytes_out < 1 << 28
    assert result.errors == ("push: PATCH /up: status 413 too large",)


def _refuse_early(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as requests:
        read_head(requests.readline)
        connection.sendall(response("202 Accepted", b"", "Location: /up"))
        read_head(requests.readline)
        connection.sendall(response("413 Too Large", b"too large", "Connection: close"))
        # Read until the client closes. If the server closed first, a reset could drop the answer.
        while connection.recv(1 << 16):
            pass
