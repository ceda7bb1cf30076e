"""Bodies that arrive a few bytes at a time: no byte waits for others once the body is complete."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.door.conftest import DoorServer
from tests.door.corpus.case import SMUGGLED
from tests.door.differ.content import digest_of
from tests.door.wire import Wire, chunked, request

pytestmark = pytest.mark.slow

# Far shorter than the time that a lane may wait for more such bytes.
ANSWER_SECONDS = 8.0
# Longer than a thread waits for the next packet, so that the server treats the client as slow.
PAUSE_SECONDS = 0.005
CONTENT = bytes(range(40))
# A request in the same packet as the body's last byte.
BEHIND = request("GET", "/v2/")


def with_length(path: str) -> tuple[bytes, bytes]:
    return request("PATCH", path, f"Content-Length: {len(CONTENT)}"), CONTENT


def in_chunks(path: str) -> tuple[bytes, bytes]:
    pieces = [CONTENT[start : start + 10] for start in range(0, len(CONTENT), 10)]
    return request("PATCH", path, "Transfer-Encoding: chunked"), chunked(*pieces)


def dribble(wire: Wire, data: bytes) -> None:
    """Send each byte in a packet of its own, after a pause."""
    pause = threading.Event()
    for position in range(len(data)):
        wire.send(data[position : position + 1])
        pause.wait(PAUSE_SECONDS)


@pytest.mark.parametrize("frame", [with_length, in_chunks])
def test_the_last_byte_is_answered(
    server: DoorServer, frame: Callable[[str], tuple[bytes, bytes]]
) -> None:
    path = server.begin_upload()
    head, body = frame(path)
    with server.connect(ANSWER_SECONDS) as wire:
        wire.send(head)
        dribble(wire, body[:-1])
        wire.send(body[-1:] + BEHIND)
        assert wire.read_answer("PATCH").status == 202
        assert wire.read_answer().status == 200
    digest = digest_of(CONTENT)
    assert server.ask(request("PUT", f"{path}?digest={digest}"), "PUT").status == 201
    pulled = server.ask(request("GET", f"/v2/{SMUGGLED}/blobs/{digest}"))
    assert pulled.body == CONTENT


def test_what_came_before_the_client_left_is_kept(server: DoorServer) -> None:
    path = server.begin_upload()
    head, body = with_length(path)
    with server.connect(ANSWER_SECONDS) as wire:
        wire.send(head)
        dribble(wire, body[:-1])
        wire.send_end()
        wire.read_end(unanswered=True)
    answer = server.ask(request("GET", path))
    assert (answer.status, answer.get("range")) == (204, f"0-{len(CONTENT) - 2}")


def test_a_chunk_that_makes_no_sense_is_answered(server: DoorServer) -> None:
    head, body = in_chunks(server.begin_upload())
    with server.connect(ANSWER_SECONDS) as wire:
        wire.send(head)
        dribble(wire, body[:20] + b"no size\r\n")
        assert wire.read_answer("PATCH").status == 400
