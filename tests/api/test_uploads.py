"""end-4, end-5, end-6, end-11, end-13 and end-14: uploads of blobs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from dtrfast.oci.digests import Digest
from tests.api.conftest import World
from tests.fakes.client import NAME, Client, failure

CONTENT = bytes(range(256)) * 400
DIGEST = str(Digest.of_bytes(CONTENT))
UNKNOWN = str(uuid.UUID(int=7))


async def chunked(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for offset in range(0, len(content), size):
        yield content[offset : offset + size]


def assert_stored(client: Client, content: bytes = CONTENT, name: str = NAME) -> None:
    digest = Digest.of_bytes(content)
    assert client.get(f"/v2/{name}/blobs/{digest}").content == content


def assert_created(response: httpx.Response, digest: str = DIGEST, name: str = NAME) -> None:
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/v2/{name}/blobs/{digest}"
    assert response.headers["docker-content-digest"] == digest
    assert response.headers["content-length"] == "0"
    assert response.content == b""


def assert_session(response: httpx.Response, size: int, status: int = 202) -> str:
    """Check the headers of a session. Returns its URL."""
    assert response.status_code == status, response.text
    location = response.headers["location"]
    upload_id = location.removeprefix(f"/v2/{NAME}/blobs/uploads/")
    assert str(uuid.UUID(upload_id)) == upload_id
    assert response.headers["docker-upload-uuid"] == upload_id
    assert response.headers["range"] == f"0-{max(0, size - 1)}"
    assert response.headers.get("content-length") == ("0" if status == 202 else None)
    return str(location)


def assert_nothing_stored(client: Client) -> None:
    assert client.get("/v2/_catalog").json() == {"repositories": []}
    assert failure(client.get(f"/v2/{NAME}/tags/list")).codes == ["NAME_UNKNOWN"]
    assert client.head(f"/v2/{NAME}/blobs/{DIGEST}").status_code == 404


# ---- sessions ---------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["blobs/uploads/", "blobs/uploads"])
def test_begin_opens_a_session(client: Client, path: str) -> None:
    response = client.post(f"/v2/{NAME}/{path}", headers={"content-type": "application/json"})
    assert_session(response, 0)
    assert_nothing_stored(client)


def test_status_tells_how_far_a_session_has_come(client: Client) -> None:
    location = client.begin()
    assert_session(client.get(location), 0, 204)
    client.patch(location, content=CONTENT[:1])
    assert_session(client.get(location), 1, 204)
    client.patch(location, content=CONTENT[1:5000])
    assert_session(client.get(location), 5000, 204)
    head = client.head(location)
    assert (head.status_code, head.headers["range"]) == (204, "0-4999")


def test_every_earlier_location_stays_good(client: Client) -> None:
    first = client.begin()
    second = client.patch(first, content=CONTENT[:500]).headers["location"]
    client.patch(second, content=CONTENT[500:900])
    assert client.get(first).headers["range"] == "0-899"
    assert_created(client.put(f"{first}?digest={DIGEST}", content=CONTENT[900:]))


def test_cancel_forgets_a_session(client: Client) -> None:
    location = client.begin()
    client.patch(location, content=CONTENT)
    response = client.delete(location)
    assert (response.status_code, response.content) == (204, b"")
    for response in (
        client.get(location),
        client.patch(location, content=b"x"),
        client.put(f"{location}?digest={DIGEST}"),
        client.delete(location),
    ):
        answer = failure(response)
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert_nothing_stored(client)


@pytest.mark.parametrize(
    "upload_id", [UNKNOWN, "x", "..%2F..%2Fetc", "%2e%2e", UNKNOWN.upper(), UNKNOWN + "0", "%00"]
)
def test_an_unknown_session(client: Client, upload_id: str) -> None:
    location = f"http://registry/v2/{NAME}/blobs/uploads/{upload_id}"
    for response in (
        client.get(location),
        client.patch(location, content=CONTENT),
        client.put(f"{location}?digest={DIGEST}", content=CONTENT),
        client.delete(location),
    ):
        answer = failure(response)
        assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert_nothing_stored(client)


def test_a_session_belongs_to_its_repository(client: Client) -> None:
    location = client.begin("other/app").replace("other/app", NAME)
    assert failure(client.patch(location, content=b"x")).status == 404


# ---- all the ways to push ---------------------------------------------------------------------
def test_a_body_in_the_closing_put(client: Client) -> None:
    headers = {"content-type": "application/octet-stream"}
    response = client.put(f"{client.begin()}?digest={DIGEST}", content=CONTENT, headers=headers)
    assert_created(response)
    assert_stored(client)


def test_a_chunked_body_in_the_closing_put(client: Client) -> None:
    assert_created(client.put(f"{client.begin()}?digest={DIGEST}", content=chunked(CONTENT)))
    assert_stored(client)


def test_a_whole_blob_in_one_post(client: Client) -> None:
    url = f"/v2/{NAME}/blobs/uploads/?digest={DIGEST}"
    assert_created(client.post(url, content=CONTENT))
    assert_stored(client)


def test_an_encoded_digest_in_the_query(client: Client) -> None:
    url = f"{client.begin()}?digest={DIGEST.replace(':', '%3A')}"
    assert_created(client.put(url, content=CONTENT))


def test_a_streamed_patch(client: Client) -> None:
    response = client.patch(client.begin(), content=chunked(CONTENT))
    location = assert_session(response, len(CONTENT))
    assert_created(client.put(f"{location}?digest={DIGEST}"))
    assert_stored(client)


def test_several_patches_without_a_range_append(client: Client) -> None:
    location = client.begin()
    for offset in range(0, len(CONTENT), 30_000):
        piece = CONTENT[offset : offset + 30_000]
        location = assert_session(client.patch(location, content=piece), offset + len(piece))
    assert_created(client.put(f"{location}?digest={DIGEST}"))
    assert_stored(client)


@pytest.mark.parametrize("form", ["{}-{}", "bytes {}-{}/*", "bytes={}-{}"])
def test_patches_with_a_range(client: Client, form: str) -> None:
    location = client.begin()
    for offset in range(0, len(CONTENT), 30_000):
        piece = CONTENT[offset : offset + 30_000]
        end = offset + len(piece) - 1
        headers = {"content-range": form.format(offset, end)}
        location = assert_session(client.patch(location, content=piece, headers=headers), end + 1)
    assert_created(client.put(f"{location}?digest={DIGEST}"))
    assert_stored(client)


def test_the_last_chunk_in_the_closing_put(client: Client) -> None:
    location = client.begin()
    client.patch(location, content=CONTENT[:1000], headers={"content-range": "0-999"})
    headers = {"content-range": f"1000-{len(CONTENT) - 1}"}
    url = f"{location}?digest={DIGEST}"
    assert_created(client.put(url, content=CONTENT[1000:], headers=headers))
    assert_stored(client)


def test_an_empty_patch(client: Client) -> None:
    location = assert_session(client.patch(client.begin(), content=b""), 0)
    assert_created(client.put(f"{location}?digest={DIGEST}", content=CONTENT))


@pytest.mark.parametrize("patched", [False, True])
def test_an_empty_blob(client: Client, patched: bool) -> None:
    digest = str(Digest.of_bytes(b""))
    location = client.begin()
    if patched:
        client.patch(location, content=b"")
    assert_created(client.put(f"{location}?digest={digest}"), digest)
    assert client.get(f"/v2/{NAME}/blobs/{digest}").headers["content-length"] == "0"
    url = f"/v2/other/blobs/uploads/?digest={digest}"
    assert_created(client.post(url), digest, "other")


def test_a_blob_that_exists_may_be_pushed_again(client: Client) -> None:
    for name in (NAME, NAME, "other"):
        client.push_blob(CONTENT, name)
        assert_stored(client, CONTENT, name)


@pytest.mark.parametrize("announced", ["", "?digest-algorithm=sha512", "?digest-algorithm=sha256"])
def test_sha512(client: Client, announced: str) -> None:
    digest = str(Digest.of_bytes(CONTENT, "sha512"))
    response = client.post(f"/v2/{NAME}/blobs/uploads/{announced}")
    location = assert_session(response, 0)
    client.patch(location, content=CONTENT[:50_000])
    assert_created(client.put(f"{location}?digest={digest}", content=CONTENT[50_000:]), digest)
    response = client.get(f"/v2/{NAME}/blobs/{digest}")
    assert response.content == CONTENT
    assert response.headers["docker-content-digest"] == digest
    assert client.delete(f"/v2/{NAME}/blobs/{digest}").status_code == 202
    assert client.head(f"/v2/{NAME}/blobs/{digest}").status_code == 404


def test_sha512_in_one_post(client: Client) -> None:
    digest = str(Digest.of_bytes(CONTENT, "sha512"))
    url = f"/v2/{NAME}/blobs/uploads/?digest={digest}"
    assert_created(client.post(url, content=CONTENT), digest)


def test_a_closing_put_may_be_sent_twice(client: Client) -> None:
    location = client.begin()
    for _ in range(2):
        assert_created(client.put(f"{location}?digest={DIGEST}", content=CONTENT))
    other = Digest.of_bytes(b"other")
    answer = failure(client.put(f"{location}?digest={other}", content=b"other"))
    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])


# ---- 416 and sizes ----------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    "content_range",
    ["0-99", "99-198", "101-200", "5000-5099", "100-99", "199-100", "x", "100", "-100", "", "100-"],
)
def test_a_chunk_that_does_not_continue_the_upload(
    client: Client, method: str, content_range: str
) -> None:
    location = client.begin()
    client.patch(location, content=CONTENT[:100])
    response = client.request(
        method,
        f"{location}?digest={DIGEST}",
        content=bytes(100),
        headers={"content-range": content_range},
    )
    answer = failure(response)
    assert (answer.status, answer.codes) == (416, ["RANGE_INVALID"])
    assert response.headers["location"] == location
    assert response.headers["range"] == "0-99"
    assert client.get(location).headers["range"] == "0-99"
    assert_created(client.put(f"{location}?digest={DIGEST}", content=CONTENT[100:]))
    assert_stored(client)


def test_a_wrong_range_on_an_empty_session_says_nothing_of_a_byte(client: Client) -> None:
    location = client.begin()
    response = client.patch(location, content=b"abc", headers={"content-range": "3-5"})
    assert failure(response).status == 416
    assert response.headers["location"] == location
    assert "range" not in response.headers


def test_a_repeated_chunk(client: Client) -> None:
    location = client.begin()
    headers = {"content-range": "0-99"}
    assert client.patch(location, content=CONTENT[:100], headers=headers).status_code == 202
    assert client.patch(location, content=CONTENT[:100], headers=headers).status_code == 416
    assert client.get(location).headers["range"] == "0-99"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("size", [0, 1, 99, 101, 50_000])
@pytest.mark.parametrize("with_length", [True, False])
def test_a_chunk_of_another_size_than_its_range(
    client: Client, method: str, size: int, with_length: bool
) -> None:
    location = client.begin()
    client.patch(location, content=CONTENT[:100])
    body = bytes(size)
    response = client.request(
        method,
        f"{location}?digest={DIGEST}",
        content=body if with_length else chunked(body, 1000),
        headers={"content-range": "100-199"},
    )
    answer = failure(response)
    assert (answer.status, answer.codes) == (400, ["SIZE_INVALID"])
    assert client.get(location).headers["range"] == "0-99"
    assert_created(client.put(f"{location}?digest={DIGEST}", content=CONTENT[100:]))
    assert_stored(client)


# ---- digests ----------------------------------------------------------------------------------
BAD_DIGESTS = [
    "",
    "sha256:",
    "sha256:totallywrong",
    DIGEST.upper(),
    "sha256:" + "A" * 64,
    DIGEST + "0",
    DIGEST[:-1],
    "md5:" + "0" * 32,
    "sha384:" + "0" * 96,
    "sha512:" + "0" * 64,
    "../../etc/passwd",
    "0" * 64,
]


@pytest.mark.parametrize("digest", [None, *BAD_DIGESTS])
def test_a_closing_put_without_a_good_digest_keeps_the_session(
    client: Client, digest: str | None
) -> None:
    location = client.begin()
    client.patch(location, content=CONTENT)
    params = {} if digest is None else {"digest": digest}
    answer = failure(client.put(location, params=params))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert_nothing_stored(client)
    assert_created(client.put(f"{location}?digest={DIGEST}"))


@pytest.mark.parametrize("digest", BAD_DIGESTS)
@pytest.mark.parametrize("parameter", ["digest", "mount"])
def test_a_post_with_a_bad_digest(client: Client, parameter: str, digest: str) -> None:
    url = f"/v2/{NAME}/blobs/uploads/"
    answer = failure(client.post(url, params={parameter: digest}, content=CONTENT))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert_nothing_stored(client)


@pytest.mark.parametrize("algorithm", ["md5", "", "SHA256", "sha256:"])
def test_an_unsupported_algorithm(client: Client, algorithm: str) -> None:
    url = f"/v2/{NAME}/blobs/uploads/"
    answer = failure(client.post(url, params={"digest-algorithm": algorithm}))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_content_with_another_digest_ends_the_session_and_stores_nothing(
    client: Client, algorithm: str
) -> None:
    location = client.begin()
    wrong = Digest.of_bytes(b"something else", algorithm)  # type: ignore[arg-type]
    answer = failure(client.put(f"{location}?digest={wrong}", content=CONTENT))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert client.get(location).status_code == 404
    assert_nothing_stored(client)


def test_a_post_whose_content_has_another_digest(client: Client) -> None:
    url = f"/v2/{NAME}/blobs/uploads/?digest={Digest.of_bytes(b'other')}"
    answer = failure(client.post(url, content=CONTENT))
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert_nothing_stored(client)


# ---- mount ------------------------------------------------------------------------------------
def test_mount_from_a_repository(client: Client) -> None:
    client.push_blob(CONTENT, "source/app")
    response = client.post(f"/v2/{NAME}/blobs/uploads/?mount={DIGEST}&from=source/app")
    assert_created(response)
    assert_stored(client)
    client.delete(f"/v2/source/app/blobs/{DIGEST}")
    assert_stored(client)


def test_mount_from_anywhere(client: Client) -> None:
    client.push_blob(CONTENT, "source/app")
    assert_created(client.post(f"/v2/{NAME}/blobs/uploads/?mount={DIGEST}"))
    assert_stored(client)


def test_mount_of_what_is_there_already(client: Client) -> None:
    client.push_blob(CONTENT)
    assert_created(client.post(f"/v2/{NAME}/blobs/uploads/?mount={DIGEST}&from={NAME}"))


@pytest.mark.parametrize("source", ["", "&from=source/app", "&from=none/here", "&from=BAD..NAME"])
def test_a_mount_that_cannot_be_opens_a_session(client: Client, source: str) -> None:
    client.push_blob(b"another blob", "source/app")
    response = client.post(f"/v2/{NAME}/blobs/uploads/?mount={DIGEST}{source}")
    location = assert_session(response, 0)
    assert client.get("/v2/_catalog").json() == {"repositories": ["source/app"]}
    assert_created(client.put(f"{location}?digest={DIGEST}", content=CONTENT))


def test_mount_of_a_blob_that_another_repository_has_than_the_named_one(client: Client) -> None:
    client.push_blob(CONTENT, "third/app")
    client.push_blob(b"another blob", "source/app")
    response = client.post(f"/v2/{NAME}/blobs/uploads/?mount={DIGEST}&from=source/app")
    assert_session(response, 0)


# ---- when storing fails -----------------------------------------------------------------------
@pytest.mark.slow  # a store may wait for a moment for the end of the other request
def test_two_requests_at_one_session(world: World, client: Client) -> None:
    location = client.begin()
    upload = world.backend.blobs.resume(NAME, location.rpartition("/")[2])
    later = {"content-range": f"5-{len(CONTENT) + 4}"}
    for response in (
        client.patch(location, content=CONTENT, headers=later),
        client.put(f"{location}?digest={DIGEST}", content=CONTENT, headers=later),
        client.delete(location),
    ):
        answer = failure(response)
        assert (answer.status, answer.codes) == (503, ["UNAVAILABLE"])
        assert response.headers["retry-after"] == "1"
    upload.release()
    assert_created(client.put(f"{location}?digest={DIGEST}", content=CONTENT))
