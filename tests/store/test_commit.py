"""A commit stores a content once, in slices. An interrupted commit leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtrfast.errors import (
    BlobUnknown,
    Corrupt,
    DigestInvalid,
    RangeInvalid,
    StorageFailed,
    StorageFull,
    UploadUnknown,
)
from dtrfast.index.tables import CHUNK_HASHES, CHUNKS, COMMITS, RECIPES, number_key, number_of
from dtrfast.store import damage, recipes
from dtrfast.store.records import Chunk
from dtrfast.store.statistics import Savings
from dtrfast.store.store import Store
from dtrfast.store.uploads import LocalUpload
from tests.fakes.clock import Clock
from tests.store.conftest import digest_of, files_below, pull, push, run
from tests.store.holders import ONE, OTHER, commit, holders

NAME = "some/name"
GZIP = b"\x1f\x8b"


def random_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_fifty_that_push_the_same_at_once_store_it_once(
    store: Store, data: Path, magic: bytes
) -> None:
    body = magic + random_bytes(2_000_000)

    def push_one(number: int) -> None:
        push(store.blobs, body, ONE if number % 2 else OTHER)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(push_one, range(50)))
    statistics = store.statistics()
    assert statistics.blobs == 1
    assert statistics.stored_bytes < len(body) * 1.01
    assert len(files_below(data, "blobs", "packs")) == 1
    assert sum(p.stat().st_size for p in (data / "packs").rglob("*") if p.is_file()) < 2_100_000
    assert files_below(data, "uploads") == []
    assert pull(store.blobs, digest_of(body)) == body


def test_savings_tell_blobs_from_chunks_and_from_compression(store: Store) -> None:
    """Each saving grows only by its own cause, and together they lead to the bytes on disk."""
    text = b"a line of a text that compresses well\n" * 20_000
    shared, loose = random_bytes(2_000_000), GZIP + random_bytes(300_000)
    sizes = 0

    def savings(*bodies: bytes) -> Savings:
        nonlocal sizes
        for body in bodies:
            push(store.blobs, body)
            sizes += len(body)
        held = store.statistics()
        found = held.savings(sizes)
        saved = found.equal_blobs_bytes + found.equal_chunks_bytes + found.compression_bytes
        assert sizes - saved + found.overhead_bytes == held.stored_bytes
        return found

    first = savings(loose, shared)
    assert (first.equal_blobs_bytes, first.equal_chunks_bytes) == (0, 0)
    assert 0 <= first.overhead_bytes < 10_000
    again = savings(loose)
    assert (again.equal_blobs_bytes, again.equal_chunks_bytes) == (len(loose), 0)
    assert again.compression_bytes == first.compression_bytes
    parts = savings(shared + random_bytes(500_000, 2))
    assert parts.equal_blobs_bytes == len(loose)
    assert 1_500_000 < parts.equal_chunks_bytes <= len(shared)
    assert parts.compression_bytes < 20_000
    pressed = savings(random_bytes(1000, 3) + text)
    assert pressed.equal_blobs_bytes == len(loose)
    assert (
        pressed.compression_bytes + pressed.equal_chunks_bytes > parts.equal_chunks_bytes + 500_000
    )


def test_sixty_four_uploads_and_pulls_at_once(store: Store) -> None:
    def push_and_pull(number: int) -> None:
        body = (GZIP if number % 3 == 0 else b"") + random_bytes(300_000 + number, number)
        digest = push(store.blobs, body)
        assert pull(store.blobs, digest) == body

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(push_and_pull, range(128)))
    assert store.statistics().blobs == 128


def test_a_big_recipe_is_indexed_in_slices(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "SLICE_PARTS_MAX", 7)
    body = random_bytes(6_000_000)
    digest = push(store.blobs, body)
    assert pull(store.blobs, digest) == body
    with store.engine.read() as transaction:
        assert sum(1 for _ in transaction.scan(RECIPES)) > 5
        assert not list(transaction.scan(COMMITS))
        chunks = [Chunk.decode(value) for _, value in transaction.scan(CHUNKS)]
    assert all(chunk.references == 1 for chunk in chunks)
    assert sum(chunk.length for chunk in chunks) == len(body)


def _cut_off_commit(store: Store, monkeypatch: pytest.MonkeyPatch, body: bytes) -> str:
    """Run a commit that fails after its third slice; return the upload's id."""
    monkeypatch.setattr(recipes, "SLICE_PARTS_MAX", 7)
    real = recipes.add_slice
    calls: list[int] = []

    def failing(*arguments: object, **named: object) -> int:
        calls.append(1)
        if len(calls) > 6:  # in this test each change runs twice
            raise StorageFull("full")
        return real(*arguments, **named)  # type: ignore[arg-type]

    upload = store.blobs.begin(NAME)
    upload.append(body)
    with monkeypatch.context() as patch:
        patch.setattr(recipes, "add_slice", failing)
        with pytest.raises(StorageFull):
            commit(store.blobs, upload, digest_of(body))
    upload.release()
    return upload.id


