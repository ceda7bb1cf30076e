"""Damage is found, reported, never served, and healed by the next push of the same content."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest

from dtrfast.config import StoreConfig
from dtrfast.errors import BlobUnknown
from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CHUNKS,
    CONTENTS,
    PACKS,
    RECIPES,
)
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import damage, scrub
from dtrfast.store.limits import StoreLimits
from dtrfast.store.records import Chunk, decode_pack, encode
from dtrfast.store.scrub import Scrub
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.store.conftest import digest_of, keep_house, pull, push
from tests.store.holders import OTHER, commit, drop, holders

KINDS = {
    "loose": b"\x1f\x8b" + random.Random(1).randbytes(300_000),
    "chunked": random.Random(2).randbytes(900_000),
    "compressed": b"the same again and again " * 20_000,
}


def tell_nobody(what: str, done: int, total: int) -> None:
    return None


def findings(store: Store) -> list[str]:
    told: list[str] = []
    store.verify(holders(store.blobs).are_held, tell_nobody, told.append)
    return told


def first_byte(store: Store) -> int:
    """Return the offset of the first chunk; for a loose blob, of any byte."""
    with store.engine.read() as transaction:
        chunks = [Chunk.decode(value) for _, value in transaction.scan(CHUNKS)]
    return chunks[0].offset + 10 if chunks else 500


def spoil(data: Path, offset: int = 5000) -> None:
    """Change one byte of the only data file."""
    (path,) = [p for p in data.glob("[bp]*/*/*") if p.is_file()]
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(1)
        file.seek(offset)
        file.write(bytes([old[0] ^ 1]))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found_never_served_and_healed(store: Store, data: Path, kind: str) -> None:
    body = KINDS[kind]
    digest = push(store.blobs, body)
    push(store.blobs, body, OTHER)
    assert sum(store.check_contents()) >= len(body)
    assert store.statistics().damaged_blobs == 0
    spoil(data, first_byte(store))
    sum(store.check_contents())
    store.trace_damage()
    with pytest.raises(BlobUnknown, match="push it again"):
        store.blobs.open_range(digest)
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digest)
    with pytest.raises(BlobUnknown):
        store.blobs.peek(digest)
    assert store.blobs.sizes([digest]) == {digest: len(body)}
    assert store.statistics().damaged_blobs == 1
    with store.engine.read() as transaction:
        assert str(digest) in {one.subject for one in damage.listed(transaction, 10)}
    push(store.blobs, body)
    assert pull(store.blobs, digest) == body
    assert pull(store.blobs, digest) == body, "healed wherever it is held"
    for _ in range(3):
        keep_house(store)
    statistics = store.statistics()
    assert (statistics.damaged_blobs, statistics.damaged_chunks, statistics.blobs) == (0, 0, 1)
    assert findings(store) == []


def test_a_damaged_blob_can_be_deleted(store: Store, data: Path) -> None:
    digest = push(store.blobs, KINDS["loose"])
    spoil(data)
    sum(store.check_contents())
    drop(store.blobs, digest)
    keep_house(store)
    assert store.statistics().damaged_blobs == 0


def test_a_push_after_the_damage_shares_no_damaged_chunk(store: Store, data: Path) -> None:
    body = KINDS["chunked"]
    push(store.blobs, body)
    spoil(data)
    also = push(store.blobs, body[-400_000:] + b"x", OTHER)
    sum(store.check_contents())
    assert store.trace_damage() == 0, "the digests have told already"
    with store.engine.read() as transaction:
        subjects = {one.subject for one in damage.listed(transaction, 10)}
    assert str(digest_of(body)) in subjects
    assert str(also) not in subjects


def test_a_disk_that_cannot_be_read_is_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = push(store.blobs, KINDS["loose"])

    def fail(descriptor: int, length: int, offset: int) -> bytes:
        with disk.reported():
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "read_at", fail)
        sum(store.check_contents())
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digest)
    sum(store.check_contents())
    assert pull(store.blobs, digest) == KINDS["loose"], "it got over it"
    assert store.statistics().damaged_blobs == 0


def test_being_out_of_files_is_no_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = push(store.blobs, KINDS["loose"])

    def fail(path: Path, **options: bool) -> int:
        with disk.reported():
            raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "open_existing", fail)
        with pytest.raises(Exception, match="Too many open files"):
            sum(store.check_contents())
    assert pull(store.blobs, digest) == KINDS["loose"]


def test_scrub_keeps_its_rate_and_goes_on_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    store = Store.open(tmp_path / "data", StoreConfig(), clock=clock)
    digests = [
        push(store.blobs, b"\x1f\x8b" + random.Random(n).randbytes(400_000)) for n in range(8)
    ]
    store.set_limits(lambda: StoreLimits(scrub_bytes_per_second=100_000))
    time = Clock(0)
    read = 0
    for part in range(2):
        one = Scrub(store._context, time)
        for _ in range(60 if part else 20):
            time.advance(1)
            read += one.step()
    assert sum(400_002 for _ in digests) <= read <= 1.5 * 3_200_016
    with store.engine.read() as transaction:
        done = scrub.read(transaction)
    assert done.phase == 2
    one = Scrub(store._context, time)
    time.advance(1)
    assert one.step() == 0, "not again before its days are over"
    clock.advance(30 * 86_400)
    time.advance(1)
    assert one.step() > 0
    store.close()


def test_a_round_goes_on_after_an_error(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        push(store.blobs, b"\x1f\x8b" + random.Random(n).randbytes(400_000))
    time = Clock(0)
    one = Scrub(store._context, time)
    failing = iter((False, True))
    opened = disk.open_existing

    def fail(path: Path, **options: bool) -> int:
        if next(failing, False):
            with disk.reported():
                raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, **options)

    monkeypatch.setattr(disk, "open_existing", fail)
    time.advance(1)
    with pytest.raises(Exception, match="Too many open files"):
        one.step()
    for _ in range(3):
        time.advance(1)
        one.step()
    with store.engine.read() as transaction:
        assert scrub.read(transaction).bytes >= 1_600_008, "all of them were read"


# ---- verify ------------------------------------------------------------------------------------
@pytest.fixture
def full(store: Store) -> Store:
    for body in KINDS.values():
        push(store.blobs, body)
    push(store.blobs, b"small")
    keep_house(store)
    return store


def test_a_store_in_order_has_no_findings(full: Store) -> None:
    assert findings(full) == []


def change(store: Store, work: Any) -> None:
    store.engine.write(work)


def first(transaction: WriteTransaction, table: Table) -> tuple[bytes, bytes]:
    return next(iter(transaction.scan(table, limit=1)))


@pytest.mark.parametrize("table", [BLOBS, CHUNKS, CONTENTS, PACKS, RECIPES])
def test_a_row_that_is_gone_is_found(full: Store, table: Any) -> None:
    def lose(transaction: WriteTransaction) -> None:
        transaction.delete(table, first(transaction, table)[0])

    change(full, lose)
    assert findings(full)


def test_a_wrong_count_is_found(full: Store) -> None:
    def spoil_counts(transaction: WriteTransaction) -> None:
        key, value = first(transaction, CHUNKS)
        transaction.put(CHUNKS, key, Chunk.decode(value).referenced(1).encode())
        key, value = first(transaction, PACKS)
        pack = decode_pack(value)
        transaction.put(PACKS, key, encode(type(pack)(1, pack.file_id, pack.size, 7, 0)))

    change(full, spoil_counts)
    found = " ".join(findings(full))
    assert "references" in found
    assert "live bytes" in found


def test_files_that_are_missing_short_or_unowned_are_found(full: Store, data: Path) -> None:
    paths = sorted(p for p in data.glob("[bp]*/*/*") if p.is_file())
    loose = next(p for p in paths if p.parts[-3] == "blobs")
    packs = [p for p in paths if p.parts[-3] == "packs"]
    packs.sort(key=lambda path: -path.stat().st_size)
    loose.unlink()
    os.truncate(packs[0], 1000)
    (data / "packs" / "b" / ("ab" * 16)).write_bytes(b"x")
    found = " ".join(findings(full))
    assert "0 bytes instead of" in found
    assert "missing or too short" in found
    assert "belongs to nothing" in found


def test_verify_beside_pushes_finds_nothing(full: Store) -> None:
    upload = full.blobs.begin("a")
    upload.append(KINDS["chunked"][:500_000])
    assert findings(full) == []
    commit(full.blobs, upload, Digest.of_bytes(KINDS["chunked"][:500_000]), OTHER)
    upload.release()
    assert findings(full) == []
