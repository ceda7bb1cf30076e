"""The memory that an upload uses, and the time for which it keeps it."""

from __future__ import annotations

import os
import random

import pytest

from dtrfast.store import buffers
from dtrfast.store.buffers import BUFFER_SIZE, Buffers
from dtrfast.store.pending import PendingBytes
from dtrfast.store.store import Store
from tests.store.conftest import digest_of, pull
from tests.store.holders import commit

NAME = "some/name"
GZIP = b"\x1f\x8b"


def random_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def lent(store: Store) -> int:
    return store._context.buffers.lent


def test_bytes_are_added_behind_and_dropped_in_front() -> None:
    content, model = random_bytes(3_000_000), b""
    pool = Buffers()
    pending = PendingBytes(pool)
    generator = random.Random(2)
    while content:
        count = min(len(content), len(pending.room()), generator.choice([1, 1000, 300_000]))
        pending.room()[:count] = content[:count]
        pending.add(count)
        model, content = model + content[:count], content[count:]
        dropped = generator.randrange(len(model) + 1) if len(model) > 500_000 else 0
        pending.drop(dropped)
        model = model[dropped:]
        if generator.random() < 0.3:
            pending.park()
        assert pending.size == len(model)
        assert pending.in_memory() == model
        assert pending.last(min(7, len(model))) == model[-min(7, len(model)) :]
    pending.leave(0)
    assert pool.lent == 0


def test_saved_bytes_have_their_place_in_front() -> None:
    pool = Buffers()
    pending = PendingBytes(pool, saved=5)
    pending.room()[:3] = b"678"
    pending.add(3)
    pending.park()
    assert pending.size == 8
    assert bytes(pending.in_memory()) == b"678"

    def read(into: memoryview) -> None:
        into[:] = b"12345"

    pending.load(read)
    assert bytes(pending.in_memory()) == b"12345678"


def test_a_pool_keeps_some_buffers_and_gives_them_out_again() -> None:
    pool = Buffers()
    borrowed = [pool.borrow() for _ in range(10)]
    assert all(len(buffer) == BUFFER_SIZE for buffer in borrowed)
    assert pool.lent == 10
    for buffer in borrowed:
        pool.give_back(buffer)
    assert pool.lent == 0
    again = [pool.borrow() for _ in range(10)]
    reused = sum(any(new is old for old in borrowed) for new in again)
    assert 0 < reused < 10


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_few_bytes_keep_no_buffer(store: Store, magic: bytes) -> None:
    upload = store.blobs.begin(NAME)
    for piece in (magic + b"a" * 100, b"b" * 8000, b"c" * 30_000):
        upload.append(piece)
        assert lent(store) == 0
    upload.cancel()


def test_many_bytes_keep_a_buffer_until_they_are_saved(store: Store) -> None:
    upload = store.blobs.begin(NAME)
    upload.append(random_bytes(200_000))
    assert lent(store) == 1
    upload.save()
    assert lent(store) == 0
    upload.append(b"a few more")
    assert lent(store) == 0
    upload.cancel()


def test_a_buffer_is_kept_by_some_uploads_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "_HELD_MAX", 3)
    body = random_bytes(600_000)
    uploads = [store.blobs.begin(NAME) for _ in range(12)]
    for upload in uploads:
        upload.append(body)
    assert lent(store) == 3
    for upload in uploads:
        commit(store.blobs, upload, digest_of(body))
    assert lent(store) == 0
    assert pull(store.blobs, digest_of(body)) == body


@pytest.mark.parametrize("ending", ["release", "cancel", "commit"])
def test_the_end_of_an_upload_gives_its_buffer_back(store: Store, ending: str) -> None:
    body = random_bytes(200_000)
    upload = store.blobs.begin(NAME)
    upload.append(body)
    assert lent(store) == 1
    match ending:
        case "release":
            upload.release()
        case "cancel":
            upload.cancel()
        case _:
            commit(store.blobs, upload, digest_of(body))
    assert lent(store) == 0


def test_a_client_that_dribbles_does_not_have_its_tail_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved bytes stay in the tail file until a chunk can be cut."""
    body = random_bytes(200_000)
    upload = store.blobs.begin(NAME)
    upload.append(body[:100_000])
    upload.save()

    def fail(*arguments: object) -> int:
        raise AssertionError("the tail was read")

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", fail)
        for offset in range(100_000, 100_500, 100):
            upload.append(body[offset : offset + 100])
            upload.save()
            assert store.blobs.upload_offset(NAME, upload.id) == offset + 100
    upload.release()
    upload = store.blobs.resume(NAME, upload.id)
    upload.append(body[100_500:])
    commit(store.blobs, upload, digest_of(body))
    assert pull(store.blobs, digest_of(body)) == body


def test_a_request_that_is_taken_back_leaves_the_saved_tail(store: Store) -> None:
    """Bytes after the saved tail were written into its slot. They do not count any more."""
    body = random_bytes(200_000)
    upload = store.blobs.begin(NAME)
    upload.append(body[:100_000])
    upload.release()
    upload = store.blobs.resume(NAME, upload.id)
    upload.append(bytes(50_000))
    upload.save()
    upload.truncate(100_000)
    upload.append(body[100_000:150_000])
    upload.save()
    upload.append(body[150_000:])
    upload.release()
    upload = store.blobs.resume(NAME, upload.id)
    commit(store.blobs, upload, digest_of(body))
    assert pull(store.blobs, digest_of(body)) == body
