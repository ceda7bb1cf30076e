"""Requests of tools for models, above all ollama: absolute URLs, announced blobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from dtrfast.config import ServerConfig
from dtrfast.oci.digests import ALGORITHMS, Algorithm, Digest
from tests.api.conftest import World
from tests.fakes import asgi
from tests.fakes.client import NAME, Client, failure

CONTENT = bytes(range(256)) * 40
DIGEST = str(Digest.of_bytes(CONTENT))
UPLOADS = f"/v2/{NAME}/blobs/uploads/"


async def empty_chunked() -> AsyncIterator[bytes]:
    for piece in list[bytes]():
        yield piece


def upload_address(response: httpx.Response, base: str = "http://registry") -> str:
    """Return the absolute URL of the session, after a check that the relative one is equal."""
    address = response.headers["docker-upload-location"]
    assert address == base + response.headers["location"]
    return str(address)


# ---- absolute addresses of uploads --------------------------------------------------------------
def test_every_answer_about_an_upload_has_its_absolute_address(client: Client) -> None:
    first = client.post(UPLOADS)
    address = upload_address(first)
    headers = {"content-range": "0-99", "x-redirect-uploads": "1"}
    assert upload_address(client.patch(address, content=CONTENT[:100], headers=headers)) == address
    assert upload_address(client.get(address)) == address
    off = client.patch(address, content=b"x", headers={"content-range": "7-7"})
    assert (off.status_code, upload_address(off)) == (416, address)
    client.patch(address, content=CONTENT[100:])
    # ollama closes an upload with the sum of its parts.
    closed = client.put(f"{address}?digest={DIGEST}&etag=0123-1", headers={"content-length": "0"})
    assert closed.status_code == 201
    assert client.get(f"/v2/{NAME}/blobs/{DIGEST}").content == CONTENT


HOSTS: list[tuple[dict[str, str], str]] = [
    ({"host": "127.0.0.1:5000"}, "http://127.0.0.1:5000"),
    ({"host": "[::1]:5000"}, "http://[::1]:5000"),
    ({"host": "my_registry:5000"}, "http://my_registry:5000"),
    ({"x-forwarded-proto": "https"}, "https://registry"),
    ({"x-forwarded-proto": "javascript"}, "http://registry"),
    ({"x-forwarded-host": "elsewhere"}, "http://elsewhere"),
    ({"forwarded": "host=elsewhere"}, "http://elsewhere"),
    ({"host": "user@elsewhere"}, "http://registry"),
    ({"host": 'elsewhere"'}, "http://registry"),
    ({"host": "elsewhere/path"}, "http://registry"),
]


def test_its_host_is_where_the_challenge_leads_to(client: Client) -> None:
    for headers, base in HOSTS:
        upload_address(client.post(UPLOADS, headers=headers), base)


def test_its_host_is_the_configured_one(world: World) -> None:
    client = world.client(server=ServerConfig(external_url="https://models.example"))
    for headers in ({}, {"host": "elsewhere"}, {"x-forwarded-proto": "http"}):
        upload_address(client.post(UPLOADS, headers=headers), "https://models.example")


# ---- an announced blob --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("algorithm", "is_chunked"), [("sha256", False), ("sha512", True), ("sha256", True)]
)
def test_a_digest_without_a_body_announces_a_blob(
    client: Client, algorithm: Algorithm, is_chunked: bool
) -> None:
    digest = Digest.of_bytes(CONTENT, algorithm)
    content = empty_chunked() if is_chunked else b""
    response = client.post(f"{UPLOADS}?digest={digest}", content=content)
    assert response.status_code == 202, response.text
    assert response.headers["range"] == "0-0"
    assert client.head(f"/v2/{NAME}/blobs/{digest}").status_code == 404
    address = upload_address(response)
    assert client.put(f"{address}?digest={digest}", content=CONTENT).status_code == 201
    assert client.get(f"/v2/{NAME}/blobs/{digest}").content == CONTENT


def test_no_length_is_no_body(client: Client) -> None:
    # A client library would send a length of 0.
    url, headers = f"{UPLOADS}?digest={DIGEST}", {"host": "registry"}
    exchange = client.run(asgi.ask(client.app, "POST", url, headers=headers))
    assert exchange.status == 202
    address = exchange.headers["docker-upload-location"]
    assert client.put(f"{address}?digest={DIGEST}", content=CONTENT).status_code == 201


def test_the_blob_of_nothing_needs_no_body(client: Client) -> None:
    for algorithm in ALGORITHMS:
        digest = Digest.of_bytes(b"", algorithm)
        for content in (b"", empty_chunked()):
            assert client.post(f"{UPLOADS}?digest={digest}", content=content).status_code == 201
        assert client.get(f"/v2/{NAME}/blobs/{digest}").content == b""


def test_a_body_that_is_there_has_its_digest(client: Client) -> None:
    for content in (b"x", CONTENT + b"x"):
        answer = failure(client.post(f"{UPLOADS}?digest={DIGEST}", content=content))
        assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert client.head(f"/v2/{NAME}/blobs/{DIGEST}").status_code == 404
    answer = failure(client.post(f"{UPLOADS}?digest=sha256:x", content=b""))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


# ---- the address of a blob ----------------------------------------------------------------------
@pytest.mark.parametrize("size", [10, 700_000])
def test_a_blob_says_where_it_is(client: Client, size: int) -> None:
    digest = client.push_blob(bytes(size))
    path = f"/v2/{NAME}/blobs/{digest}"
    for method, headers, status in (
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"range": "bytes=0-3"}, 206),
        ("GET", {"range": "bytes=0-1,3-4"}, 206),
    ):
        response = client.request(method, path, headers=headers)
        assert (response.status_code, response.headers["location"]) == (status, path)
    again = client.get(path, headers={"if-none-match": f'"{digest}"'})
    assert (again.status_code, "location" in again.headers) == (304, False)
