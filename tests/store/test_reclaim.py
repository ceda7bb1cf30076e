"""Space is freed when its grace is over, and not before."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.errors import BlobUnknown, Corrupt, StorageFailed, UploadUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import CHUNKS, LINKS_UNREFERENCED, PACKS, PACKS_SPARSE
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, disk, links
from dtrfast.store import reclaim as reclaim_module
from dtrfast.store.blobs import RepositoryId
from dtrfast.store.records import Chunk, decode_pack
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.store.conftest import OTHER, REPOSITORY, digest_of, files_below, pull, push, run

DAY = 86_400
MANIFEST = digest_of(b"a manifest")


def random_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def refer(store: Store, digest: Digest) -> None:
    def change(transaction: WriteTransaction) -> None:
        links.add_references(transaction, REPOSITORY, MANIFEST, [digest])

    store.engine.write(change)


def dereference(store: Store, digest: Digest, now: int) -> None:
    """The manifest is deleted, and leaves the trash."""

    def change(transaction: WriteTransaction) -> None:
        links.remove_references(transaction, REPOSITORY, MANIFEST, [digest], now)
        links.forget_references(transaction, REPOSITORY, MANIFEST, [digest])

    store.engine.write(change)


def reclaim(store: Store) -> None:
    run(store, "unreferenced blobs")
    run(store, "unlinked contents")


def is_there(store: Store, digest: Digest) -> bool:
    try:
        with store.blobs.open_range(REPOSITORY, digest):
            return True
    except BlobUnknown:
        return False


def test_an_unreferenced_blob_goes_after_its_grace(store: Store, data: Path, clock: Clock) -> None:
    digest = push(store.blobs, b"\x1f\x8b" + random_bytes(50_000))
    clock.now += DAY - 1
    reclaim(store)
    assert is_there(store, digest)
    clock.now += 1
    reclaim(store)
    assert not is_there(store, digest)
    assert files_below(data, "blobs") == []
    assert store.statistics().stored_bytes == 0


def test_a_referenced_blob_stays(store: Store, clock: Clock) -> None:
    digest = push(store.blobs, b"config")
    refer(store, digest)
    clock.now += 100 * DAY
    reclaim(store)
    assert is_there(store, digest)


def test_the_grace_runs_from_the_loss_of_the_last_reference(store: Store, clock: Clock) -> None:
    digest = push(store.blobs, b"config")
    refer(store, digest)
    clock.now += 100 * DAY
    reclaim(store)
    dereference(store, digest, clock.now)
    clock.now += DAY - 1
    reclaim(store)
    assert is_there(store, digest)
    clock.now += 1
    reclaim(store)
    assert not is_there(store, digest)


def test_asking_for_a_blob_in_its_grace_renews_it(store: Store, clock: Clock) -> None:
    digest = push(store.blobs, b"config")
    for _ in range(5):
        clock.now += DAY - 1
        store.blobs.stat(REPOSITORY, digest)
        reclaim(store)
        assert is_there(store, digest)


def test_mounting_from_a_repository_keeps_the_blob_in_the_target(
    store: Store, clock: Clock
) -> None:
    digest = push(store.blobs, b"config")
    clock.now += DAY - 1
    store.blobs.link(OTHER, digest, REPOSITORY)
    clock.now += DAY - 1
    reclaim(store)
    assert not is_there(store, digest)
    assert pull(store.blobs, digest, OTHER) == b"config"


def test_asking_for_a_referenced_blob_writes_nothing(store: Store, clock: Clock) -> None:
    digest = push(store.blobs, b"config")
    refer(store, digest)
    clock.now += 100 * DAY

    def waiting() -> int:
        with store.engine.read() as transaction:
            return sum(1 for _ in transaction.scan(LINKS_UNREFERENCED))

    before = waiting()
    store.blobs.stat(REPOSITORY, digest)
    assert store.blobs.peek(REPOSITORY, digest) is not None
    assert waiting() == before


def test_a_deleted_blob_is_freed_at_the_next_step(store: Store, data: Path) -> None:
    digest = push(store.blobs, b"\x1f\x8b" + random_bytes(50_000))
    store.blobs.unlink(REPOSITORY, digest)
    reclaim(store)
    assert files_below(data, "blobs") == []


def test_a_blob_that_another_repository_holds_stays(store: Store, data: Path) -> None:
    digest = push(store.blobs, b"\x1f\x8b" + random_bytes(50_000))
    store.blobs.link(OTHER, digest, REPOSITORY)
    store.blobs.unlink(REPOSITORY, digest)
    reclaim(store)
    assert len(pull(store.blobs, digest, OTHER)) == 50_002


def test_a_blob_pushed_again_before_it_is_freed_stays(store: Store) -> None:
    body = b"\x1f\x8b" + random_bytes(50_000)
    digest = push(store.blobs, body)
    store.blobs.unlink(REPOSITORY, digest)
    push(store.blobs, body)
    reclaim(store)
    assert pull(store.blobs, digest) == body


def test_a_blob_held_under_its_other_digest_stays(store: Store) -> None:
    body = random_bytes(50_000)
    digest = push(store.blobs, body)
    other = digest_of(body, "sha512")
    upload = store.blobs.begin_upload("some/name")
    upload.append(body)
    store.blobs.commit(upload, other, REPOSITORY)
    store.blobs.unlink(REPOSITORY, digest)
    reclaim(store)
    assert pull(store.blobs, other) == body
    store.blobs.unlink(REPOSITORY, other)
    reclaim(store)
    assert store.statistics().blobs == 0


def test_a_reader_keeps_a_freed_file(store: Store) -> None:
    body = b"\x1f\x8b" + random_bytes(50_000)
    digest = push(store.blobs, body)
    with store.blobs.open_range(REPOSITORY, digest) as reader:
        (segment,) = reader
        store.blobs.unlink(REPOSITORY, digest)
        reclaim(store)
        assert not isinstance(segment, bytes)
        assert os.pread(segment.descriptor, segment.length, segment.offset) == body


def test_chunks_lose_their_references_with_their_blob(store: Store, clock: Clock) -> None:
    first = random_bytes(3_000_000)
    second = first[:2_000_000] + random_bytes(1_000_000, 2)
    one, two = push(store.blobs, first), push(store.blobs, second)
    store.blobs.unlink(REPOSITORY, one)
    reclaim(store)
    assert pull(store.blobs, two) == second
    store.blobs.unlink(REPOSITORY, two)
    reclaim(store)
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
    store.blobs.unlink(REPOSITORY, digest)
    reclaim(store)
    before = store.statistics().pack_bytes
    push(store.blobs, body)
    run(store, "sparse packs")
    assert store.statistics().pack_bytes == before
    assert len(files_below(data, "packs")) == 1
    assert pull(store.blobs, digest) == body


def test_an_idle_upload_expires(store: Store, data: Path, clock: Clock) -> None:
    upload = store.blobs.begin_upload("some/name")
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
    upload = store.blobs.begin_upload("some/name")
    clock.now += 10_000_000_000
    assert run(store, "expired uploads") == 0
    upload.append(b"still here")
    upload.release()


def test_a_finished_upload_is_remembered_for_some_minutes(store: Store, clock: Clock) -> None:
    upload = store.blobs.begin_upload("some/name")
    upload.append(b"body")
    store.blobs.commit(upload, digest_of(b"body"), REPOSITORY)
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
    upload = store.blobs.begin_upload("some/name")
    upload.append(random_bytes(1_000_000))
    lost = data / "blobs" / "f" / "0190a0b0c0d0700080000000000000ff"
    lost.write_bytes(b"a file whose upload is gone")
    tail = data / "uploads" / "0190a0b0-c0d0-7000-8000-000000000001.tail"
    tail.write_bytes(b"a tail whose upload is gone")
    foreign = data / "packs" / "0" / "not-ours"
    foreign.write_bytes(b"")
    sweep = next(t.run for t in store.tasks() if t.name == "sweep after a power cut")
    assert sum(int(str(sweep())) for _ in range(3)) == 2
    assert not lost.exists()
    assert not tail.exists()
    assert foreign.exists()
    upload.release()
    assert len(pull(store.blobs, kept)) == 50_002
    lost.write_bytes(b"once a boot is enough")
    again = next(t.run for t in store.tasks() if t.name == "sweep after a power cut")
    assert again() == 0
    assert lost.exists()


def test_a_content_that_lost_its_names_to_another_is_freed(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reclaim is cut off between names and freeing; the blob is pushed again meanwhile."""
    body = b"\x1f\x8b" + random_bytes(50_000)
    digest = push(store.blobs, body)
    store.blobs.unlink(REPOSITORY, digest)

    def fail(*arguments: object, **named: object) -> None:
        raise StorageFailed("no")

    with monkeypatch.context() as patch:
        patch.setattr(reclaim_module, "_forget_all", fail)
        run(store, "unlinked contents")
    push(store.blobs, body)
    run(store, "unlinked contents")
    assert len(files_below(data, "blobs")) == 1
    assert store.statistics().loose_blobs == 1
    assert pull(store.blobs, digest) == body


