"""Request bodies event by event: buffers, pauses, lost clients, and unread bodies."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest

from dtrfast.api import boundary
from dtrfast.api.v2 import request_body
from dtrfast.config import ServerConfig
from dtrfast.errors import StorageFull
from dtrfast.oci.digests import Digest
from tests.api.conftest import World
from tests.fakes.asgi import DISCONNECT, Exchange, ask, body, until
from tests.fakes.blobs import MemoryBlobs, MemoryUpload
from tests.fakes.client import NAME, Client

CONTENT = random.Random(3).randbytes(3_000_000)
DIGEST = Digest.of_bytes(CONTENT)
STREAMED = {"transfer-encoding": "chunked"}


@dataclass
class Session:
    """An upload session, and its inner state if the fake shows it."""

    world: World
    client: Client
    location: str

    @property
    def id(self) -> str:
        return self.location.rpartition("/")[2]

    @property
    def offset(self) -> int:
        return self.world.backend.blobs.upload_offset(NAME, self.id)

    def exchange(self, method: str = "PATCH", **headers: str) -> Exchange:
        url = f"{self.location}?digest={DIGEST}"
        return Exchange(self.client.app, method, url, headers or STREAMED)

    def assert_free(self) -> None:
        """Check that no request holds the upload."""
        self.world.backend.blobs.resume(NAME, self.id).release()


@pytest.fixture
def session(world: World, client: Client) -> Session:
    return Session(world, client, client.begin())


def fake_upload(session: Session) -> MemoryUpload:
    blobs = session.world.backend.blobs
    if not isinstance(blobs, MemoryBlobs):
        pytest.skip("only the fake lets one look inside")
    return blobs.uploads[session.id]


# ---- buffers ----------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [1, 1000, 65_536, 1 << 20, 3_000_000])
def test_events_of_any_size(session: Session, size: int) -> None:
    content = CONTENT if size > 1 else CONTENT[:2000]

    async def run() -> None:
        exchange = session.exchange()
        for offset in range(0, len(content), size):
            exchange.feed(body(content[offset : offset + size], more=True))
        exchange.feed(body())
        await exchange.task
        assert (exchange.status, session.offset) == (202, len(content))

    session.client.run(run())


def test_no_more_than_two_buffers_are_held(session: Session) -> None:
    """A slow disk stops the reading, so memory does not grow."""
    upload = fake_upload(session)
    append, gate = upload.append, asyncio.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def slow(data: bytes) -> None:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            append(data)

        upload.append = slow  # type: ignore[method-assign,assignment]
        exchange = session.exchange()
        events = [CONTENT[offset : offset + 65_536] for offset in range(0, len(CONTENT), 65_536)]
        exchange.feed(*(body(event, more=True) for event in events), body())
        await asyncio.sleep(0.05)
        taken = len(events) + 1 - exchange.unread
        assert taken * 65_536 <= 2 * request_body.BUFFER_SIZE
        gate.set()
        await exchange.task
        assert exchange.status == 202

    session.client.run(run())
    assert bytes(upload.content) == CONTENT


def test_a_dry_socket_gives_up_its_buffers(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "DRY_SECONDS", 0.005)
    monkeypatch.setattr(request_body, "_TICK_SECONDS", 0.005)
    upload = fake_upload(session)

    async def run() -> None:
        exchange = session.exchange()
        exchange.feed(body(b"a" * 100, more=True))
        await until(lambda: upload.offset == 100 and upload.saves == 1)
        exchange.feed(body(b"b" * 50, more=True))
        await until(lambda: upload.offset == 150 and upload.saves == 2)
        await asyncio.sleep(0.03)
        assert upload.saves == 2
        exchange.feed(body(b"c"))
        await exchange.task
        assert exchange.headers["range"] == "0-150"

    session.client.run(run())


def test_a_write_that_fails_while_the_socket_is_dry(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "DRY_SECONDS", 0.005)
    upload = fake_upload(session)
    blobs = session.world.backend.blobs
    assert isinstance(blobs, MemoryBlobs)

    async def run() -> None:
        exchange = session.exchange()
        blobs.failure = StorageFull("full")
        exchange.feed(body(b"a" * 100, more=True))
        await until(lambda: blobs.failure is None)
        exchange.feed(body(b"b"))
        await exchange.task
        assert exchange.status == 507

    session.client.run(run())
    assert not upload.held


# ---- clients that leave or stop ---------------------------------------------------------------
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("size", [0, 100, 2_500_000])
def test_a_client_that_leaves_may_resume(session: Session, method: str, size: int) -> None:
    async def leave() -> None:
        exchange = session.exchange(method)
        exchange.feed(body(CONTENT[:size], more=True), DISCONNECT)
        await exchange.task
        assert exchange.sent == []

    session.client.run(leave())
    session.assert_free()
    assert session.offset == size
    response = session.client.put(f"{session.location}?digest={DIGEST}", content=CONTENT[size:])
    assert response.status_code == 201


def test_a_client_that_leaves_during_a_post_leaves_nothing(world: World, client: Client) -> None:
    async def leave() -> None:
        url = f"/v2/{NAME}/blobs/uploads/?digest={DIGEST}"
        exchange = Exchange(client.app, "POST", url, STREAMED)
        exchange.feed(body(CONTENT, more=True), DISCONNECT)
        await exchange.task
        assert exchange.sent == []

    client.run(leave())
    if isinstance(world.backend.blobs, MemoryBlobs):
        assert world.backend.blobs.uploads == {}
    assert client.get("/v2/_catalog").json() == {"repositories": []}


def test_a_client_that_leaves_during_a_manifest(client: Client) -> None:
    exchange = client.run(
        ask(client.app, "PUT", f"/v2/{NAME}/manifests/a", body(b"{", more=True), DISCONNECT)
    )
    assert exchange.sent == []


@pytest.mark.parametrize("size", [0, 100, 2_500_000])
def test_an_upload_is_released_when_the_server_stops(session: Session, size: int) -> None:
    async def run() -> None:
        exchange = session.exchange()
        exchange.feed(body(CONTENT[:size], more=True))
        await until(lambda: exchange.unread == 0)
        exchange.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange.task

    session.client.run(run())
    session.assert_free()
    assert session.offset <= size


def test_canceled_twice_while_a_thread_writes(session: Session) -> None:
    upload = fake_upload(session)
    append, gate = upload.append, asyncio.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def slow(data: bytes) -> None:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            append(data)

        upload.append = slow  # type: ignore[method-assign,assignment]
        exchange = session.exchange()
        exchange.feed(body(CONTENT, more=True))
        await until(lambda: exchange.unread == 0)
        for _ in range(2):
            await asyncio.sleep(0.01)
            exchange.task.cancel()
        await asyncio.sleep(0.01)
        assert upload.held
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await exchange.task
        assert not upload.held

    session.client.run(run())


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_client_that_stops_sending(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(request_body, "DRY_SECONDS", 0.005)
    monkeypatch.setattr(request_body, "_TICK_SECONDS", 0.005)
    client = world.client(server=ServerConfig(idle_body_seconds=0.03))
    session = Session(world, client, client.begin())

    async def run() -> None:
        exchange = session.exchange(method)
        exchange.feed(body(CONTENT[:5000], more=True))
        await exchange.task
        assert exchange.status == 408
        assert exchange.headers["connection"] == "close"

    client.run(run())
    session.assert_free()
    assert session.offset == 5000


def test_a_client_that_stops_in_a_manifest(world: World) -> None:
    client = world.client(server=ServerConfig(idle_body_seconds=0.03))
    url = f"/v2/{NAME}/manifests/a"
    exchange = client.run(ask(client.app, "PUT", url, body(b"{", more=True), headers=STREAMED))
    assert exchange.status == 408


# ---- lengths ----------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("announced", [0, 99, 101, 5_000_000])
def test_another_length_than_announced(session: Session, method: str, announced: int) -> None:
    async def run() -> None:
        exchange = session.exchange(method, **{"content-length": str(announced)})
        exchange.feed(body(bytes(100)))
        await exchange.task
        assert exchange.status == 400
        assert b"SIZE_INVALID" in exchange.content

    session.client.run(run())
    session.assert_free()
    assert session.offset == 0


def test_another_length_than_announced_for_a_manifest(client: Client) -> None:
    headers = {"content-length": "5"}
    url = f"/v2/{NAME}/manifests/a"
    exchange = client.run(ask(client.app, "PUT", url, body(b"{}"), headers=headers))
    assert (exchange.status, b"SIZE_INVALID" in exchange.content) == (400, True)


@pytest.mark.parametrize("length", ["-1", "x", "+5", "1_0", "9" * 30, "²"])
def test_a_length_that_is_none(session: Session, length: str) -> None:
    async def run() -> None:
        exchange = session.exchange(**{"content-length": length})
        exchange.feed(body(b"12345"))
        await exchange.task
        assert exchange.status == 400

    session.client.run(run())
    session.assert_free()


# ---- unread bodies ----------------------------------------------------------------------------
UNKNOWN = f"/v2/{NAME}/blobs/uploads/01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize("headers", [STREAMED, {"content-length": "300000"}])
def test_the_rest_of_a_body_is_read_before_an_early_answer(
    client: Client, headers: dict[str, str]
) -> None:
    events = [body(bytes(100_000), more=True)] * 2 + [body(bytes(100_000))]
    exchange = client.run(ask(client.app, "PATCH", UNKNOWN, *events, headers=headers))
    assert exchange.status == 404
    assert exchange.unread == 0
    assert "connection" not in exchange.headers


def test_a_body_without_end_is_not_read_to_its_end(client: Client) -> None:
    events = [body(bytes(100_000), more=True)] * 50
    exchange = client.run(ask(client.app, "PATCH", UNKNOWN, *events, headers=STREAMED))
    assert (exchange.status, exchange.headers["connection"]) == (404, "close")
    assert 30 < exchange.unread < 45


def test_a_slow_body_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "_DRAIN_SECONDS_MAX", 0.01)
    event = body(b"x", more=True)
    exchange = client.run(ask(client.app, "PATCH", UNKNOWN, event, headers=STREAMED))
    assert (exchange.status, exchange.headers["connection"]) == (404, "close")


def test_http_2_knows_no_connection_header(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "_DRAIN_SECONDS_MAX", 0.01)
    event = body(b"x", more=True)
    exchange = client.run(ask(client.app, "PATCH", UNKNOWN, event, http_version="2"))
    assert exchange.status == 404
    assert "connection" not in exchange.headers


def test_a_request_without_a_body_is_not_waited_for(client: Client) -> None:
    for headers in ({}, {"content-length": "0"}):

        async def run(headers: dict[str, str] = headers) -> None:
            exchange = Exchange(client.app, "POST", f"/v2/{NAME}/blobs/uploads/", headers)
            await exchange.task
            assert (exchange.status, exchange.reads) == (202, 0)

        client.run(run())


def test_a_body_that_an_answer_needs_not_is_read_as_well(client: Client) -> None:
    url = f"/v2/{NAME}/blobs/uploads/"
    event = body(b"{}")
    exchange = client.run(ask(client.app, "POST", url, event, headers={"content-length": "2"}))
    assert (exchange.status, exchange.unread) == (202, 0)


def test_a_manifest_that_is_too_large_is_refused_by_its_length(client: Client) -> None:
    headers = {"content-length": str(100 << 20)}
    events = [body(bytes(100_000), more=True)] * 20
    url = f"/v2/{NAME}/manifests/a"
    exchange = client.run(ask(client.app, "PUT", url, *events, headers=headers))
    assert (exchange.status, exchange.headers["connection"]) == (413, "close")
    assert exchange.unread > 5
