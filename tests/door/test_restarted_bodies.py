"""Bodies that break off on real connections and are sent again, to either of two workers.

docs/uploads.md has the rules.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dtrfast.machine.paths import Layout
from dtrfast.oci.digests import Digest
from dtrfast.store.claims import ContentClaim
from dtrfast.store.upload_state import UploadState, read_unlocked
from tests.door.conftest import DoorServer, serving
from tests.door.differ.content import digest_of
from tests.door.wire import Answer, Wire, chunked, request
from tests.e2e.programs import wait_until

pytestmark = pytest.mark.slow

NOISE = random.Random(8).randbytes(3_000_000)
# The contents, chunked and loose, and the start of the last body of each.
CONTENTS = [(NOISE, 0), (b"\x1f\x8b" + NOISE, 700_000)]
BROKEN_SIZE = 1_200_000
METHODS = ["PATCH", "PUT"]


@pytest.fixture(scope="module", params=[True, False], ids=["lanes on", "lanes off"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DoorServer]:
    folder = tmp_path_factory.mktemp("restarted")
    with serving(folder, lanes=request.param, workers=2) as running:
        yield running


@dataclass
class Session:
    """An upload of one content. A part of it may be sent before."""

    server: DoorServer
    content: bytes
    begin: int
    location: str = ""

    def __post_init__(self) -> None:
        self.location = self.server.begin_upload()
        if self.begin:
            assert self.patch(self.content[: self.begin]).status == 202

    @property
    def digest(self) -> str:
        return str(digest_of(self.content))

    def target(self, method: str) -> str:
        return f"{self.location}?digest={self.digest}" if method == "PUT" else self.location

    def head(self, method: str, *headers: str) -> bytes:
        return request(method, self.target(method), *headers)

    def patch(self, body: bytes) -> Answer:
        return self.server.ask(request("PATCH", self.location, body=body), "PATCH")

    def send(self, method: str, start: int, *headers: str, streamed: bool = False) -> Answer:
        piece = self.content[start:]
        if streamed:
            sent = self.head(method, "Transfer-Encoding: chunked", *headers) + chunked(piece, b"")
        else:
            sent = request(method, self.target(method), *headers, body=piece)
        return self.server.ask(sent, method)

    def send_until_taken(self, method: str) -> Answer:
        """Send the whole body until it is taken.

        A 503 means that an older request still holds the upload: the server has not noticed yet
        that its client is gone.
        """
        while (answer := self.send(method, self.begin)).status == 503:
            assert answer.get("retry-after") == "1"
        return answer

    def start(self, method: str, size: int, *headers: str) -> Wire:
        """Begin a request for the rest of the content, and send `size` bytes of it."""
        length = f"Content-Length: {len(self.content) - self.begin}"
        wire = self.server.connect()
        wire.send(self.head(method, length, *headers))
        wire.send(self.content[self.begin : self.begin + size])
        return wire

    def breaks(self, method: str, size: int = BROKEN_SIZE) -> None:
        with self.start(method, size):
            pass
        self.wait_until_saved(self.begin + size)

    @property
    def state_path(self) -> Path:
        name = self.location.rpartition("/")[2]
        return self.server.process.data / "uploads" / f"{name}.state"

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the claim of the content, as a slow commit does."""
        with ContentClaim(Layout(self.server.process.data).claims) as claim:
            claim.wait(Digest.parse(self.digest))
            yield

    def state(self) -> UploadState:
        state = read_unlocked(self.state_path)
        assert state is not None
        return state

    def wait_until_saved(self, offset: int) -> None:
        wait_until(
            lambda: self.state().offset == offset, self.server.process.process, f"{offset} bytes"
        )

    def assert_ended(self, method: str, answer: Answer) -> None:
        if method == "PATCH":
            assert (answer.status, answer.get("range")) == (202, f"0-{len(self.content) - 1}")
            answer = self.server.ask(self.head("PUT"), "PUT")
        assert answer.status == 201, answer.body
        name = self.location.split("/blobs/")[0]
        got = self.server.ask(request("GET", f"{name}/blobs/{self.digest}"))
        assert got.body == self.content

    def range_from(self, start: int) -> str:
        return f"Content-Range: {start}-{len(self.content) - 1}"


@pytest.fixture
def sessions(server: DoorServer) -> Iterator[Session]:
    return (Session(server, content, begin) for content, begin in CONTENTS)


