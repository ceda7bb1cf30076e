"""Bodies that break off and are sent again: every row of the table in docs/uploads.md."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import permutations
from typing import Any

import httpx
import pytest
from starlette.types import Message

from dtrfast.api.types import LEFT
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import Upload
from tests.api.conftest import World
from tests.fakes.asgi import DISCONNECT, Exchange, ask, body, until
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import NAME, Client, failure

NOISE = random.Random(5).randbytes(700_000)
CONTENTS = {"chunked": NOISE, "loose": b"\x1f\x8b" + NOISE, "inline": NOISE[:8000]}
# The begin and end of the broken body, in thousandths of the content.
PLACES = [(0, 1), (0, 600), (300, 300), (300, 600)]
METHODS = ["PATCH", "PUT"]


class Broken:
    """An upload session whose last body broke off."""

    def __init__(self, world: World, client: Client, content: bytes, places: tuple[int, int]):
        self.world = world
        self.client = client
        self.content = content
        self.digest = Digest.of_bytes(content)
        self.begin, self.end = (len(content) * place // 1000 for place in places)
        self.location = client.begin()
        if self.begin:
            assert client.patch(self.location, content=content[: self.begin]).status_code == 202

    def breaks(self, method: str, piece: bytes | None = None, *, streamed: bool = False) -> None:
        """Send a body that announces the rest of the content, and break it off."""
        piece = self.content[self.begin : self.end] if piece is None else piece
        length = str(len(self.content) - self.begin)
        headers = {"transfer-encoding": "chunked"} if streamed else {"content-length": length}

        async def run() -> None:
            await ask(
                self.client.app,
                method,
                f"{self.location}?digest={self.digest}",
                body(piece, more=True),
                DISCONNECT,
                headers=headers,
            )

        self.client.run(run())

    def send(self, method: str, start: int, **options: Any) -> httpx.Response:
        """Send the content from `start` to its end, with a Content-Range."""
        headers = {}
        if options.pop("content_range", False):
            headers["content-range"] = f"{start}-{len(self.content) - 1}"
        piece: Any = options.pop("piece", self.content[start:])
        if options.pop("streamed", False):
            piece = chunks(piece)
        url = f"{self.location}?digest={self.digest}" if method == "PUT" else self.location
        return self.client.request(method, url, content=piece, headers=headers)

    def assert_ends(self, method: str, start: int, **options: Any) -> None:
        """Check that a PUT, or a PATCH and a PUT, from `start` completes the blob."""
        answer = self.send(method, start, **options)
        if method == "PATCH":
            assert answer.status_code == 202, answer.text
            assert answer.headers["range"] == f"0-{len(self.content) - 1}"
            answer = self.client.put(f"{self.location}?digest={self.digest}")
        assert answer.status_code == 201, answer.text
        assert self.client.get(f"/v2/{NAME}/blobs/{self.digest}").content == self.content
        assert self.client.get(self.location).status_code == 404
        again = self.client.put(f"{self.location}?digest={self.digest}", content=self.content)
        assert again.status_code == 201


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for offset in range(0, len(content), 60_000):
        yield content[offset : offset + 60_000]


@pytest.fixture(params=[*CONTENTS])
def sessions(request: pytest.FixtureRequest, world: World, client: Client) -> Iterator[Broken]:
    """Yield a broken session for each of the places. A test for each would take too long."""
    if isinstance(world.backend.blobs, MemoryBlobs) and request.param != "chunked":
        pytest.skip("to the fake all contents are alike")
    return (Broken(world, client, CONTENTS[request.param], places) for places in PLACES)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("streamed", [False, True])
def test_the_whole_body_again(sessions: Iterator[Broken], method: str, streamed: bool) -> None:
    for broken in sessions:
        broken.breaks(method, streamed=streamed)
        broken.assert_ends(method, broken.begin, streamed=streamed)


@pytest.mark.parametrize("method", METHODS)
def test_it_breaks_off_again_and_again(sessions: Iterator[Broken], method: str) -> None:
    for broken in sessions:
        for size in (0, 5, 100_000, 1):
            broken.breaks(method, broken.content[broken.begin :][:size])
        broken.assert_ends(method, broken.begin)


@pytest.mark.parametrize("method", METHODS)
def test_a_range_from_where_it_began(sessions: Iterator[Broken], method: str) -> None:
    for broken in sessions:
        broken.breaks(method)
        broken.assert_ends(method, broken.begin, content_range=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_range_from_where_it_ended(
    sessions: Iterator[Broken], method: str, streamed: bool
) -> None:
    for broken in sessions:
        broken.breaks(method, streamed=streamed)
        broken.assert_ends(method, broken.end, content_range=True)


@pytest.mark.parametrize("method", METHODS)
def test_another_range_is_refused_and_tells_where_to_go_on(
    sessions: Iterator[Broken], method: str
) -> None:
    for broken in sessions:
        broken.breaks(method)
        answer = broken.send(method, broken.end + 1, content_range=True)
        assert failure(answer).codes == ["RANGE_INVALID"]
        assert answer.headers.get("range") == (f"0-{broken.end - 1}" if broken.end else None)
        broken.assert_ends(method, broken.end, streamed=True)


@pytest.mark.parametrize("method", METHODS)
def test_who_asked_goes_on_without_saying_so(sessions: Iterator[Broken], method: str) -> None:
    for broken in sessions:
        broken.breaks(method)
        answer = broken.client.get(broken.location)
        assert answer.headers["range"] == f"0-{max(0, broken.end - 1)}"
        broken.assert_ends(method, broken.end, streamed=True)


@pytest.mark.parametrize("method", METHODS)
def test_exactly_what_is_missing(sessions: Iterator[Broken], method: str) -> None:
    for broken in sessions:
        broken.breaks(method)
        broken.assert_ends(method, broken.end)


def test_a_closing_body_is_read_as_its_digest_says(sessions: Iterator[Broken]) -> None:
    """A client sends more bytes without knowing the offset, and its digest proves it right."""
    for broken in sessions:
        broken.breaks("PUT", streamed=True)
        broken.assert_ends("PUT", broken.end, streamed=True)


def test_a_closing_body_that_begins_anew_though_its_client_was_told(
    sessions: Iterator[Broken],
) -> None:
    for broken in sessions:
        broken.breaks("PUT")
        broken.client.get(broken.location)
        broken.assert_ends("PUT", broken.begin)


def test_other_bytes_than_those_that_broke_off(sessions: Iterator[Broken]) -> None:
    for broken in sessions:
        broken.breaks("PUT", bytes(broken.end - broken.begin))
        broken.assert_ends("PUT", broken.begin)


def test_a_digest_that_neither_reading_has(sessions: Iterator[Broken]) -> None:
    for broken in sessions:
        broken.breaks("PUT")
        answer = broken.send("PUT", broken.begin, piece=broken.content[broken.begin :][:-1] + b"!")
        assert failure(answer).codes == ["DIGEST_INVALID"]
        assert broken.client.get(broken.location).status_code == 404


def test_a_closing_put_without_a_body(sessions: Iterator[Broken]) -> None:
    """The whole body arrived, but the client got no answer. Its PUT ends the upload."""
    for broken in sessions:
        broken.breaks("PATCH", broken.content[broken.begin :], streamed=True)
        broken.assert_ends("PUT", len(broken.content))


def test_a_body_of_another_size_than_announced_takes_nothing_back_of_what_was_kept(
    sessions: Iterator[Broken],
) -> None:
    for broken in sessions:
        broken.breaks("PATCH")
        headers = {"content-range": f"{broken.end}-{broken.end + 49}"}
        answer = broken.client.patch(broken.location, content=chunks(bytes(30)), headers=headers)
        assert failure(answer).codes == ["SIZE_INVALID"]
        broken.assert_ends("PUT", broken.begin)


def test_the_mode_of_the_content_may_change(world: World, client: Client) -> None:
    """The broken body was small and is dropped, so the retry may be of another kind."""
    for first, second in permutations(CONTENTS.values(), 2):
        broken = Broken(world, client, second, (0, 600))
        broken.breaks("PATCH", first)
        broken.assert_ends("PATCH", 0)


# ---- answers that are not read -----------------------------------------------------------------
def test_a_client_that_left_is_not_counted_as_answered(sessions: Iterator[Broken]) -> None:
    async def patch(broken: Broken) -> None:
        exchange = Exchange(broken.client.app, "PATCH", broken.location)
        exchange.scope["state"] = {LEFT: lambda: True}
        exchange.feed(body(broken.content[broken.begin :]))
        await exchange.task
        assert exchange.status == 202

    for broken in sessions:
        broken.client.run(patch(broken))
        broken.client.run(patch(broken))
        broken.assert_ends("PATCH", broken.begin)


def test_a_doubled_patch_that_is_the_whole_blob(sessions: Iterator[Broken]) -> None:
    """The server cannot know that the answer was lost. The digest proves it."""
    for broken in sessions:
        broken.location = broken.client.begin()
        for _ in range(2):
            assert broken.send("PATCH", 0).status_code == 202
        assert broken.client.put(f"{broken.location}?digest={broken.digest}").status_code == 201


# ---- two at a time ----------------------------------------------------------------------------
async def together(
    first: Exchange, then: Callable[[], Exchange], between: Callable[[], Awaitable[None]]
) -> Exchange:
    """Send a second request while the first one runs, and wait for both."""
    await asyncio.sleep(0.02)
    second = then()
    await between()
    await asyncio.wait({first.task, second.task}, timeout=20)
    assert first.task.done()
    assert second.task.done()
    return second


@pytest.mark.long  # the server waits for the rest of a body
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_range", [False, True])
def test_a_request_that_lacks_bytes_is_stopped_by_its_retry(
    world: World, client: Client, method: str, with_range: bool
) -> None:
    content = CONTENTS["chunked"]
    digest = Digest.of_bytes(content)
    url = f"{client.begin()}?digest={digest}"
    headers = {"content-length": str(len(content))}
    if with_range:
        headers["content-range"] = f"0-{len(content) - 1}"

    async def run() -> None:
        first = Exchange(client.app, method, url, headers)
        first.feed(body(content[:400_000], more=True))

        def again() -> Exchange:
            second = Exchange(client.app, method, url, headers)
            second.feed(body(content))
            return second

        async def nothing() -> None: ...

        second = await together(first, again, nothing)
        assert first.status == 503
        assert second.status == (202 if method == "PATCH" else 201)

    client.run(run())
    if method == "PATCH":
        assert client.put(url).status_code == 201
    assert client.get(f"/v2/{NAME}/blobs/{digest}").content == content


@pytest.mark.long  # the second request waits for a second
@pytest.mark.parametrize("method", METHODS)
def test_a_request_that_lacks_bytes_is_not_stopped_by_another_chunk(
    client: Client, method: str
) -> None:
    content = CONTENTS["chunked"]
    digest = Digest.of_bytes(content)
    url = f"{client.begin()}?digest={digest}"

    async def run() -> None:
        first = Exchange(client.app, method, url, {"content-length": str(len(content))})
        first.feed(body(content[:400_000], more=True))

        def chunk() -> Exchange:
            headers = {"content-range": f"400000-{len(content) - 1}"}
            second = Exchange(client.app, "PATCH", url, headers)
            second.feed(body(content[400_000:]))
            return second

        async def later() -> None:
            await asyncio.sleep(1.2)
            first.feed(body(content[400_000:]))

        second = await together(first, chunk, later)
        assert second.status == 503
        assert first.status == (202 if method == "PATCH" else 201)

    client.run(run())


@pytest.mark.parametrize("with_range", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_retry_that_waited_a_moment_is_a_retry(
    world: World, client: Client, method: str, with_range: bool
) -> None:
    """The first request has all its bytes, and ends after the second one's first attempt."""
    content = CONTENTS["chunked"]
    digest = Digest.of_bytes(content)
    url = f"{client.begin()}?digest={digest}"
    name = url.partition("?")[0].rpartition("/")[2]
    first = world.backend.blobs.resume(NAME, name).begin_body(0, len(content))
    first.append(content)

    second = client.run(
        comes_while(world, client, first, method, url, body(content), with_range=with_range)
    )
    if method == "PATCH":
        assert (second.status, second.headers["range"]) == (202, f"0-{len(content) - 1}")
        assert client.put(url).status_code == 201
    assert client.get(f"/v2/{NAME}/blobs/{digest}").content == content


