"""Damage marks: set on every affected blob, reported once, removed when the bytes are back."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from dtrfast.errors import BlobUnknown, Corrupt, FormatUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import CHUNKS, CONTENTS, PACKS, RECIPES, number_of
from dtrfast.machine import disk
from dtrfast.store import checking, damage, records
from dtrfast.store.packs import HEADER_SIZE
from dtrfast.store.records import Chunk
from dtrfast.store.store import Store
from tests.store.conftest import pull, push, read_all, run
from tests.store.holders import OTHER, drop
from tests.store.test_scrub import spoil

BODY = random.Random(1).randbytes(600_000)
# The same chunks, followed by some more.
LONGER = BODY + random.Random(2).randbytes(200_000)


def first_pack(store: Store) -> int:
    with store.engine.read() as transaction:
        return number_of(next(iter(transaction.scan(PACKS)))[0])


def chunks(store: Store) -> list[tuple[int, Chunk]]:
    with store.engine.read() as transaction:
        rows = list(transaction.scan(CHUNKS))
    return [(number_of(key), Chunk.decode(value)) for key, value in rows]


def listed(store: Store) -> list[str]:
    with store.engine.read() as transaction:
        return [one.subject for one in damage.listed(transaction, 10)]


def overwrite(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"damage")


def check_pack(store: Store, number: int | None = None) -> int:
    """Check one pack, by default the first; return the number of bytes read."""
    number = first_pack(store) if number is None else number
    return sum(checking.check_pack(store._context, number))


# ---- packs -------------------------------------------------------------------------------------
def test_a_damaged_chunk_marks_every_blob_that_has_it(store: Store, data: Path) -> None:
    one, two = push(store.blobs, BODY), push(store.blobs, LONGER, OTHER)
    apart = push(store.blobs, random.Random(3).randbytes(200_000))
    path = max(data.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    overwrite(path, 5000)
    check_pack(store)
    assert store.statistics().damaged_chunks == 1
    assert store.trace_damage() == 2
    for digest in (one, two):
        with pytest.raises(BlobUnknown, match="the blob is damaged: push it again"):
            store.blobs.stat(digest)
    assert store.blobs.stat(apart).size == 200_000
    assert store.trace_damage() == 0, "a chunk is traced once"


def test_a_chunk_that_can_be_read_again_loses_its_mark(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = push(store.blobs, BODY)
    read_at = disk.read_at

    def fail(descriptor: int, length: int, offset: int) -> bytes:
        if length < 16_000:  # heads of records are smaller than all chunks but the last one
            return read_at(descriptor, length, offset)
        with disk.reported():
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "read_at", fail)
        check_pack(store)
    assert store.statistics().damaged_chunks > 0
    with pytest.raises(Corrupt, match="damaged: push the blob again"):
        pull(store.blobs, digest)
    check_pack(store)
    assert store.statistics().damaged_chunks == 0
    assert listed(store) == []
    assert pull(store.blobs, digest) == BODY


def test_being_out_of_memory_while_checking_a_pack_marks_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store.blobs, BODY)

    def fail(codec: int, stored: bytes, length: int) -> bytes:
        with disk.reported():
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr("dtrfast.store.codec.decode", fail)
        with pytest.raises(Exception, match="Cannot allocate memory"):
            check_pack(store)
    assert store.statistics().damaged_chunks == 0


def test_a_damaged_chunk_that_no_blob_needs_is_not_listed_and_not_shared(
    store: Store, data: Path
) -> None:
    """Its blob was deleted, and compaction has not run yet."""
    digest = push(store.blobs, BODY)
    drop(store.blobs, digest)
    run(store, "unlinked contents")
    spoil(data)
    check_pack(store)
    assert listed(store) == []
    assert store.statistics().damaged_chunks == 0
    assert pull(store.blobs, push(store.blobs, BODY)) == BODY


def test_a_pack_that_was_freed_meanwhile_is_no_damage(store: Store, data: Path) -> None:
    push(store.blobs, BODY)
    assert check_pack(store, 1 << 40) == 0
    (path,) = data.glob("packs/*/*")
    path.unlink()
    assert check_pack(store) == 0
    assert store.statistics().damaged_chunks == 0


def test_a_blob_whose_pack_is_gone_is_marked(store: Store, data: Path) -> None:
    digest = push(store.blobs, BODY)
    (path,) = data.glob("packs/*/*")
    path.unlink()
    store._context.chunk_files.drop_unlinked()
    sum(store.check_contents())
    assert str(digest) in listed(store)
    with pytest.raises(BlobUnknown, match="damaged"):
        store.blobs.stat(digest)


def test_a_pack_with_a_torn_record_is_logged(
    store: Store, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    push(store.blobs, BODY)
    (path,) = data.glob("packs/*/*")
    overwrite(path, HEADER_SIZE)
    check_pack(store)
    assert f"pack {path.name} has no whole record at {HEADER_SIZE}" in caplog.text


# ---- reports -----------------------------------------------------------------------------------
def test_each_damage_is_told_once(store: Store, data: Path) -> None:
    digest = push(store.blobs, BODY)
    spoil(data)
    sum(store.check_contents())

    def take(limit: int) -> list[str]:
        found = store.engine.write(lambda transaction: damage.take_untold(transaction, limit))
        return [one.subject for one in found]

    first, second = take(1), take(10)
    assert {*first, *second} == {str(digest), f"chunk {chunks(store)[0][0]}"}
    assert take(10) == []
    assert len(listed(store)) == 2, "they stay in the list"


# ---- reading -----------------------------------------------------------------------------------
def content_key(transaction: WriteTransaction) -> bytes:
    return next(iter(transaction.scan(CONTENTS)))[0]


def lose_recipe(transaction: WriteTransaction) -> None:
    for key, _ in list(transaction.scan(RECIPES)):
        transaction.delete(RECIPES, key)


def tear_recipe(transaction: WriteTransaction) -> None:
    """Cut the last chunk off the only row."""
    key, row = next(iter(transaction.scan(RECIPES)))
    transaction.put(RECIPES, key, records.chunks_row(records.row_parts(row)[:-1]))


def lose_chunk(transaction: WriteTransaction) -> None:
    transaction.delete(CHUNKS, next(iter(transaction.scan(CHUNKS)))[0])


def lose_pack(transaction: WriteTransaction) -> None:
    transaction.delete(PACKS, next(iter(transaction.scan(PACKS)))[0])


def cut_row(transaction: WriteTransaction) -> None:
    key, row = next(iter(transaction.scan(RECIPES)))
    transaction.put(RECIPES, key, row[:-1])


def use_older_row_version(transaction: WriteTransaction) -> None:
    key, row = next(iter(transaction.scan(RECIPES)))
    transaction.put(RECIPES, key, row[:1] + b"\0" + row[2:])


def use_newer_row_version(transaction: WriteTransaction) -> None:
    key, row = next(iter(transaction.scan(RECIPES)))
    transaction.put(RECIPES, key, row[:1] + b"\x02" + row[2:])


def use_newer_row_type(transaction: WriteTransaction) -> None:
    key, row = next(iter(transaction.scan(RECIPES)))
    transaction.put(RECIPES, key, b"\x09" + row[1:])


def use_newer_chunk_version(transaction: WriteTransaction) -> None:
    key, value = next(iter(transaction.scan(CHUNKS)))
    transaction.put(CHUNKS, key, b"\x02" + value[1:])


def use_newer_content_version(transaction: WriteTransaction) -> None:
    key = content_key(transaction)
    value = transaction.get(CONTENTS, key)
    assert value is not None
    transaction.put(CONTENTS, key, value[:1] + b"\x02" + value[2:])


def garble_content(transaction: WriteTransaction) -> None:
    transaction.put(CONTENTS, content_key(transaction), b"\xc1")


def lose_content(transaction: WriteTransaction) -> None:
    transaction.delete(CONTENTS, content_key(transaction))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose_recipe, "the recipe of .* is gone or has a hole"),
        (tear_recipe, "the recipe of .* has a hole at"),
        (lose_chunk, "a chunk of .* is not in the index"),
        (lose_pack, "a pack of .* is not on the disk: restore it"),
        (cut_row, "a recipe row has half a chunk"),
        (use_older_row_version, "a recipe row cannot be read"),
        (garble_content, "a content record cannot be read"),
        (lose_content, "the index has .* without its content: run `dtrfast repair`"),
    ],
)
def test_a_blob_that_cannot_be_put_together_is_corrupt_and_says_why(
    store: Store, change: Callable[[WriteTransaction], None], message: str
) -> None:
    digest = push(store.blobs, BODY)
    store._context.chunk_files.close()
    store.engine.write(change)
    with pytest.raises(Corrupt, match=message):
        pull(store.blobs, digest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (use_newer_row_version, "a recipe row has version 2: run a newer dtrfast"),
        (use_newer_row_type, "a recipe row has an unknown type: run a newer dtrfast"),
        (use_newer_chunk_version, "a chunk record has version 2: run a newer dtrfast"),
        (use_newer_content_version, "a content record has version 2: run a newer dtrfast"),
    ],
)
def test_a_row_of_a_newer_version_is_no_damage(
    store: Store, change: Callable[[WriteTransaction], None], message: str
) -> None:
    digest = push(store.blobs, BODY)
    store.engine.write(change)
    with pytest.raises(FormatUnknown, match=message):
        pull(store.blobs, digest)
    sum(store.check_contents())
    assert store.blobs.sizes([digest]) is not None
    assert store.statistics().damaged_blobs == 0


def test_a_loose_blob_whose_file_is_gone_is_to_be_pushed_again(store: Store, data: Path) -> None:
    body = b"\x1f\x8b" + BODY[:30_000]
    digest = push(store.blobs, body)
    (path,) = [path for path in data.glob("blobs/*/*") if path.is_file()]
    path.unlink()
    with pytest.raises(Corrupt, match="is not on the disk: push it again"):
        read_all(store.blobs.open_range(digest))
    assert pull(store.blobs, push(store.blobs, body)) == body


def test_a_chunk_of_another_length_is_corrupt(store: Store) -> None:
    digest = push(store.blobs, b"the same again and again " * 20_000)

    def lengthen(transaction: WriteTransaction) -> None:
        for key, value in list(transaction.scan(CHUNKS)):
            chunk = Chunk.decode(value)
            longer = msgspec.structs.replace(chunk, length=chunk.length + 1)
            transaction.put(CHUNKS, key, longer.encode())

    store.engine.write(lengthen)
    with pytest.raises(Corrupt, match=r"decompresses to \d+ bytes instead of"):
        pull(store.blobs, digest)
