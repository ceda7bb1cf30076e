"""Reclaim frees space after its grace, and not before."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.errors import BlobUnknown, Corrupt, StorageFailed, UploadUnknown
from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.tables import CHUNKS, CONTENTS, DAMAGES, PACKS, PACKS_SPARSE, number_of
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import damage, pins, reclaim, unowned
from dtrfast.store.records import Chunk, decode_pack
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.store.conftest import digest_of, files_below, pull, push, run, tasks
from tests.store.holders import OTHER, commit, drop, holders, link

DAY = 86_400


def random_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def rows(store: Store, table: Table) -> list[tuple[bytes, bytes]]:
    with store.engine.read() as transaction:
        return list(transaction.scan(table))


def free_unheld(store: Store) -> None:
    run(store, "unlinked contents")


def is_there(store: Store, digest: Digest) -> bool:
    try:
        with store.blobs.open_range(digest):
            return True
    except BlobUnknown:
        return False


def test_a_deleted_blob_is_freed_at_the_next_step(store: Store, data: Path) -> None:
    digest = push(store.blobs, b"\x1f\x8b" + random_bytes(50_000))
    drop(store.blobs, digest)
    free_unheld(store)
    assert files_below(data, "blobs") == []


def test_a_blob_that_another_repository_holds_stays(store: Store, data: Path) -> None:
    digest = push(store.blobs, b"\x1f\x8b" + random_bytes(50_000))
    link(store.blobs, digest, OTHER)
    drop(store.blobs, digest)
    free_unheld(store)
    assert len(pull(store.blobs, digest)) == 50_002


def test_a_blob_pushed_again_before_it_is_freed_stays(store: Store) -> None:
    body = b"\x1f\x8b" + random_bytes(50_000)
    digest = push(store.blobs, body)
    drop(store.blobs, digest)
    push(store.blobs, body)
    free_unheld(store)
    assert pull(store.blobs, digest) == body


def test_a_blob_held_under_its_other_digest_stays(store: Store) -> None:
    body = random_bytes(50_000)
    digest = push(store.blobs, body)
    other = digest_of(body, "sha512")
    upload = store.blobs.begin("some/name")
    upload.append(body)
    commit(store.blobs, upload, other)
    drop(store.blobs, digest)
    free_unheld(store)
    assert pull(store.blobs, other) == body
    drop(store.blobs, other)
    free_unheld(store)
    assert store.statistics().blobs == 0


def test_a_reader_keeps_a_freed_file(store: Store) -> None:
    body = b"\x1f\x8b" + random_bytes(50_000)
    digest = push(store.blobs, body)
    with store.blobs.open_range(digest) as reader:
        (segment,) = reader
        drop(store.blobs, digest)
        free_unheld(store)
        assert not isinstance(segment, bytes)
        assert os.pread(segment.descriptor, segment.length, segment.offset) == body


def test_chunks_lose_their_references_with_their_blob(store: Store, clock: Clock) -> None:
    first = random_bytes(3_000_000)
    second = first[:2_000_000] + random_bytes(1_000_000, 2)
    one, two = push(store.blobs, first), push(store.blobs, second)
    drop(store.blobs, one)
    free_unheld(store)
    assert pull(store.blobs, two) == second
    drop(store.blobs, two)
    free_unheld(store)
    with store.engine.read() as transaction:
        chunks = [Chunk.decode(value) for _, value in transaction.scan(CHUNKS)]
        packs = [decode_pack(value) for _, value in transaction.scan(PACKS)]
        sparse = sum(1 for _ in transaction.scan(PACKS_SPARSE))
    assert {chunk.references for chunk in chunks} == {0}
    assert [pack.live for pack in packs] == [0, 0]
    assert sparse == 2


def test_chunks_on_their_way_out_are_shared_with_nobody(store: Store, data: Path) -> None:
    body = random_bytes(3_000_000)
    digest = push(store.blobs, body)
    drop(store.blobs, digest)
    free_unheld(store)
    before = store.statistics().pack_bytes
    push(store.blobs, body)
    run(store, "sparse packs")
    assert store.statistics().pack_bytes == before
    assert len(files_below(data, "packs")) == 1
    assert pull(store.blobs, digest) == body


def test_an_idle_upload_expires(store: Store, data: Path, clock: Clock) -> None:
    upload = store.blobs.begin("some/name")
    upload.append(random_bytes(1_000_000))
    upload.release()
    assert run(store, "expired uploads") == 0
    clock.now = int(next((data / "uploads").glob("*.state")).stat().st_mtime) + DAY + 1
    assert run(store, "expired uploads") == 1
    assert files_below(data, "packs", "uploads") == []
    with pytest.raises(UploadUnknown):
        store.blobs.resume("some/name", upload.id)


def test_an_upload_that_is_written_to_does_not_expire(
    store: Store, data: Path, clock: Clock
) -> None:
    upload = store.blobs.begin("some/name")
    clock.now += 10_000_000_000
    assert run(store, "expired uploads") == 0
    upload.append(b"still here")
    upload.release()


def test_a_finished_upload_is_remembered_for_some_minutes(store: Store, clock: Clock) -> None:
    upload = store.blobs.begin("some/name")
    upload.append(b"body")
    commit(store.blobs, upload, digest_of(b"body"))
    clock.now += 300
    run(store, "finished uploads")
    assert store.blobs.finished("some/name", upload.id) == digest_of(b"body")
    assert store.blobs.finished("other/name", upload.id) is None
    clock.now += 400
    run(store, "finished uploads")
    assert store.blobs.finished("some/name", upload.id) is None


def test_after_a_power_cut_files_that_nobody_speaks_for_are_removed(
    store: Store, data: Path
) -> None:
    kept = push(store.blobs, b"\x1f\x8b" + random_bytes(50_000))
    upload = store.blobs.begin("some/name")
    upload.append(random_bytes(1_000_000))
    lost = data / "blobs" / "f" / "0190a0b0c0d0700080000000000000ff"
    lost.write_bytes(b"a file whose upload is gone")
    tail = data / "uploads" / "0190a0b0-c0d0-7000-8000-000000000001.tail"
    tail.write_bytes(b"a tail whose upload is gone")
    foreign = data / "packs" / "0" / "not-ours"
    foreign.write_bytes(b"")
    sweep = tasks(store)["sweep after a power cut"].run
    assert sum(int(str(sweep())) for _ in range(3)) == 2
    assert not lost.exists()
    assert not tail.exists()
    assert foreign.exists()
    upload.release()
    assert len(pull(store.blobs, kept)) == 50_002
    lost.write_bytes(b"once a boot is enough")
    again = tasks(store)["sweep after a power cut"].run
    assert again() == 0
    assert lost.exists()


def test_a_content_that_lost_its_names_to_another_is_freed(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reclaim is interrupted after it deleted the names. Then the blob is pushed again."""
    body = b"\x1f\x8b" + random_bytes(50_000)
    digest = push(store.blobs, body)
    drop(store.blobs, digest)

    def fail(*arguments: object, **named: object) -> None:
        raise StorageFailed("no")

    with monkeypatch.context() as patch:
        patch.setattr(reclaim, "_forget", fail)
        run(store, "unlinked contents")
    push(store.blobs, body)
    run(store, "unlinked contents")
    assert len(files_below(data, "blobs")) == 1
    assert store.statistics().loose_blobs == 1
    assert pull(store.blobs, digest) == body