async def comes_while(
    world: World,
    client: Client,
    first: Upload,
    method: str,
    url: str,
    *messages: Message,
    with_range: bool = False,
) -> Exchange:
    """Send a request while `first` holds its upload; then the body of `first` is complete."""
    calls = world.hop.calls
    headers = {"content-length": str(first.offset)}
    if with_range:
        headers["content-range"] = f"0-{first.offset - 1}"
    second = Exchange(client.app, method, url, headers)
    second.feed(*messages)
    await until(lambda: world.hop.calls >= calls + 2)  # made its first attempt
    first.end_body()
    first.release()
    await second.task
    return second


def test_bytes_that_came_whole_outlive_a_retry_that_breaks_off(
    world: World, client: Client
) -> None:
    """A request may be handled last although its client gave it up long ago."""
    content = CONTENTS["chunked"]
    location = client.begin()
    first = world.backend.blobs.resume(NAME, location.rpartition("/")[2])
    first = first.begin_body(0, len(content))
    first.append(content)
    url = f"{location}?digest={Digest.of_bytes(content)}"
    second = comes_while(
        world, client, first, "PATCH", location, body(content[:500_000], more=True), DISCONNECT
    )
    client.run(second)
    assert client.get(location).headers["range"] == f"0-{len(content) - 1}"
    assert client.put(url).status_code == 201


