"""end-2 and end-10: downloads and deletions of blobs."""

from __future__ import annotations

import random
import re

import pytest

from dtrfast.oci.digests import Digest
from tests.fakes.client import NAME, Client, failure

CONTENT = random.Random(5).randbytes(700_000)
SIZE = len(CONTENT)
DIGEST = str(Digest.of_bytes(CONTENT))
URL = f"/v2/{NAME}/blobs/{DIGEST}"


@pytest.fixture(autouse=True)
def pushed(client: Client) -> None:
    client.push_blob(CONTENT)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_and_its_headers(client: Client, method: str) -> None:
    headers = {"accept-encoding": "zstd;q=1.0, gzip;q=0.8"}
    response = client.request(method, URL, headers=headers)
    assert response.status_code == 200
    assert response.content == (CONTENT if method == "GET" else b"")
    expected = {
        "content-length": str(SIZE),
        "content-type": "application/octet-stream",
        "docker-content-digest": DIGEST,
        "etag": f'"{DIGEST}"',
        "accept-ranges": "bytes",
        "cache-control": "max-age=31536000",
        "location": URL,
        "docker-distribution-api-version": "registry/2.0",
        "x-content-type-options": "nosniff",
    }
    assert dict(response.headers) == expected


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 8193, 262_145, 524_288, 1_048_576, 3_000_000])
def test_blobs_of_all_sizes(client: Client, size: int) -> None:
    content = random.Random(size).randbytes(size)
    digest = client.push_blob(content)
    response = client.get(f"/v2/{NAME}/blobs/{digest}")
    assert response.content == content
    assert response.headers["content-length"] == str(size)


@pytest.mark.parametrize("name", [NAME, "none/here"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_an_unknown_blob(client: Client, method: str, name: str) -> None:
    response = client.request(method, f"/v2/{name}/blobs/{Digest.of_bytes(b'unknown')}")
    assert response.status_code == 404
    if method == "HEAD":
        assert response.content == b""
        assert int(response.headers["content-length"]) > 0
    else:
        assert failure(response).codes == ["BLOB_UNKNOWN"]


@pytest.mark.parametrize("digest", ["sha256:totallywrong", "x", "md5:" + "0" * 32])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_malformed_digest(client: Client, method: str, digest: str) -> None:
    answer = failure(client.request(method, f"/v2/{NAME}/blobs/{digest}"))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_a_blob_is_not_readable_in_another_repository(client: Client) -> None:
    client.push_blob(b"x", "other")
    assert client.head(f"/v2/other/blobs/{DIGEST}").status_code == 404


# ---- ranges -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=0-0", 0, 0),
        ("bytes=5-99", 5, 99),
        ("bytes=100000-400000", 100_000, 400_000),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        (f"bytes=10-{SIZE * 2}", 10, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-5000", SIZE - 5000, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        ("bytes=0-99999999999999999999999999", 0, SIZE - 1),
        (f"bytes=7-8, {SIZE}-", 7, 8),
        ("Bytes= 3-4", 3, 4),
    ],
)
def test_one_range(client: Client, header: str, start: int, end: int) -> None:
    response = client.get(URL, headers={"range": header})
    assert response.status_code == 206
    assert response.content == CONTENT[start : end + 1]
    assert response.headers["content-range"] == f"bytes {start}-{end}/{SIZE}"
    assert response.headers["content-length"] == str(end - start + 1)
    assert response.headers["docker-content-digest"] == DIGEST
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=500-0", "bytes=-0"]
)
def test_a_range_outside_the_blob(client: Client, header: str) -> None:
    response = client.get(URL, headers={"range": header})
    answer = failure(response)
    assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])
    assert response.headers["content-range"] == f"bytes */{SIZE}"


def test_any_range_of_an_empty_blob(client: Client) -> None:
    digest = client.push_blob(b"")
    response = client.get(f"/v2/{NAME}/blobs/{digest}", headers={"range": "bytes=0-"})
    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */0"


@pytest.mark.parametrize(
    "header", ["lines=0-5", "bytes", "bytes=", "bytes=x-y", "bytes=1", "0-5", ""]
)
def test_a_range_that_cannot_be_read_is_ignored(client: Client, header: str) -> None:
    response = client.get(URL, headers={"range": header})
    assert (response.status_code, response.content) == (200, CONTENT)


def test_a_range_is_ignored_by_head(client: Client) -> None:
    response = client.head(URL, headers={"range": "bytes=0-5"})
    assert response.status_code == 200
    assert response.headers["content-length"] == str(SIZE)
    assert "content-range" not in response.headers