@pytest.mark.parametrize("method", METHODS)
def test_the_whole_body_again(sessions: Iterator[Session], method: str) -> None:
    for session in sessions:
        for size in (1, BROKEN_SIZE, 500_000):
            with session.start(method, size):
                pass
        session.assert_ended(method, session.send_until_taken(method))


@pytest.mark.parametrize("method", METHODS)
def test_the_whole_body_again_streamed(sessions: Iterator[Session], method: str) -> None:
    for session in sessions:
        session.breaks(method)
        answer = session.send(method, session.begin, streamed=True)
        session.assert_ended(method, answer)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("further", [0, BROKEN_SIZE])
def test_a_range_from_one_of_the_two_places(
    sessions: Iterator[Session], method: str, further: int
) -> None:
    for session in sessions:
        session.breaks(method)
        start = session.begin + further
        answer = session.send(method, start, session.range_from(start))
        session.assert_ended(method, answer)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("asking", ["GET", "416"])
def test_a_client_that_knows_the_offset_goes_on(
    sessions: Iterator[Session], method: str, asking: str
) -> None:
    for session in sessions:
        session.breaks(method)
        end = session.begin + BROKEN_SIZE
        if asking == "GET":
            answer = session.server.ask(request("GET", session.location))
        else:
            answer = session.send(method, end + 1, session.range_from(end + 1))
            assert answer.status == 416
        assert answer.get("range") == f"0-{end - 1}"
        session.assert_ended(method, session.send(method, end, streamed=True))


@pytest.mark.parametrize("method", METHODS)
def test_exactly_what_is_missing(sessions: Iterator[Session], method: str) -> None:
    for session in sessions:
        session.breaks(method)
        session.assert_ended(method, session.send(method, session.begin + BROKEN_SIZE))


def test_a_closing_body_is_read_as_its_digest_says(sessions: Iterator[Session]) -> None:
    for session in sessions:
        session.breaks("PATCH")
        answer = session.send("PUT", session.begin + BROKEN_SIZE, streamed=True)
        session.assert_ended("PUT", answer)


def test_an_answer_that_the_client_does_not_read(sessions: Iterator[Session]) -> None:
    for session in sessions:
        *most, last = session.content[session.begin :]
        length = f"Content-Length: {len(most) + 1}"
        with socket.create_connection(session.server.address) as connection:
            connection.sendall(session.head("PATCH", length) + bytes(most))
            session.wait_until_saved(len(session.content) - 1)
            # The last byte and the end of the connection are in one packet.
            connection.send(bytes([last]), socket.MSG_MORE)
        session.assert_ended("PATCH", session.send("PATCH", session.begin))


# ---- two requests at a time -------------------------------------------------------------------
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_range", [False, True])
def test_a_retry_stops_the_request_that_lacks_bytes(
    sessions: Iterator[Session], method: str, with_range: bool
) -> None:
    for session in sessions:
        headers = [session.range_from(session.begin)] if with_range else []
        with session.start(method, BROKEN_SIZE, *headers) as first:
            session.wait_until_saved(session.begin + BROKEN_SIZE)
            begun = time.monotonic()
            answer = session.send(method, session.begin, *headers)
            assert time.monotonic() - begun < 10
            assert first.read_answer(method).status == 503
        session.assert_ended(method, answer)


def test_another_chunk_stops_no_request(sessions: Iterator[Session]) -> None:
    for session in sessions:
        with session.start("PUT", BROKEN_SIZE) as first:
            start = session.begin + BROKEN_SIZE
            session.wait_until_saved(start)
            answer = session.send("PATCH", start, session.range_from(start))
            assert (answer.status, answer.get("retry-after")) == (503, "1")
            assert session.server.ask(session.head("DELETE"), "DELETE").status == 503
            first.send(session.content[start:])
            session.assert_ended("PUT", first.read_answer("PUT"))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_that_has_all_its_bytes_is_never_cut(
    sessions: Iterator[Session], streamed: bool
) -> None:
    for session in sessions:
        length = f"Content-Length: {len(session.content) - session.begin}"
        framing = "Transfer-Encoding: chunked" if streamed else length
        body = session.content[session.begin :]
        sent = session.head("PUT", framing) + (chunked(body, b"") if streamed else body)
        with session.server.connect() as first, session.server.connect() as second:
            with session.claimed():
                first.send(sent)
                time.sleep(0.3)
                second.send(sent)
                time.sleep(1.5)
            assert first.read_answer("PUT").status == 201
            session.assert_ended("PUT", second.read_answer("PUT"))