def test_an_upload_whose_state_cannot_be_read_expires_and_does_not_stop_others(
    store: Store, data: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        upload = store.blobs.begin("some/name")
        upload.append(b"\x1f\x8b" + random_bytes(50_000, seed))
        upload.release()
    read, status = os.pread, next((data / "uploads").glob("*.state")).stat()

    def fail(descriptor: int, size: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino == status.st_ino:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", fail)
    assert run(store, "expired uploads") == 0
    clock.now = int(status.st_mtime) + DAY + 10
    assert run(store, "expired uploads") == 2
    assert files_below(data, "uploads", "blobs") == []


def test_a_row_that_fails_does_not_stop_those_behind_it(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        drop(store.blobs, push(store.blobs, b"\x1f\x8b" + random_bytes(50_000, seed)))
    first = min(p for p in (data / "blobs").rglob("*") if p.is_file())
    real = disk.remove

    def fail_once(path: Path) -> None:
        if path == first:
            raise StorageFailed("no")
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "remove", fail_once)
        run(store, "unlinked contents")
    assert files_below(data, "blobs") == [first.name]
    run(store, "sparse packs")  # unlinks all listed files without an owner
    assert files_below(data, "blobs") == []


def test_files_that_cannot_be_unlinked_hide_none_behind_them(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of another user has more files than a step takes."""
    for seed in range(3):
        drop(store.blobs, push(store.blobs, b"\x1f\x8b" + random_bytes(50_000, seed)))
    names = sorted(p.name for p in (data / "blobs").rglob("*") if p.is_file())
    real = disk.remove

    def fail(path: Path) -> None:
        if path.name in names[:2]:
            raise StorageFailed("no")
        real(path)

    monkeypatch.setattr(unowned, "_STEP_MAX", 2)
    monkeypatch.setattr(disk, "remove", fail)
    free_unheld(store)
    assert files_below(data, "blobs") == names[:2]


def test_listed_contents_that_cannot_be_read_hide_none_behind_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [push(store.blobs, b"%d" % number) for number in range(3)]
    reclaim.list_unheld(store.engine, lambda contents: [False for _ in contents], 1)
    holders(store.blobs).held.clear()
    monkeypatch.setattr(reclaim, "_STEP_MAX", 2)
    unreadable = [key for key, _ in rows(store, CONTENTS)][:2]

    def spoil(transaction: WriteTransaction) -> None:
        transaction.put_all(CONTENTS, [(key, b"no record") for key in unreadable])

    store.engine.write(spoil)
    free_unheld(store)
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digests[2])
    assert len(rows(store, CONTENTS)) == 2


def test_a_content_that_cannot_be_read_does_not_keep_others_from_being_freed(
    store: Store,
) -> None:
    digests = [push(store.blobs, b"%d" % number) for number in range(3)]
    first, _ = rows(store, CONTENTS)[0]

    def spoil(transaction: WriteTransaction) -> None:
        transaction.put(CONTENTS, first, b"no record")

    store.engine.write(spoil)
    assert store.blobs.release(digests, lambda contents: [False for _ in contents]) == digests[1:]
    for digest in digests[1:]:
        with pytest.raises(BlobUnknown):
            store.blobs.stat(digest)


def test_contents_that_are_pinned_while_their_holders_are_asked_for_stay(
    store: Store, data: Path
) -> None:
    """A backup that begins then may see a holder when it reads the holdings later."""
    digest = push(store.blobs, b"{}")
    with ExitStack() as stack:

        def is_held(contents: Sequence[object]) -> list[bool]:
            stack.enter_context(pins.hold_contents(data))
            return [False for _ in contents]

        assert store.blobs.release([digest], is_held) == []
        assert pull(store.blobs, digest) == b"{}"


@pytest.mark.parametrize("body", [b"{}", random_bytes(50_000)], ids=["inline", "chunked"])
def test_a_content_found_damaged_while_it_goes_leaves_no_damage(store: Store, body: bytes) -> None:
    digest = push(store.blobs, body)
    number = number_of(rows(store, CONTENTS)[0][0])

    def is_held(contents: object) -> list[bool]:
        damage.mark_content(store._context, number, "another process has read it")
        return [False]

    assert store.blobs.release([digest], is_held) == [digest]
    assert store.statistics().damaged_blobs == 0
    assert rows(store, DAMAGES) == []


def test_a_damaged_content_that_is_read_rightly_while_it_goes_is_counted_once(
    store: Store,
) -> None:
    digest = push(store.blobs, b"{}")
    number = number_of(rows(store, CONTENTS)[0][0])
    damage.mark_content(store._context, number, "a disk that answers now and then")

    def is_held(contents: object) -> list[bool]:
        damage.clear_content(store._context, number)
        return [False]

    assert store.blobs.release([digest], is_held) == [digest]
    assert store.statistics().damaged_blobs == 0


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b""], ids=["loose", "chunked"])
def test_an_upload_that_was_freed_is_not_committed_over_its_file(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch, magic: bytes
) -> None:
    """The content was settled without a link, and is freed while the client repeats the PUT. The
    file is about to be unlinked. A commit that relied on it would lose the blob.
    """
    body = magic + random_bytes(50_000)
    upload = store.blobs.begin("some/name")
    upload.append(body)
    with store.blobs.commit(upload, digest_of(body)) as placed:
        placed.settle()
    upload.release()
    refused = []
    is_pinned = pins.is_held

    def push_again(path: Path) -> bool:
        """Push again after reclaim read the list of files and before it unlinks them."""
        monkeypatch.setattr(pins, "is_held", is_pinned)
        try:
            again = store.blobs.resume("some/name", upload.id)
            commit(store.blobs, again, digest_of(body))
        except UploadUnknown:
            refused.append(push(store.blobs, body))
        return False

    monkeypatch.setattr(pins, "is_held", push_again)
    for _ in range(4):
        run(store, "unlinked contents")
        run(store, "sparse packs")
    assert refused == [digest_of(body)]
    assert pull(store.blobs, digest_of(body)) == body
    assert len(files_below(data, "blobs", "packs")) == 1
    assert files_below(data, "uploads") == []


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b""], ids=["loose", "chunked"])
def test_an_upload_whose_content_was_freed_cannot_be_committed_twice(
    store: Store, magic: bytes
) -> None:
    """The same, by a caller that held the upload since before."""
    body = magic + random_bytes(50_000)
    upload = store.blobs.begin("some/name")
    upload.append(body)
    with store.blobs.commit(upload, digest_of(body)) as placed:
        placed.settle()
    for _ in range(3):
        run(store, "unlinked contents")
        run(store, "sparse packs")
    with pytest.raises(UploadUnknown):
        commit(store.blobs, upload, digest_of(body))
    upload.cancel()
    push(store.blobs, body)
    assert pull(store.blobs, digest_of(body)) == body


def test_a_file_that_a_backup_may_want_outlives_the_upload_that_made_it(
    store: Store, data: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker died after its commit. The blob was deleted, and then its upload expires."""
    body = b"\x1f\x8b" + random_bytes(50_000)
    upload = store.blobs.begin("some/name")
    upload.append(body)
    with store.blobs.commit(upload, digest_of(body)) as placed:
        placed.settle()
    upload.release()
    with monkeypatch.context() as patch:
        patch.setattr(pins, "is_held", lambda path: True)
        run(store, "unlinked contents")
        clock.now += 10_000_000_000
        run(store, "expired uploads")
        assert files_below(data, "uploads") == []
        assert len(files_below(data, "blobs")) == 1
    run(store, "sparse packs")
    assert files_below(data, "blobs") == []


def test_an_index_that_is_gone_is_refused_and_no_file_is_touched(tmp_path: Path) -> None:
    config = StoreConfig()
    store = Store.open(tmp_path / "data", config)
    push(store.blobs, b"\x1f\x8b" + random_bytes(50_000))
    store.close()
    for path in (tmp_path / "data" / "index").iterdir():
        path.unlink()
    with pytest.raises(Corrupt, match="dtrfast repair"):
        Store.open(tmp_path / "data", config)
    assert len(files_below(tmp_path / "data", "blobs")) == 1


def test_a_file_that_is_no_upload_is_left_alone(store: Store, data: Path, clock: Clock) -> None:
    other = data / "uploads" / "notes.state"
    other.write_text("mine")
    clock.advance(100 * DAY)
    assert run(store, "expired uploads") == 0
    assert other.read_text() == "mine"


def test_a_sweep_that_fails_is_made_again_after_the_next_start(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed sweep must not count as a sweep: the file would be left forever."""
    data = tmp_path / "data"
    store = Store.open(data, StoreConfig(), clock=clock)
    left = data / "packs" / "b" / ("ab" * 16)
    left.write_bytes(b"x")

    def fail(path: Path) -> None:
        raise StorageFailed("no")

    sweep = tasks(store)["sweep after a power cut"].run
    with monkeypatch.context() as patch:
        patch.setattr(disk, "remove", fail)
        with pytest.raises(StorageFailed):
            sweep()
    sweep()
    assert left.exists()
    store.close()
    store = Store.open(data, StoreConfig(), clock=clock)
    assert run(store, "sweep after a power cut") == 1
    assert not left.exists()
    store.close()
