"""Compaction frees chunks without references, and never chunks that a blob or an upload needs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dtrfast.config import StoreConfig
from dtrfast.errors import BlobUnknown, StorageFailed, StorageFull
from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import (
    CHUNK_HASHES,
    CHUNKS,
    CONTENTS,
    FILES,
    FILES_UNOWNED,
    PACKS,
    PACKS_SPARSE,
    number_key,
)
from dtrfast.machine import disk
from dtrfast.store import packs, pins
from dtrfast.store.records import Chunk, decode_content, decode_pack
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.store.conftest import digest_of, files_below, pull, push, run, tasks
from tests.store.holders import OTHER, commit, drop, release

SIZE = 3_000_000


def body(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


def keys(store: Store, table: Table) -> list[bytes]:
    with store.engine.read() as transaction:
        return [key for key, _ in transaction.scan(table)]


def packs_of(store: Store) -> list[int]:
    """Return the size in bytes of each pack in the index."""
    with store.engine.read() as transaction:
        return [decode_pack(value).size for _, value in transaction.scan(PACKS)]


class House:
    """A housekeeper for one test. Its compaction keeps the notes between steps."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks = tasks(store)

    def keep(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            release(self._store.blobs)
            for name in ("unlinked contents", "sparse packs"):
                self._tasks[name].run()


@pytest.fixture
def house(store: Store) -> House:
    return House(store)


def test_a_pack_of_nothing_but_garbage_is_unlinked(store: Store, house: House, data: Path) -> None:
    digest = push(store.blobs, body(1))
    size = sum(path.stat().st_size for path in data.glob("packs/*/*"))
    drop(store.blobs, digest)
    house.keep()
    assert files_below(data, "packs") == []
    for table in (CHUNKS, CHUNK_HASHES, PACKS, PACKS_SPARSE, FILES, FILES_UNOWNED, CONTENTS):
        assert keys(store, table) == [], table.name
    statistics = store.statistics()
    assert (statistics.chunks, statistics.chunk_bytes, statistics.pack_bytes) == (0, 0, 0)
    assert statistics.freed_bytes == size


def test_what_is_live_moves_and_reads_as_before(store: Store, house: House, data: Path) -> None:
    large = body(1)
    small = large[:700_000] + body(2, 100_000)
    one = push(store.blobs, large)
    two = push(store.blobs, small, OTHER)
    before = files_below(data, "packs")
    drop(store.blobs, one)
    house.keep()
    after = files_below(data, "packs")
    assert pull(store.blobs, two) == small
    assert not set(before) <= set(after)
    assert sum(packs_of(store)) < 1_000_000
    assert store.statistics().pack_bytes == sum(packs_of(store))
    assert push(store.blobs, small) == two, "its chunks are duplicates wherever they lie"


def test_a_pack_that_is_mostly_live_is_left_alone(store: Store, house: House, data: Path) -> None:
    large = body(1)
    small = large[:2_700_000] + body(2, 100_000)
    one = push(store.blobs, large)
    push(store.blobs, small, OTHER)
    before = files_below(data, "packs")
    drop(store.blobs, one)
    house.keep()
    assert files_below(data, "packs") == before


def test_recipes_move_with_their_blobs(store: Store, house: House, data: Path) -> None:
    """A pack has chunks of other blobs and the recipe of a blob that consists of them."""
    large = body(1)
    push(store.blobs, large)
    again = push(store.blobs, large[:1_500_000] + large[:1_500_000], OTHER)
    drop(store.blobs, digest_of(large))
    house.keep()
    with store.engine.read() as transaction:
        contents = [decode_content(value) for _, value in transaction.scan(CONTENTS)]
        rows = dict(transaction.scan(PACKS))
    (content,) = contents
    pack = decode_pack(rows[number_key(content.recipe_pack)])
    descriptor = disk.open_existing(data / "packs" / pack.file_id.hex()[-1] / pack.file_id.hex())
    records = [record for record, _ in packs.walk(descriptor, pack.size)]
    os.close(descriptor)
    pieces = [record for record in records if isinstance(record, packs.RecipePiece)]
    assert [piece.sha256.hex() for piece in pieces] == [again.hex]
    assert sum(length for piece in pieces for _, length in piece.parts) == SIZE


def test_an_upload_at_work_keeps_what_it_may_have_found(
    store: Store, house: House, data: Path
) -> None:
    large = body(1)
    digest = push(store.blobs, large)
    upload = store.blobs.begin("some/name")
    upload.append(large[:2_000_000])
    drop(store.blobs, digest)
    house.keep()
    assert len(keys(store, CHUNKS)) > 30, "nothing is freed while it is at work"
    upload.append(body(2, 500_000))
    new = large[:2_000_000] + body(2, 500_000)
    commit(store.blobs, upload, digest_of(new), OTHER)
    upload.release()
    house.keep()
    assert pull(store.blobs, digest_of(new)) == new


def test_an_idle_upload_keeps_what_it_names_and_no_more(
    store: Store, house: House, data: Path
) -> None:
    large = body(1)
    digest = push(store.blobs, large)
    upload = store.blobs.begin("some/name")
    upload.append(large[:1_000_000])
    upload.release()
    drop(store.blobs, digest)
    before = len(keys(store, CHUNKS))
    house.keep()
    assert 5 < len(keys(store, CHUNKS)) < before / 2
    again = store.blobs.resume("some/name", upload.id)
    again.append(body(2, 100_000))
    new = large[:1_000_000] + body(2, 100_000)
    commit(store.blobs, again, digest_of(new), OTHER)
    again.release()
    house.keep()
    assert pull(store.blobs, digest_of(new)) == new
    drop(store.blobs, digest_of(new), OTHER)
    house.keep()
    assert files_below(data, "packs") == []


def test_a_pull_goes_on_while_its_pack_moves(store: Store, house: House) -> None:
    large = body(1)
    small = large[:900_000] + body(2, 100_000)
    one, two = push(store.blobs, large), push(store.blobs, small, OTHER)
    with store.blobs.open_range(two) as held, store.blobs.open_range(two) as reader:
        segments = iter(held)
        first = next(segments)
        assert not isinstance(first, bytes)
        begun = os.pread(first.descriptor, first.length, first.offset)
        drop(store.blobs, one)
        house.keep()
        store.tidy()
        assert os.pread(first.descriptor, first.length, first.offset) == begun
        rest = b"".join(read(segment) for segment in segments)
        assert begun + rest == small
        assert b"".join(read(segment) for segment in reader) == small


def read(segment: Any) -> bytes:
    if isinstance(segment, bytes):
        return segment
    return os.pread(segment.descriptor, segment.length, segment.offset)


def test_unlinked_packs_are_let_go_of(store: Store, house: House, data: Path) -> None:
    digest = push(store.blobs, body(1))
    assert pull(store.blobs, digest) == body(1)
    drop(store.blobs, digest)
    house.keep()

    def open_and_gone() -> int:
        links = [
            os.readlink(f"/proc/self/fd/{name}")
            for name in os.listdir("/proc/self/fd")
            if os.path.islink(f"/proc/self/fd/{name}")
        ]
        packs = f"{data}/packs/"
        return sum(link.startswith(packs) and link.endswith("(deleted)") for link in links)

    assert open_and_gone() == 1
    store.tidy()
    assert open_and_gone() == 0


def test_a_pin_keeps_files_and_nothing_else(store: Store, house: House, data: Path) -> None:
    one = push(store.blobs, body(1))
    two = push(store.blobs, b"\x1f\x8b" + body(2))
    with pins.hold(data):
        drop(store.blobs, one)
        drop(store.blobs, two)
        house.keep()
        assert len(files_below(data, "packs", "blobs")) == 2
        assert keys(store, CONTENTS) == []
    house.keep()
    assert files_below(data, "packs", "blobs", "pins") == []


def test_a_pin_of_contents_keeps_them_as_well(store: Store, house: House, data: Path) -> None:
    one = push(store.blobs, body(1))
    with pins.hold_contents(data):
        drop(store.blobs, one)
        house.keep()
        assert pull(store.blobs, one) == body(1)
    house.keep()
    assert keys(store, CONTENTS) == []


def test_the_pin_of_a_dead_program_does_not_count(data: Path, store: Store) -> None:
    with pins.hold(data) as path:
        left = path.with_name("left")
        left.touch()
        assert pins.is_held(data)
        assert not left.exists()
    assert not pins.is_held(data)


def test_a_damaged_chunk_is_not_copied_and_heals(store: Store, house: House, data: Path) -> None:
    large = body(1)
    small = large[:900_000] + body(2, 100_000)
    one, two = push(store.blobs, large), push(store.blobs, small, OTHER)
    (path,) = [p for p in data.glob("packs/*/*") if p.stat().st_size > 2_000_000]
    with path.open("r+b") as file:
        file.seek(400_000)
        file.write(b"damage")
    drop(store.blobs, one)
    house.keep()
    run(store, "damaged chunks")
    with pytest.raises(BlobUnknown, match="damaged"):
        store.blobs.open_range(two)
    assert store.statistics().damaged_blobs == 1
    assert push(store.blobs, small, OTHER) == two
    assert pull(store.blobs, two) == small
    house.keep()
    statistics = store.statistics()
    assert (statistics.damaged_blobs, statistics.damaged_chunks) == (0, 0)
    assert not path.exists()


class _Killed(BaseException):
    pass


def test_a_crash_between_any_two_steps_loses_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turn, each write to the index and each unlink is the last one."""
    large = body(1, 1_500_000)
    small = large[:400_000] + body(2, 50_000)
    for last in range(1, 40):
        data = tmp_path / str(last)
        store = Store.open(data, StoreConfig(), clock=clock)
        one, two = push(store.blobs, large), push(store.blobs, small, OTHER)
        drop(store.blobs, one)
        died = _die_after(monkeypatch, last, partial_house(store))
        store.close()
        store = Store.open(data, StoreConfig(), clock=clock)
        assert pull(store.blobs, two) == small
        House(store).keep(4)
        assert pull(store.blobs, two) == small
        assert sorted(files_below(data, "packs")) == sorted(k.hex() for k in keys(store, FILES))
        assert keys(store, FILES_UNOWNED) == []
        with store.engine.read() as transaction:
            live = [Chunk.decode(value) for _, value in transaction.scan(CHUNKS)]
        assert all(chunk.references for chunk in live)
        store.close()
        if not died:
            return
    pytest.fail("it has more steps than this test tries")


def partial_house(store: Store) -> Callable[[], None]:
    return House(store).keep


def _die_after(monkeypatch: pytest.MonkeyPatch, steps: int, work: Callable[[], None]) -> bool:
    """Run `work` and stop after so many steps; return False if there were fewer."""
    left = steps
    write, remove = LmdbEngine.write, disk.remove

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _Killed

    def counted_write(self: LmdbEngine, change: Callable[[WriteTransaction], Any]) -> Any:
        count()
        return write(self, change)

    def counted_remove(path: Path) -> None:
        count()
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(LmdbEngine, "write", counted_write)
        patch.setattr(disk, "remove", counted_remove)
        try:
            work()
        except _Killed:
            return True
    return False


def test_a_full_disk_stops_compaction_and_harms_nothing(
    store: Store, house: House, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    large = body(1)
    small = large[:900_000] + body(2, 100_000)
    one, two = push(store.blobs, large), push(store.blobs, small, OTHER)
    drop(store.blobs, one)

    def fail(descriptor: int) -> None:
        raise StorageFailed("no")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync", fail)
        with pytest.raises(StorageFailed):
            house.keep()
    assert pull(store.blobs, two) == small
    house.keep()
    assert pull(store.blobs, two) == small
    assert sum(packs_of(store)) < 1_200_000
    assert files_below(data, "packs") == sorted(key.hex() for key in keys(store, FILES))


def test_what_needs_no_room_is_freed_on_a_full_disk(
    store: Store, house: House, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    large = body(1)
    small = large[:900_000] + body(2, 100_000)
    one, two = push(store.blobs, large), push(store.blobs, small, OTHER)
    dead = push(store.blobs, body(3))
    drop(store.blobs, one)
    drop(store.blobs, dead)

    def fail(descriptor: int, buffers: object, offset: int) -> int:
        raise StorageFull("no")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_at", fail)
        house.keep()
    assert len(packs_of(store)) == 2, "the dead one is gone, the sparse one is not"
    assert pull(store.blobs, two) == small
    house.keep()
    assert sum(packs_of(store)) < 1_200_000


def test_what_an_upload_named_goes_when_the_upload_does(
    store: Store, house: House, data: Path
) -> None:
    large = body(1)
    digest = push(store.blobs, large)
    upload = store.blobs.begin("some/name")
    upload.append(large[:1_000_000])
    upload.release()
    drop(store.blobs, digest)
    house.keep()
    moved = files_below(data, "packs")
    house.keep()
    assert files_below(data, "packs") == moved, "what is named is copied once"
    store.blobs.resume("some/name", upload.id).cancel()
    house.keep()
    assert files_below(data, "packs") == []
    assert keys(store, CHUNKS) == keys(store, PACKS) == keys(store, PACKS_SPARSE) == []


# ---- obstacles ---------------------------------------------------------------------------------
def make_sparse(store: Store, data: Path, seed: int = 1) -> tuple[Path, bytes]:
    """Make a pack that is mostly garbage; the blob of `OTHER` has chunks in it."""
    large = body(seed, 900_000)
    small = large[:300_000] + body(seed + 50, 20_000)
    before = {path.name for path in data.glob("packs/*/*")}
    one = push(store.blobs, large)
    (path,) = [path for path in data.glob("packs/*/*") if path.name not in before]
    push(store.blobs, small, OTHER)
    drop(store.blobs, one)
    return path, small


@pytest.mark.parametrize("trouble", ["torn", "gone"])
def test_a_pack_that_cannot_be_read_stops_no_other_one(
    store: Store, house: House, data: Path, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    broken, _ = make_sparse(store, data, 1)
    whole, small = make_sparse(store, data, 2)
    if trouble == "torn":
        with broken.open("r+b") as file:
            file.seek(packs.HEADER_SIZE)
            file.write(b"torn")
    else:
        broken.unlink()
    house.keep()
    reason = f"it has no whole record at {packs.HEADER_SIZE}" if trouble == "torn" else "its file"
    assert f"pack {broken.name} cannot be compacted: {reason}" in caplog.text
    assert not whole.exists()
    assert pull(store.blobs, digest_of(small)) == small
    assert keys(store, PACKS_SPARSE) == [], "neither is tried again at every step"


def test_an_upload_of_another_boot_holds_up_nothing(
    tmp_path: Path, clock: Clock, data: Path
) -> None:
    """The upload is void, so it needs none of the chunks that it named."""
    store = Store.open(data, StoreConfig(), clock=clock, boot_id="before")
    large = body(1, 900_000)
    digest = push(store.blobs, large)
    upload = store.blobs.begin("some/name")
    upload.append(large[:600_000])
    upload.release()
    store.close()
    store = Store.open(data, StoreConfig(), clock=clock, boot_id="after")
    drop(store.blobs, digest)
    House(store).keep()
    assert keys(store, CHUNKS) == keys(store, PACKS) == []
    store.close()


def test_an_upload_that_ended_without_its_state_holds_up_nothing(
    store: Store, house: House, data: Path
) -> None:
    """Its removal was interrupted: the parts file is left, and no client can resume it."""
    large = body(1, 900_000)
    digest = push(store.blobs, large)
    upload = store.blobs.begin("some/name")
    upload.append(large[:600_000])
    upload.release()
    (data / "uploads" / f"{upload.id}.state").unlink()
    drop(store.blobs, digest)
    house.keep()
    assert keys(store, CHUNKS) == keys(store, PACKS) == []


def test_a_pack_that_gained_references_meanwhile_is_left_alone(
    store: Store, house: House, data: Path
) -> None:
    """Between the note and the step a push refers to the chunks again: the pack is not sparse any
    more.
    """
    large = body(1, 900_000)
    drop(store.blobs, push(store.blobs, large))
    run(store, "unlinked contents")
    assert len(keys(store, PACKS_SPARSE)) == 1
    push(store.blobs, large)
    before = files_below(data, "packs")
    house.keep()
    assert pull(store.blobs, digest_of(large)) == large
    assert keys(store, PACKS_SPARSE) == []
    assert set(before) >= set(files_below(data, "packs"))