def test_another_body_than_the_one_that_came_whole_is_refused(world: World, client: Client) -> None:
    content = CONTENTS["chunked"]
    location = client.begin()
    first = world.backend.blobs.resume(NAME, location.rpartition("/")[2])
    first = first.begin_body(0, len(content))
    first.append(content)
    other = body(content[:-1] + b"?")
    second = client.run(comes_while(world, client, first, "PATCH", location, other))
    assert (second.status, second.headers["range"]) == (416, f"0-{len(content) - 1}")
    assert client.put(f"{location}?digest={Digest.of_bytes(content)}").status_code == 201


@pytest.mark.long  # the server reads the rest of the first body for a second
def test_who_was_told_while_the_first_request_hangs_goes_on(
    sessions: Iterator[Broken], world: World
) -> None:
    async def run(broken: Broken, method: str) -> int:
        url = f"{broken.location}?digest={broken.digest}"
        streamed = {"transfer-encoding": "chunked"}
        first = Exchange(broken.client.app, method, url, streamed)
        first.feed(body(broken.content[broken.begin : broken.end], more=True))
        blobs, name = world.backend.blobs, broken.location.rpartition("/")[2]
        await until(lambda: blobs.upload_offset(NAME, name) >= broken.end)
        second = Exchange(broken.client.app, method, url, streamed)
        second.feed(body(broken.content[broken.end :]))
        await asyncio.wait({first.task, second.task}, timeout=20)
        assert first.status == 503
        return second.status

    for broken, method in zip(sessions, METHODS, strict=False):
        broken.end = max(broken.end, broken.begin + 1)
        assert broken.client.run(run(broken, method)) == (202 if method == "PATCH" else 201)
        if method == "PATCH":
            answer = broken.client.put(f"{broken.location}?digest={broken.digest}")
            assert answer.status_code == 201
        got = broken.client.get(f"/v2/{NAME}/blobs/{broken.digest}")
        assert got.content == broken.content