def read_parts(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Return the ranges and bytes of a multipart body, in its order."""
    match = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", content_type)
    assert match is not None
    boundary = match[1].encode()
    parts: list[tuple[str, bytes]] = []
    position = body.index(b"--" + boundary)
    assert position == 0
    while True:
        position += len(boundary) + 2
        if body[position : position + 2] == b"--":
            assert body[position:] == b"--\r\n"
            return parts
        head_end = body.index(b"\r\n\r\n", position)
        head = body[position:head_end].decode()
        assert "Content-Type: application/octet-stream" in head
        content_range = re.search(r"Content-Range: bytes (\d+)-(\d+)/(\d+)", head)
        assert content_range is not None
        length = int(content_range[2]) - int(content_range[1]) + 1
        data = body[head_end + 4 : head_end + 4 + length]
        parts.append((content_range[0][len("Content-Range: bytes ") :], data))
        position = head_end + 4 + length + 2
        assert body[position : position + 2] == b"--"


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 9), (20, 29)],
        [(500, 600), (10, 20), (300_000, 650_000)],
        [(0, 9), (5, 14), (0, 9)],
        [(0, 99), (100, 199)],
        [(0, 0), (SIZE - 1, SIZE - 1)],
        [(n * 600, n * 600 + 299) for n in range(1024)],
    ],
)
def test_several_ranges_come_in_order_and_apart(
    client: Client, ranges: list[tuple[int, int]]
) -> None:
    header = "bytes=" + ",".join(f"{start}-{end}" for start, end in ranges)
    response = client.get(URL, headers={"range": header})
    assert response.status_code == 206
    assert response.headers["content-length"] == str(len(response.content))
    assert "content-range" not in response.headers
    expected = [(f"{start}-{end}/{SIZE}", CONTENT[start : end + 1]) for start, end in ranges]
    assert read_parts(response.content, response.headers["content-type"]) == expected


def test_unsatisfiable_ranges_among_others_are_left_out(client: Client) -> None:
    header = f"bytes=0-1,{SIZE}-,5-6"
    response = client.get(URL, headers={"range": header})
    parts = read_parts(response.content, response.headers["content-type"])
    assert parts == [(f"0-1/{SIZE}", CONTENT[:2]), (f"5-6/{SIZE}", CONTENT[5:7])]


def test_too_many_ranges(client: Client) -> None:
    header = "bytes=" + ",".join(f"{n}-{n}" for n in range(1025))
    answer = failure(client.get(URL, headers={"range": header}))
    assert (answer.status, answer.codes) == (400, ["RANGE_INVALID"])


def test_ranges_that_would_multiply_the_blob(client: Client) -> None:
    header = "bytes=" + ",".join(["0-"] * 30)
    answer = failure(client.get(URL, headers={"range": header}))
    assert (answer.status, answer.codes) == (400, ["RANGE_INVALID"])


# ---- conditions -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "header", [f'"{DIGEST}"', f'W/"{DIGEST}"', f'"x", "{DIGEST}"', "*", f' "{DIGEST}" ']
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_that_the_client_has(client: Client, method: str, header: str) -> None:
    response = client.request(method, URL, headers={"if-none-match": header, "range": "bytes=0-5"})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == f'"{DIGEST}"'


def test_a_blob_that_the_client_has_and_the_registry_has_not(client: Client) -> None:
    url = f"/v2/{NAME}/blobs/{Digest.of_bytes(b'unknown')}"
    assert client.get(url, headers={"if-none-match": "*"}).status_code == 404


@pytest.mark.parametrize("header", ['"x"', "", DIGEST])
def test_a_blob_that_the_client_has_not(client: Client, header: str) -> None:
    assert client.get(URL, headers={"if-none-match": header}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_match(client: Client, method: str) -> None:
    """RFC 9110: strong tags only, evaluated before If-None-Match and Range. A 404 comes first."""
    tag = f'"{DIGEST}"'
    for header, status in (
        (tag, 200),
        (f'"x", {tag}', 200),
        ("*", 200),
        ('"x"', 412),
        (f"W/{tag}", 412),
        (f'"x", W/{tag}', 412),
        ("", 412),
    ):
        response = client.request(method, URL, headers={"if-match": header})
        assert response.status_code == status, header
        both = {"if-match": header, "if-none-match": "*", "range": "bytes=0-5"}
        expected = 304 if status == 200 else 412
        assert client.request(method, URL, headers=both).status_code == expected, header
    for header in ("*", '"x"'):
        url = f"/v2/{NAME}/blobs/{Digest.of_bytes(b'unknown')}"
        assert client.request(method, url, headers={"if-match": header}).status_code == 404


def test_a_false_if_match_says_what_is_there(client: Client) -> None:
    answer = failure(client.get(URL, headers={"if-match": '"x"', "range": "bytes=0-5"}))
    assert (answer.status, answer.codes) == (412, ["DENIED"])
    response = client.get(URL, headers={"if-match": f'"{DIGEST}"', "range": "bytes=0-5"})
    assert (response.status_code, len(response.content)) == (206, 6)


def test_lines_of_a_condition_are_one_list(client: Client) -> None:
    for name, status in (("if-match", 200), ("if-none-match", 304)):
        lines = [(name, '"x"'), (name, f'"{DIGEST}"')]
        assert client.get(URL, headers=lines).status_code == status


def test_a_delete_with_a_false_condition_deletes_nothing(client: Client) -> None:
    for headers in ({"if-match": '"x"'}, {"if-none-match": "*"}):
        assert client.delete(URL, headers=headers).status_code == 412
        assert client.head(URL).status_code == 200
    assert client.delete(URL, headers={"if-match": f'"{DIGEST}"'}).status_code == 202
    assert client.delete(URL, headers={"if-match": "*"}).status_code == 404


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f'"{DIGEST}"', 206),
        ('"x"', 200),
        (f'W/"{DIGEST}"', 200),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 200),
    ],
)
def test_if_range(client: Client, header: str, status: int) -> None:
    response = client.get(URL, headers={"range": "bytes=0-5", "if-range": header})
    assert response.status_code == status


# ---- delete -----------------------------------------------------------------------------------
def test_delete_takes_a_blob_from_one_repository(client: Client) -> None:
    client.push_blob(CONTENT, "other")
    response = client.delete(URL)
    assert (response.status_code, response.headers["content-length"]) == (202, "0")
    assert client.head(URL).status_code == 404
    assert failure(client.delete(URL)).codes == ["BLOB_UNKNOWN"]
    assert client.get(f"/v2/other/blobs/{DIGEST}").content == CONTENT


def test_a_deleted_blob_may_be_pushed_again(client: Client) -> None:
    client.delete(URL)
    client.push_blob(CONTENT)
    assert client.get(URL).content == CONTENT