def test_a_commit_that_was_cut_off_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    body = random_bytes(6_000_000)
    upload_id = _cut_off_commit(store, monkeypatch, body)
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digest_of(body))
    upload = store.blobs.resume(NAME, upload_id)
    with pytest.raises(RangeInvalid):
        upload.append(b"more")
    commit(store.blobs, upload, digest_of(body))
    assert pull(store.blobs, digest_of(body)) == body
    with store.engine.read() as transaction:
        assert not list(transaction.scan(COMMITS))
        references = [Chunk.decode(value).references for _, value in transaction.scan(CHUNKS)]
    assert set(references) == {1}


def test_a_commit_that_was_cut_off_gives_way_to_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = random_bytes(6_000_000)
    upload_id = _cut_off_commit(store, monkeypatch, body)
    push(store.blobs, body)
    upload = store.blobs.resume(NAME, upload_id)
    commit(store.blobs, upload, digest_of(body), OTHER)
    assert pull(store.blobs, digest_of(body)) == body
    with store.engine.read() as transaction:
        assert not list(transaction.scan(COMMITS))


def test_a_commit_that_was_cut_off_expires_without_a_trace_in_the_recipes(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    body = random_bytes(6_000_000)
    _cut_off_commit(store, monkeypatch, body)
    clock.now += 10_000_000_000
    assert run(store, "expired uploads") == 1
    with store.engine.read() as transaction:
        assert not list(transaction.scan(COMMITS))
        assert not list(transaction.scan(RECIPES))
    assert files_below(data, "uploads") == []
    digest = push(store.blobs, body)
    assert pull(store.blobs, digest) == body


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failed_sync_drops_the_upload(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch, magic: bytes, code: int
) -> None:
    body = magic + random_bytes(1_000_000)
    upload = store.blobs.begin(NAME)
    upload.append(body)

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageFull if code == errno.ENOSPC else StorageFailed):
            commit(store.blobs, upload, digest_of(body))
    upload.release()
    with pytest.raises(UploadUnknown):
        store.blobs.resume(NAME, upload.id)
    assert files_below(data, "blobs", "packs", "uploads") == []
    assert pull(store.blobs, push(store.blobs, body)) == body


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_a_full_disk_keeps_what_was_saved(
    store: Store, monkeypatch: pytest.MonkeyPatch, magic: bytes
) -> None:
    body = magic + random_bytes(2_000_000)
    upload = store.blobs.begin(NAME)
    upload.append(body[:1_000_000])
    upload.release()
    upload = store.blobs.resume(NAME, upload.id)

    def fail(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", fail)
        with pytest.raises(StorageFull):  # noqa: PT012 - when bytes are written is the store's
            upload.append(body[1_000_000:])
            upload.release()
        upload.release()
    upload = store.blobs.resume(NAME, upload.id)
    assert upload.offset == 1_000_000
    upload.append(body[1_000_000:])
    commit(store.blobs, upload, digest_of(body))
    assert pull(store.blobs, digest_of(body)) == body


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_a_short_write_is_completed(
    store: Store, monkeypatch: pytest.MonkeyPatch, magic: bytes
) -> None:
    real = os.pwritev
    monkeypatch.setattr(
        os, "pwritev", lambda fd, buffers, offset: real(fd, [bytes(buffers[0])[:70_001]], offset)
    )
    body = magic + random_bytes(1_500_000)
    assert pull(store.blobs, push(store.blobs, body)) == body


def test_a_wrong_digest_leaves_nothing(store: Store, data: Path) -> None:
    before = store.statistics()
    upload = store.blobs.begin(NAME)
    upload.append(random_bytes(1_000_000))
    with pytest.raises(DigestInvalid, match="send the blob again in a new one"):
        commit(store.blobs, upload, digest_of(b"other"))
    assert store.statistics() == before
    assert files_below(data, "blobs", "packs", "uploads") == []


def test_an_upload_of_another_boot_is_gone(store: Store, data: Path, clock: Clock) -> None:
    upload = store.blobs.begin(NAME)
    upload.append(random_bytes(1_000_000))
    upload.release()
    object.__setattr__(store._context, "boot_id", "another boot")
    with pytest.raises(UploadUnknown):
        store.blobs.resume(NAME, upload.id)
    with pytest.raises(UploadUnknown):
        store.blobs.upload_offset(NAME, upload.id)
    assert run(store, "expired uploads") == 1
    assert files_below(data, "blobs", "packs", "uploads") == []


def test_a_state_that_is_torn_is_no_upload(store: Store, data: Path) -> None:
    upload = store.blobs.begin(NAME)
    upload.append(b"some bytes")
    upload.release()
    (path,) = (data / "uploads").glob("*.state")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UploadUnknown):
        store.blobs.resume(NAME, upload.id)


