"""Downloads of blobs: clients that leave, and missing bytes."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Iterator

import pytest

from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.oci.digests import Digest
from dtrfast.registry.blob_source import PIECE_SIZE, BlobPart, BlobSource
from dtrfast.store.blobs import BlobReader, BlobStat, Extent, Segment
from tests.api.conftest import World
from tests.fakes.asgi import DISCONNECT, Exchange, body
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import NAME, Client

CONTENT = random.Random(9).randbytes(3_000_000)
URL = f"/v2/{NAME}/blobs/{Digest.of_bytes(CONTENT)}"


class Reader:
    """A `BlobReader` over given segments."""

    def __init__(self, *segments: Segment) -> None:
        self.segments = segments
        self.stat = BlobStat(Digest.of_bytes(b""), 0)
        self.closed = 0

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    def close(self) -> None:
        self.closed += 1

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def source(*readers: Reader, length: int) -> BlobSource:
    """Return a source with one part for each reader, all of one length."""
    left = iter(readers)

    def open_range(offset: int, length: int) -> BlobReader:
        return next(left)

    return BlobSource(open_range, [BlobPart(b"", 0, length) for _ in readers])


def read_all(source: BlobSource) -> list[bytes]:
    pieces = []
    while source.left:
        pieces.append(source.read())
    return pieces


# ---- pieces -----------------------------------------------------------------------------------
def test_small_segments_are_gathered() -> None:
    reader = Reader(*[b"12345"] * 1000)
    assert read_all(source(reader, length=5000)) == [b"12345" * 1000]
    assert reader.closed == 1


def test_large_segments_are_cut() -> None:
    descriptor = os.memfd_create("blob")
    with os.fdopen(descriptor, "wb") as file:
        file.write(CONTENT)
        file.flush()
        reader = Reader(Extent(descriptor, 0, len(CONTENT)))
        pieces = read_all(source(reader, length=len(CONTENT)))
    assert b"".join(pieces) == CONTENT
    assert all(len(piece) < 2 * PIECE_SIZE for piece in pieces)


def test_readers_are_opened_one_after_the_other() -> None:
    readers = [Reader(b"ab"), Reader(b"cd")]
    assert read_all(source(*readers, length=2)) == [b"abcd"]
    assert [reader.closed for reader in readers] == [1, 1]


def test_a_source_may_be_closed_at_any_time() -> None:
    reader = Reader(bytes(PIECE_SIZE), bytes(PIECE_SIZE))
    opened = source(reader, length=2 * PIECE_SIZE)
    opened.read()
    opened.close()
    opened.close()
    assert reader.closed == 1


def test_fewer_bytes_than_the_index_says() -> None:
    reader = Reader(b"abc")
    with pytest.raises(Corrupt, match="fewer bytes"):
        read_all(source(reader, length=4))
    assert reader.closed == 1


def test_more_bytes_than_the_index_says() -> None:
    with pytest.raises(Corrupt, match="longer"):
        read_all(source(Reader(b"abc", b"d"), length=3))


def test_a_file_that_is_too_short() -> None:
    descriptor = os.memfd_create("blob")
    with os.fdopen(descriptor), pytest.raises(Corrupt, match="shorter"):
        read_all(source(Reader(Extent(descriptor, 0, 5)), length=5))


def test_a_disk_that_cannot_be_read() -> None:
    with pytest.raises(StorageFailed, match="could not be read"):
        read_all(source(Reader(Extent(-1, 0, 5)), length=5))


# ---- over the API -----------------------------------------------------------------------------
def assert_no_reader_is_open(world: World) -> None:
    if isinstance(world.backend.blobs, MemoryBlobs):
        assert world.backend.blobs.open_readers == 0


@pytest.mark.parametrize("range_header", [None, "bytes=5-2000000", "bytes=0-999999,5-600000"])
def test_readers_are_closed(world: World, client: Client, range_header: str | None) -> None:
    client.push_blob(CONTENT)
    headers = {"range": range_header} if range_header else {}
    for method in ("GET", "HEAD"):
        assert client.request(method, URL, headers=headers).status_code in (200, 206)
    assert_no_reader_is_open(world)


def test_a_client_that_leaves_stops_the_reading(world: World, client: Client) -> None:
    client.push_blob(CONTENT)

    async def run() -> None:
        exchange = Exchange(client.app, "GET", URL)
        exchange.feed(body(), DISCONNECT)
        await exchange.task
        assert exchange.status == 200
        assert len(exchange.content) < len(CONTENT)
        assert not exchange.complete

    client.run(run())
    assert_no_reader_is_open(world)


def test_a_reader_is_closed_when_the_server_stops(world: World, client: Client) -> None:
    client.push_blob(CONTENT)

    async def run() -> None:
        exchange = Exchange(client.app, "GET", URL)
        exchange.feed(body())
        exchange.send_gate.clear()
        await asyncio.sleep(0.05)
        exchange.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange.task

    client.run(run())
    assert_no_reader_is_open(world)


def break_reads(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Make the disk fail after some reads."""
    reads = iter(range(1000))
    pread = os.pread

    def broken(descriptor: int, length: int, offset: int) -> bytes:
        if next(reads) >= after:
            raise OSError(5, "Input/output error")
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", broken)


def test_damage_behind_the_first_piece_cuts_the_connection(
    world: World,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = b"\x1f\x8b" + CONTENT  # every store keeps it in a file of its own
    digest = client.push_blob(content)
    break_reads(monkeypatch, after=6)

    async def run() -> None:
        exchange = Exchange(client.app, "GET", f"/v2/{NAME}/blobs/{digest}")
        exchange.feed(body())
        with pytest.raises(StorageFailed), caplog.at_level(logging.ERROR):
            await exchange.task
        assert exchange.status == 200
        assert not exchange.complete
        assert digest in caplog.text

    if isinstance(world.backend.blobs, MemoryBlobs):
        client.run(run())
    else:
        monkeypatch.undo()
        break_reads(monkeypatch, after=2)
        client.run(run())
    monkeypatch.undo()
    assert_no_reader_is_open(world)


def test_damage_in_the_first_piece_has_a_status(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = client.push_blob(b"\x1f\x8b" + CONTENT)
    break_reads(monkeypatch, after=0)
    response = client.get(f"/v2/{NAME}/blobs/{digest}")
    monkeypatch.undo()
    assert response.status_code == 500
    assert_no_reader_is_open(world)
