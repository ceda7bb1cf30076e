"""Claims: callers share existing content, and other content has one claim.

Failures come from the disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtrfast.errors import StorageFailed
from dtrfast.oci.digests import Digest
from dtrfast.store.claims import ContentClaim
from dtrfast.store.store import Store
from tests.store.conftest import digest_of, push

ONE, TWO = Digest.of_bytes(b"one"), Digest.of_bytes(b"two")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "claims"


def test_a_content_is_one_callers_until_its_claim_is_closed(path: Path) -> None:
    with ContentClaim(path) as first, ContentClaim(path) as second:
        assert first.add(ONE)
        assert not second.add(ONE)
        assert second.add(TWO)
        first.close()
        assert second.add(ONE)


def test_a_shared_content_is_no_callers_alone(path: Path) -> None:
    with ContentClaim(path) as first, ContentClaim(path) as second, ContentClaim(path) as third:
        assert first.add(ONE)
        first.share(ONE)
        second.wait_to_share(ONE)
        assert not third.add(ONE)
        first.close()
        assert not third.add(ONE)
        second.close()
        assert third.add(ONE)


def test_two_that_share_and_want_the_whole_do_not_wait_for_each_other(path: Path) -> None:
    """The kernel does not detect the deadlock: such locks may wait for each other forever."""

    def raise_it(claim: ContentClaim) -> None:
        claim.wait(ONE)
        claim.close()

    with ContentClaim(path) as first, ContentClaim(path) as second:
        for claim in (first, second):
            claim.wait_to_share(ONE)
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(raise_it, claim) for claim in (first, second)]:
                done.result(timeout=20)


def test_a_claim_ends_with_its_process(path: Path) -> None:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        ContentClaim(path).add(ONE)
        os.write(writing, b".")
        signal.pause()
        os._exit(1)
    os.read(reading, 1)
    with ContentClaim(path) as claim:
        assert not claim.add(ONE)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert claim.add(ONE)
    os.close(reading)
    os.close(writing)


def test_a_disk_that_refuses_a_lock_has_failed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with ContentClaim(path) as claim:
        monkeypatch.setattr(fcntl, "fcntl", refuse)
        with pytest.raises(StorageFailed):
            claim.add(ONE)
        with pytest.raises(StorageFailed):
            claim.wait(ONE)


@pytest.mark.parametrize("body", [b"{}", b"\x1f\x8b" + bytes(9000)], ids=["inline", "loose"])
def test_pushes_of_what_is_there_do_not_wait_for_one_another(store: Store, body: bytes) -> None:
    """Thousands of images may have the same small configuration.

    Their pushes share index commits.
    """
    push(store.blobs, body)
    first = store.blobs.begin("some/name")
    first.append(body)
    with store.blobs.commit(first, digest_of(body)) as placed, ThreadPoolExecutor(1) as pool:
        pool.submit(push, store.blobs, body, "another").result(timeout=20)
        placed.settle()
        placed.finish()


def test_a_push_waits_for_the_one_that_places_the_same(store: Store) -> None:
    body = b"{}"
    first = store.blobs.begin("some/name")
    first.append(body)
    with ThreadPoolExecutor(1) as pool:
        with store.blobs.commit(first, digest_of(body)) as placed:
            second = pool.submit(push, store.blobs, body, "another")
            placed.settle()
            placed.finish()
            assert not second.done()
        second.result(timeout=20)
    assert store.statistics().blobs == 1


def test_what_reclaim_claims_is_placed_anew(store: Store) -> None:
    """A push that waited for reclaim does not rely on the freed content."""
    body, digest = b"{}", digest_of(b"{}")
    push(store.blobs, body)
    upload = store.blobs.begin("some/name")
    upload.append(body)
    with ThreadPoolExecutor(1) as pool:
        pushes = []

        def is_held(contents: object) -> list[bool]:
            pushes.append(pool.submit(store.blobs.commit, upload, digest))
            return [False]

        assert store.blobs.release([digest], is_held) == [digest]
        with pushes[0].result(timeout=20) as placed:
            placed.settle()
            placed.finish()
    assert store.blobs.stat(digest).size == len(body)
