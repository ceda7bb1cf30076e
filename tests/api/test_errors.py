"""Exceptions and their answers: the table, the shown text, and the stored bytes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from dtrfast import errors
from dtrfast.api.errors import TABLE, row_of
from dtrfast.errors import DtrfastError
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_MANIFEST
from tests.api.conftest import World
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import NAME, Client, failure

SPECIFIED = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID"),
    *("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID"),
    *("NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"),
}
DOCKER = {"RANGE_INVALID", "TAG_INVALID", "PAGINATION_NUMBER_INVALID", "UNKNOWN", "UNAVAILABLE"}


def tree(kind: type[DtrfastError] = DtrfastError) -> Iterator[type[DtrfastError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below)


def test_every_exception_has_a_row() -> None:
    assert set(tree()) == set(TABLE)


def test_every_code_is_one_that_clients_know() -> None:
    assert {answer.code for answer in TABLE.values()} <= SPECIFIED | DOCKER


def test_a_class_below_the_tree_gets_the_row_of_the_nearest() -> None:
    class Special(errors.BlobUnknown):
        pass

    assert row_of(Special("x")) == TABLE[errors.BlobUnknown]


def test_a_golden_body(client: Client) -> None:
    response = client.get(f"/v2/{NAME}/blobs/sha256:x")
    assert response.content == (
        b'{"errors":[{"code":"DIGEST_INVALID","message":"\'sha256:x\' is not a digest: sha256 has '
        b'exactly 64 lower-case hex digits","detail":null}]}'
    )


@pytest.fixture
def blobs(world: World) -> MemoryBlobs:
    if not isinstance(world.backend.blobs, MemoryBlobs):
        pytest.skip("only the fake fails on demand")
    return world.backend.blobs


FAILURES = [
    (errors.StorageFull("the disk is full"), 507, "DENIED"),
    (errors.StorageFailed("the disk failed"), 500, "UNKNOWN"),
    (errors.ServerBusy("too much at once"), 503, "UNAVAILABLE"),
]


@pytest.mark.parametrize(("error", "status", "code"), FAILURES)
def test_storing_fails(
    client: Client, blobs: MemoryBlobs, error: DtrfastError, status: int, code: str
) -> None:
    digest = Digest.of_bytes(b"content")
    location = client.begin()
    for method, url in (
        ("PATCH", location),
        ("PUT", f"{location}?digest={digest}"),
        ("POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}"),
    ):
        blobs.failure = error
        response = client.request(method, url, content=b"content")
        answer = failure(response)
        assert (answer.status, answer.codes) == (status, [code])
        assert response.json()["errors"][0]["message"] == error.message
        assert response.headers.get("retry-after") == ("1" if status == 503 else None)
    assert client.get("/v2/_catalog").json() == {"repositories": []}
    assert not any(upload.held for upload in blobs.uploads.values())
    assert list(blobs.uploads) == [location.rpartition("/")[2]]
    assert client.put(f"{location}?digest={digest}", content=b"content").status_code == 201


class Break:
    """Makes every read of the index fail."""

    def __init__(self, world: World, error: Exception) -> None:
        self.error = error
        world.backend.engine.read = self  # type: ignore[method-assign,assignment]

    def __call__(self) -> None:
        raise self.error


def test_a_bug_is_logged_and_not_shown(
    world: World, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    Break(world, ValueError("secret internals"))
    response = client.get(f"/v2/{NAME}/tags/list")
    answer = failure(response)
    assert (answer.status, answer.codes) == (500, ["UNKNOWN"])
    assert "secret" not in response.text
    assert "secret internals" in caplog.text


@pytest.mark.parametrize("path", ["/readyz", "/v2/_catalog", "/v1/search", "/v2/a/manifests/b"])
def test_a_broken_index(
    world: World, client: Client, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    Break(world, errors.Corrupt("the index is damaged: restore it"))
    with caplog.at_level(logging.ERROR):
        response = client.get(path)
    assert failure(response).status == 500
    assert "the index is damaged" in caplog.text
    head = client.head(path)
    assert (head.status_code, head.content) == (500, b"")
    assert client.get("/healthz").status_code == 200


def test_no_write_of_the_index(world: World, client: Client) -> None:
    body = client.image()

    def refuse(change: object) -> None:
        raise errors.StorageFull("the disk that holds the index is full")

    write, world.backend.engine.write = world.backend.engine.write, refuse  # type: ignore[method-assign,assignment]
    headers = {"content-type": OCI_MANIFEST}
    answer = failure(client.put(f"/v2/{NAME}/manifests/a", content=body, headers=headers))
    assert (answer.status, answer.codes) == (507, ["DENIED"])
    world.backend.engine.write = write  # type: ignore[method-assign]
    assert client.get(f"/v2/{NAME}/tags/list").json()["tags"] == []
