"""Requests, and valid and invalid answers."""

from __future__ import annotations

import hashlib
import socket
import threading

import pytest

from benchmarks import load
from benchmarks.load import Job, Request
from tests.benchmarks.load.asking import CONTENT, DIGEST, ask, get
from tests.benchmarks.load.server import (
    OK,
    Asked,
    Reply,
    Serve,
    chunked,
    response,
)


def test_everything_is_counted_under_its_labels(serve: Serve) -> None:
    server = serve(lambda asked: response("200 OK", b"x" * len(asked.path)))
    put = Request("PUT", "/b", body=b"12345", headers=(("Accept", "text/plain"),))
    job = Job((Request("GET", "/aaaa", label="pull"), put), label="both")
    result = ask(server, job, job, get("/c"))
    assert [asked.path for asked in server.asked] == ["/aaaa", "/b", "/aaaa", "/b", "/c"]
    assert server.asked[1].body == b"12345"
    assert server.asked[1].headers["accept"] == "text/plain"
    assert server.asked[1].headers["host"] == "{}:{}".format(*server.address)
    assert (result.steps["pull"].count, result.steps["pull"].bytes_in) == (2, 10)
    assert (result.steps["PUT"].count, result.steps["PUT"].bytes_out) == (2, 10)
    assert (result.jobs["both"].count, result.jobs["both"].bytes_in) == (2, 14)
    assert (result.jobs["job"].count, result.jobs["job"].bytes_in) == (1, 2)
    assert (result.total.count, result.total.errors, result.total.bytes_in) == (5, 0, 16)
    assert result.connects == 1
    assert 0 < result.total.latency.p50 <= result.total.latency.maximum <= result.seconds
    assert result.cpu_seconds > 0


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(response("200 OK", CONTENT), id="length"),
        pytest.param(chunked(CONTENT, 100_000), id="chunks"),
        pytest.param(chunked(CONTENT[:20_000], 1), id="smallest-chunks"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + response("200 OK", CONTENT), id="interim"),
        pytest.param(Reply(b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT, close=True), id="until-close"),
        pytest.param(
            Reply(response("200 OK", CONTENT).replace(b"1.1", b"1.0", 1), close=True), id="old"
        ),
        pytest.param(
            Reply(response("200 OK", CONTENT, "Connection: close"), close=True), id="last"
        ),
    ],
)
@pytest.mark.parametrize("verify", [False, True])
def test_bodies_of_any_framing(serve: Serve, answer: Reply | bytes, verify: bool) -> None:
    server = serve(lambda asked: answer)
    size = 20_000 if answer == chunked(CONTENT[:20_000], 1) else len(CONTENT)
    digest = "sha256:" + hashlib.sha256(CONTENT[:size]).hexdigest()
    result = ask(server, *[get(f"/blobs/{digest}")] * 3, verify=verify)
    assert result.errors == ()
    assert (result.total.count, result.total.bytes_in) == (3, 3 * size)
    assert result.verified == (3 if verify else 0)
    assert server.connections >= (3 if isinstance(answer, Reply) else 1)


def test_a_wrong_body_is_an_error_if_it_is_verified(serve: Serve) -> None:
    server = serve(lambda asked: response("200 OK", CONTENT[:-1] + b"?"))
    job = get("/x", digest=DIGEST)
    assert ask(server, job).total.errors == 0
    result = ask(server, job, verify=True)
    assert (result.total.count, result.total.errors) == (0, 1)
    assert result.errors == ("GET: GET /x: the body has another digest",)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
def test_answers_without_a_body(serve: Serve, method: str, answer: bytes) -> None:
    server = serve(lambda asked: answer)
    job = Job((Request(method, "/x", expect=(200, 204, 304)),) * 2)
    result = ask(server, job)
    assert (result.total.count, result.total.bytes_in, result.connects) == (2, 0, 1)


def test_an_unexpected_status_ends_the_job_and_not_the_connection(serve: Serve) -> None:
    server = serve(lambda asked: response("500 Oops", b"disk on fire\xff"))
    job = Job((Request("GET", "/x", label="first"), Request("GET", "/never", label="second")))
    result = ask(server, job, job)
    assert [asked.path for asked in server.asked] == ["/x", "/x"]
    assert (result.steps["first"].count, result.steps["first"].errors) == (0, 2)
    assert result.steps["second"] == load.Measure(0, 0, 0, 0, load.Latency(0, 0, 0, 0))
    assert result.jobs["job"].errors == 2
    assert result.connects == 1
    assert result.errors == ("first: GET /x: status 500 disk on fire?",)


@pytest.mark.parametrize(
    ("cut", "why"),
    [
        (b"", "connection closed before the answer"),
        (b"HTTP/1.1 200 O", "connection closed before the answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "connection closed within the body"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "connection closed within the body",
        ),
    ],
)
def test_a_lost_connection_is_an_error_and_opened_again(serve: Serve, cut: bytes, why: str) -> None:
    server = serve(lambda asked: Reply(cut, close=True) if asked.path == "/cut" else OK)
    result = ask(server, get("/a"), get("/cut"), get("/b"))
    assert (result.total.count, result.total.errors, result.connects) == (2, 1, 2)
    assert result.errors == (f"GET: GET /cut: {why}",)
    assert [asked.connection for asked in server.asked] == [1, 1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
    ],
)
def test_a_malformed_answer_is_an_error(serve: Serve, answer: bytes) -> None:
    result = ask(serve(lambda asked: answer), get(), get())
    assert (result.total.count, result.total.errors, result.connects) == (0, 2, 3)


def test_silence_is_an_error(serve: Serve) -> None:
    silence = threading.Event()

    def answer(asked: Asked) -> bytes:
        if asked.path == "/silent":
            silence.wait(10)
        return OK

    try:
        result = ask(serve(answer), get("/silent"), get("/x"), timeout_seconds=0.1)
    finally:
        silence.set()
    assert (result.total.count, result.total.errors) == (1, 1)
    assert result.errors == ("GET: GET /silent: timeout",)


def test_a_connection_that_cannot_be_opened_is_given_up() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = load.run(unused.getsockname(), [get()] * 5, connections=3)
    assert (result.total.count, result.total.errors) == (0, 3)
    assert result.errors == ("cannot connect: Connection refused",)


def test_jobs_are_repeated_until_the_time_is_over(serve: Serve) -> None:
    server = serve(lambda asked: OK)
    result = ask(server, get("/a"), get("/b"), connections=3, seconds=0.1, repeat=True)
    assert result.total.count == len(server.asked) > 10
    assert {asked.path for asked in server.asked} == {"/a", "/b"}
    assert server.connections == result.connects == 3
    assert 0.1 <= result.seconds < 5


def test_connections_work_at_the_same_time(serve: Serve) -> None:
    together = threading.Barrier(4)

    def answer(asked: Asked) -> bytes:
        together.wait(10)
        return OK

    assert ask(serve(answer), *[get()] * 8, connections=4).total.count == 8


def test_no_jobs_are_no_work(serve: Serve) -> None:
    assert ask(serve(lambda asked: OK)).total.count == 0
