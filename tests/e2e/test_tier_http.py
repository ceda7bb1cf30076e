"""Requests for an evicted layer that no client program sends on purpose."""

from __future__ import annotations

import gzip
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e import http_client, images, tiers
from tests.e2e.registry import Registry

NAME = "tier/http"
# More than the threads of a worker, for which a pull must not wait.
STALLED_COUNT = 60
PULLS_COUNT = 12


@pytest.fixture
def body(own_registry: Registry, tmp_path: Path) -> bytes:
    """An evicted layer of several segments."""
    files = {f"{seed}/{n}": c for seed in range(6) for n, c in tiers.text_files(seed).items()}
    body = gzip.compress(images.layer_of(files, tmp_path / "layer").read_bytes(), 6, mtime=0)
    with http_client.connect(own_registry) as client:
        http_client.push_image(client, NAME, "1", [body])
    tiers.evict(own_registry)
    return body


def test_head_conditions_and_ranges(own_registry: Registry, body: bytes) -> None:
    path = f"/v2/{NAME}/blobs/{http_client.digest_of(body)}"
    with http_client.connect(own_registry) as client:
        head = client.head(path)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(body)))
        known = client.get(path, headers={"if-none-match": head.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
        behind = client.get(path, headers={"range": f"bytes={len(body)}-"})
        assert behind.status_code == 416
        assert behind.headers["content-range"] == f"bytes */{len(body)}"
        for begin, end in ((0, 1), (9, 11), (12, 2_000_000), (len(body) - 9, len(body))):
            part = client.get(path, headers={"range": f"bytes={begin}-{end - 1}"})
            assert (part.status_code, part.content) == (206, body[begin:end])
        rest = client.get(path, headers={"range": "bytes=-20"})
        assert (rest.status_code, rest.content) == (206, body[-20:])
        several = client.get(path, headers={"range": "bytes=0-9,1000-2999,-5"})
        boundary = re.escape(several.headers["content-type"].partition("boundary=")[2])
        parts = re.split(rf"\r?\n?--{boundary}(?:\r\n|--)".encode(), several.content)[1:-1]
        found = [part.partition(b"\r\n\r\n")[2] for part in parts]
        assert found == [body[:10], body[1000:3000], body[-5:]]


def test_clients_that_take_nothing_hold_up_no_others(own_registry: Registry, body: bytes) -> None:
    digest = http_client.digest_of(body)
    request = f"GET /v2/{NAME}/blobs/{digest} HTTP/1.1\r\nhost: test\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(STALLED_COUNT):
            stalled = stack.enter_context(socket.socket())
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", own_registry.port))
            stalled.sendall(request)

        def pull(_: int) -> bytes:
            with http_client.connect(own_registry) as client:
                return http_client.pull(client, NAME, digest)

        with ThreadPoolExecutor(PULLS_COUNT) as threads:
            assert list(threads.map(pull, range(PULLS_COUNT))) == [body] * PULLS_COUNT
        with http_client.connect(own_registry) as client:
            http_client.push(client, NAME, b"another", http_client.digest_of(b"another"))


def test_a_pull_goes_on_while_layers_become_files_again(
    own_registry: Registry, body: bytes
) -> None:
    digest = http_client.digest_of(body)
    with http_client.connect(own_registry) as client:
        with client.stream("GET", f"/v2/{NAME}/blobs/{digest}") as answer:
            pieces = answer.iter_raw(1 << 16)
            got = next(pieces)
            tiers.expand(own_registry)
            got += b"".join(pieces)
        assert got == body
        assert http_client.pull(client, NAME, digest) == body