def test_a_killed_request_goes_on_from_the_last_save(store: Store) -> None:
    """Bytes that a killed worker wrote after its last save are written again."""
    body = random_bytes(3_000_000)
    upload = store.blobs.begin(NAME)
    upload.append(body[:1_000_000])
    upload.save()
    upload.append(body[1_000_000:2_000_000])
    # The process ends here: nothing is saved.
    upload.received.has_failed = True  # type: ignore[attr-defined]
    upload.release()
    upload = store.blobs.resume(NAME, upload.id)
    assert upload.offset == 1_000_000
    upload.append(body[1_000_000:])
    commit(store.blobs, upload, digest_of(body))
    assert pull(store.blobs, digest_of(body)) == body


def test_the_numbers_of_contents_are_never_given_twice(store: Store) -> None:
    for seed in range(5):
        push(store.blobs, random_bytes(100, seed))
    with store.engine.read() as transaction:
        rows = [key for key, _ in transaction.scan(RECIPES)]
    assert rows == [number_key(n) + number_key(0) for n in range(1, 6)]


def _die_in(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """End the process when `target` is called: no code after it runs."""

    def die(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(target, die)


def _close_like_a_killed_process(upload: LocalUpload) -> None:
    """Close the upload like a killed process: unlock, and save nothing."""
    upload.received.has_failed = True
    upload._close()


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
@pytest.mark.parametrize("again", ["put", "cancel", "expire"])
def test_a_process_that_dies_behind_the_commit_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: Clock, magic: bytes, again: str
) -> None:
    """The process is killed when the index has the blob and the upload's state is still there."""
    body = magic + random_bytes(1_000_000)
    upload = store.blobs.begin(NAME)
    assert isinstance(upload, LocalUpload)
    upload.append(body)
    upload.save()
    with monkeypatch.context() as patch:
        _die_in(patch, "dtrfast.store.uploads.LocalUpload.forget")
        with pytest.raises(KeyboardInterrupt):
            commit(store.blobs, upload, digest_of(body))
    _close_like_a_killed_process(upload)
    if again == "expire":
        clock.now += 10_000_000_000
        assert run(store, "expired uploads") == 1
    else:
        with pytest.raises(UploadUnknown):
            store.blobs.resume(NAME, upload.id)
        assert store.blobs.finished(NAME, upload.id) == digest_of(body)
    assert pull(store.blobs, digest_of(body)) == body


def test_cancelling_a_commit_that_was_cut_off_keeps_chunks_that_others_share(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = random_bytes(6_000_000)
    upload_id = _cut_off_commit(store, monkeypatch, body)
    shorter = body[:1_000_000]
    digest = push(store.blobs, shorter)
    store.blobs.resume(NAME, upload_id).cancel()
    assert pull(store.blobs, digest) == shorter
    with store.engine.read() as transaction:
        assert not list(transaction.scan(COMMITS))


def test_a_commit_that_was_cut_off_and_lost_its_state_is_taken_back_by_the_sweep(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cut_off_commit(store, monkeypatch, random_bytes(6_000_000))
    for path in (data / "uploads").iterdir():
        path.unlink()
    run(store, "sweep after a power cut")
    with store.engine.read() as transaction:
        assert not list(transaction.scan(COMMITS))
        assert not list(transaction.scan(RECIPES))


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_an_upload_whose_removal_was_cut_off_is_unknown(
    store: Store, data: Path, magic: bytes
) -> None:
    upload = store.blobs.begin(NAME)
    upload.append(magic + random_bytes(1_000_000))
    upload.release()
    for name in ("blobs", "packs"):
        for path in (data / name).rglob("*"):
            if path.is_file():
                path.unlink()
    with pytest.raises(UploadUnknown):
        store.blobs.resume(NAME, upload.id)
    assert files_below(data, "uploads") == []


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_a_put_that_is_repeated_after_a_kill_finds_its_blob(
    store: Store, monkeypatch: pytest.MonkeyPatch, magic: bytes
) -> None:
    """The state was not saved since the upload began: it has no bytes."""
    body = magic + random_bytes(1_000_000)
    upload = store.blobs.begin(NAME)
    assert isinstance(upload, LocalUpload)
    upload.release()
    upload = store.blobs.resume(NAME, upload.id)
    assert isinstance(upload, LocalUpload)
    with monkeypatch.context() as patch:
        patch.setattr("dtrfast.store.uploads.LocalUpload._save_state", lambda self: None)
        _die_in(patch, "dtrfast.store.uploads.LocalUpload.forget")
        upload.append(body)
        with pytest.raises(KeyboardInterrupt):
            commit(store.blobs, upload, digest_of(body))
    _close_like_a_killed_process(upload)
    with pytest.raises(UploadUnknown):
        store.blobs.resume(NAME, upload.id)
    assert store.blobs.finished(NAME, upload.id) == digest_of(body)
    assert pull(store.blobs, digest_of(body)) == body


def test_saves_that_fail_leave_the_tail_that_the_state_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = random_bytes(600_000)
    upload = store.blobs.begin(NAME)
    upload.append(body[:100_000])
    upload.release()
    for _ in range(3):
        upload = store.blobs.resume(NAME, upload.id)
        upload.append(body[100_000:200_000])
        with monkeypatch.context() as patch:

            def fail(self: object, state: object) -> None:
                raise StorageFull("full")

            patch.setattr("dtrfast.store.upload_state.StateFile.write", fail)
            for save in (upload.save, upload.save, upload.release):
                with contextlib.suppress(StorageFull):
                    save()
    upload = store.blobs.resume(NAME, upload.id)
    assert upload.offset == 100_000
    upload.append(body[100_000:])
    commit(store.blobs, upload, digest_of(body))
    assert pull(store.blobs, digest_of(body)) == body


@pytest.mark.parametrize("magic", [b"", GZIP], ids=["chunked", "loose"])
def test_a_request_that_was_taken_back_leaves_no_file(
    store: Store, data: Path, magic: bytes
) -> None:
    upload = store.blobs.begin(NAME)
    upload.append(magic + random_bytes(100_000))
    upload.truncate(0)
    upload.append(b"x")
    commit(store.blobs, upload, digest_of(b"x"))
    assert files_below(data, "blobs", "packs", "uploads") == []


def test_small_blobs_pushed_at_once_are_one_content(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: push(store.blobs, b"{}"), range(32)))
    assert store.statistics().inline_blobs == 1
    with store.engine.read() as transaction:
        assert sum(1 for _ in transaction.scan(RECIPES)) == 1


def test_a_push_heals_a_blob_whose_file_is_lost(store: Store, data: Path) -> None:
    body = GZIP + random_bytes(100_000)
    digest = push(store.blobs, body)
    (name,) = files_below(data, "blobs")
    next((data / "blobs").rglob(name)).unlink()
    push(store.blobs, body)
    assert pull(store.blobs, digest) == body
    run(store, "unlinked contents")
    assert pull(store.blobs, digest) == body
    assert store.statistics().loose_blobs == 1


def test_a_healed_blob_keeps_its_other_digest(store: Store, data: Path) -> None:
    body = GZIP + random_bytes(100_000)
    other = digest_of(body, "sha512")
    push(store.blobs, body)
    upload = store.blobs.begin(NAME)
    upload.append(body)
    commit(store.blobs, upload, other)
    (name,) = files_below(data, "blobs")
    next((data / "blobs").rglob(name)).unlink()
    push(store.blobs, body)
    run(store, "unlinked contents")
    assert pull(store.blobs, other) == body
    assert store.statistics().loose_blobs == 1


@pytest.mark.parametrize(
    "body", [bytes(3_000_000), random_bytes(300_000) * 4], ids=["zeros", "twice"]
)
def test_sha512_is_found_by_reading_again_what_repeats(store: Store, body: bytes) -> None:
    upload = store.blobs.begin(NAME)
    upload.append(body)
    digest = digest_of(body, "sha512")
    commit(store.blobs, upload, digest)
    assert pull(store.blobs, digest) == body


def test_uploads_refused_by_a_full_disk_leave_nothing_open(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, state: object) -> None:
        raise StorageFull("full")

    monkeypatch.setattr("dtrfast.store.upload_state.StateFile.write", fail)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(StorageFull):
            store.blobs.begin(NAME)
    assert len(os.listdir("/proc/self/fd")) == before
    assert files_below(data, "uploads") == []


@pytest.mark.parametrize("trouble", ["damaged", "gone"])
def test_a_commit_whose_shared_chunk_is_lost_is_refused_and_a_push_heals(
    store: Store, trouble: str
) -> None:
    """The upload found the chunk before. A blob without it must not become visible."""
    body = random_bytes(2_500_000)
    push(store.blobs, body)
    upload = store.blobs.begin(NAME)
    upload.append(body + b"x")
    with store.engine.read() as transaction:
        key, value = next(iter(transaction.scan(CHUNKS)))
    if trouble == "damaged":
        damage.mark_chunk(store._context, number_of(key), "its bytes have changed")
    else:
        chunk = Chunk.decode(value)
        store.engine.write(lambda t: t.delete(CHUNKS, key))
        store.engine.write(lambda t: t.delete(CHUNK_HASHES, chunk.hash + key))
    digest = digest_of(body + b"x")
    with pytest.raises(StorageFailed, match=f"shares is {trouble}: push the blob again"):
        commit(store.blobs, upload, digest, OTHER)
    upload.release()
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digest)
    push(store.blobs, body + b"x", OTHER)
    assert pull(store.blobs, digest) == body + b"x"


def test_a_sha512_of_an_upload_whose_shared_chunk_is_gone_is_refused(store: Store) -> None:
    """The digest is computed by reading the upload again."""
    body = random_bytes(2_500_000)
    push(store.blobs, body)
    upload = store.blobs.begin(NAME)
    upload.append(body)
    with store.engine.read() as transaction:
        key, _ = next(iter(transaction.scan(CHUNKS)))
    store.engine.write(lambda t: t.delete(CHUNKS, key))
    with pytest.raises(Corrupt, match="a chunk that the upload shares is gone"):
        upload.check(digest_of(body, "sha512"))
    upload.cancel()


def test_the_first_who_can_have_linked_an_inline_blob_records_it(store: Store) -> None:
    """The first push settled the content and died. The push that finds it must record the bytes in
    the change log, because only the index has them.
    """
    seen = []
    for _ in range(3):
        upload = store.blobs.begin(NAME)
        upload.append(b"{}")
        with store.blobs.commit(upload, digest_of(b"{}")) as placed:
            placed.settle()
            seen.append(placed.inline)
        upload.release()
        if len(seen) == 2:
            holders(store.blobs).held.add((ONE, digest_of(b"{}")))
            run(store, "unlinked contents")
    assert seen == [b"{}", b"{}", None]