def test_a_row_that_fails_does_not_stop_those_behind_it(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        store.blobs.unlink(REPOSITORY, push(store.blobs, b"\x1f\x8b" + random_bytes(50_000, seed)))
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
    run(store, "sparse packs")  # looks after all files that nobody owns
    assert files_below(data, "blobs") == []


def test_referenced_blobs_do_not_wait_in_the_list(store: Store) -> None:
    refer(store, push(store.blobs, b"config"))
    with store.engine.read() as transaction:
        assert not list(transaction.scan(LINKS_UNREFERENCED))


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


def test_a_link_that_fails_is_logged_and_stops_no_other_one(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = push(store.blobs, b"broken"), push(store.blobs, b"whole")
    clock.advance(8 * DAY)
    unlink = contents.unlink

    def fail_once(
        transaction: WriteTransaction, repository: RepositoryId, digest: Digest, now: int
    ) -> None:
        if digest == broken:
            raise Corrupt("its record cannot be read")
        unlink(transaction, repository, digest, now)

    with monkeypatch.context() as patch:
        patch.setattr(contents, "unlink", fail_once)
        run(store, "unreferenced blobs")
    assert "could not reclaim" in caplog.text
    assert "its record cannot be read" in caplog.text
    assert is_there(store, broken)
    assert not is_there(store, whole)
    run(store, "unreferenced blobs")
    assert not is_there(store, broken), "the next step tries again"


def test_a_file_that_is_no_upload_is_left_alone(store: Store, data: Path, clock: Clock) -> None:
    other = data / "uploads" / "notes.state"
    other.write_text("mine")
    clock.advance(100 * DAY)
    assert run(store, "expired uploads") == 0
    assert other.read_text() == "mine"


def test_blobs_and_contents_are_pending_once_they_are_due(store: Store, clock: Clock) -> None:
    push(store.blobs, b"in its grace")
    count, ends_at = store.in_grace()
    assert (count, store.pending()["unreferenced blobs"]) == (1, 0)
    clock.now = ends_at
    assert store.pending()["unreferenced blobs"] == 1
    run(store, "unreferenced blobs")
    assert (store.pending()["unreferenced blobs"], store.pending()["unlinked contents"]) == (0, 1)
    assert store.in_grace() == (0, 0)
    reclaim(store)
    assert not any(store.pending().values())


def test_a_sweep_that_fails_is_made_again_after_the_next_start(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure must not count as a sweep: the file would be left for ever."""
    data = tmp_path / "data"
    store = Store.open(data, StoreConfig(), clock=clock)
    left = data / "packs" / "b" / ("ab" * 16)
    left.write_bytes(b"x")

    def fail(path: Path) -> None:
        raise StorageFailed("no")

    sweep = next(task.run for task in store.tasks() if task.name == "sweep after a power cut")
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
