"""Verify reports each inconsistency of the index in a sentence that names the object."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtrfast.index.engine import ReadTransaction, Table, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CHUNK_HASHES,
    CHUNKS,
    COMMITS,
    CONTENTS,
    CONTENTS_UNLINKED,
    PACKS,
    RECIPES,
    STORE,
    number_key,
    number_of,
)
from dtrfast.store import records, statistics
from dtrfast.store.records import Chunk
from dtrfast.store.store import Store
from tests.store.conftest import digest_of, keep_house, push, run
from tests.store.holders import ONE, commit, drop, holders
from tests.store.test_scrub import findings, tell_nobody

Change = Callable[[WriteTransaction], None]

CHUNKED = random.Random(1).randbytes(600_000)
LOOSE = b"\x1f\x8b" + random.Random(2).randbytes(30_000)
INLINE = b"small"


@pytest.fixture
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(records, "CHUNKS_IN_ROW_MAX", 4)  # so that a recipe has several rows
    for body in (CHUNKED, LOOSE, INLINE):
        push(store.blobs, body)
    run(store, "unlinked contents")
    return store


def content_key(transaction: ReadTransaction, body: bytes) -> bytes:
    key = transaction.get(BLOBS, digest_of(body).key())
    assert key is not None
    return key


def lose_content(transaction: WriteTransaction) -> None:
    transaction.delete(CONTENTS, content_key(transaction, LOOSE))


def lose_recipe(transaction: WriteTransaction) -> None:
    transaction.delete(RECIPES, content_key(transaction, INLINE) + number_key(0))


def tear_recipe(transaction: WriteTransaction) -> None:
    key, _ = next(iter(transaction.scan(RECIPES, content_key(transaction, CHUNKED))))
    transaction.delete(RECIPES, key)


def cut_recipe_off(transaction: WriteTransaction) -> None:
    rows = transaction.scan(RECIPES, content_key(transaction, CHUNKED), reverse=True)
    transaction.delete(RECIPES, next(iter(rows))[0])


def change_kind(transaction: WriteTransaction) -> None:
    row = records.inline_row(LOOSE)
    transaction.put(RECIPES, content_key(transaction, LOOSE) + number_key(0), row)


def change_inline_bytes(transaction: WriteTransaction) -> None:
    row = records.inline_row(b"tiny!")
    transaction.put(RECIPES, content_key(transaction, INLINE) + number_key(0), row)


def first_chunk(transaction: ReadTransaction) -> tuple[bytes, Chunk]:
    key, value = next(iter(transaction.scan(CHUNKS)))
    return key, Chunk.decode(value)


def lose_chunk(transaction: WriteTransaction) -> None:
    transaction.delete(CHUNKS, first_chunk(transaction)[0])


def lose_chunk_hash(transaction: WriteTransaction) -> None:
    key, chunk = first_chunk(transaction)
    transaction.delete(CHUNK_HASHES, chunk.hash + key)


def forget_chunk_numbers(transaction: WriteTransaction) -> None:
    """Reset the counter of chunk ids: chunks with greater ids are checked nevertheless."""
    transaction.put(STORE, b"chunk_id", number_key(1))


def lose_pack(transaction: WriteTransaction) -> None:
    transaction.delete(PACKS, next(iter(transaction.scan(PACKS)))[0])


def lose_name_target(transaction: WriteTransaction) -> None:
    transaction.put(BLOBS, digest_of(LOOSE).key(), number_key(1 << 40))


def swap_name_target(transaction: WriteTransaction) -> None:
    transaction.put(BLOBS, digest_of(LOOSE).key(), content_key(transaction, INLINE))


def lose_name(transaction: WriteTransaction) -> None:
    transaction.delete(BLOBS, digest_of(LOOSE).key())


def count_too_many(transaction: WriteTransaction) -> None:
    statistics.add(transaction, loose_blobs=1)


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            lose_content,
            [
                "there is a recipe of content {loose}, which is not there",
                "is of a content that is not there",
                "{loose_digest} names a content that is not there",
            ],
        ),
        (lose_recipe, ["the recipe of {inline_digest} is gone"]),
        (tear_recipe, ["the recipe of content {chunked} has a hole at 0"]),
        (cut_recipe_off, ["the recipe of {chunked_digest} is not as long as the blob"]),
        (change_kind, ["{loose_digest} is loose, and its recipe is of another kind"]),
        (change_inline_bytes, ["{inline_digest} has other bytes in the index"]),
        (lose_chunk, ["chunk {chunk} is named by a recipe, and is not there"]),
        (lose_chunk_hash, ["chunk {chunk} cannot be found by its hash"]),
        (forget_chunk_numbers, ["chunk {chunk} has 0 references, and counts 1"]),
        (lose_pack, ["which is not there"]),
        (lose_name_target, ["{loose_digest} names a content that is not there"]),
        (swap_name_target, ["{loose_digest} names another content"]),
        (lose_name, ["{loose_digest} cannot be found, though its content is there"]),
        (count_too_many, ["loose_blobs are 1, and 2 are counted"]),
    ],
)
def test_a_row_that_does_not_fit_is_told_in_a_sentence(
    full: Store, change: Change, sentences: list[str]
) -> None:
    with full.engine.read() as transaction:
        names: dict[str, object] = {
            "loose": number_of(content_key(transaction, LOOSE)),
            "chunked": number_of(content_key(transaction, CHUNKED)),
            "chunk": number_of(first_chunk(transaction)[0]),
        }
    for body, name in ((LOOSE, "loose"), (INLINE, "inline"), (CHUNKED, "chunked")):
        names[f"{name}_digest"] = str(digest_of(body))
    full.engine.write(change)
    told = findings(full)
    for sentence in sentences:
        assert any(sentence.format(**names) in one for one in told), told


@pytest.mark.parametrize("table", [CONTENTS, CHUNKS, PACKS, RECIPES, COMMITS], ids=str)
@pytest.mark.parametrize("value", [b"\xc1", b"\x03\x01\0"], ids=["type", "length"])
def test_a_row_that_cannot_be_read_is_a_finding(full: Store, table: Table, value: bytes) -> None:
    with full.engine.read() as transaction:
        rows = [
            key
            for key, row in transaction.scan(table)
            if table is not RECIPES or row[0] == records.CHUNKS
        ]
    key = rows[0] if rows else bytes(16)
    full.engine.write(lambda transaction: transaction.put(table, key, value))
    found = findings(full)
    assert any("cannot be read" in one for one in found), found
    sum(full.check_contents())
    full.trace_damage()


def test_content_that_nobody_holds_is_told(full: Store) -> None:
    full.verify(holders(full.blobs).are_held, tell_nobody, pytest.fail)
    holders(full.blobs).held.discard((ONE, digest_of(LOOSE)))
    assert findings(full) == [
        f"no repository holds {digest_of(LOOSE)}, and it is not listed for reclaim"
    ]


def test_a_file_with_another_name_is_told(full: Store, data: Path) -> None:
    (data / "blobs" / "0" / "notes.txt").write_text("mine")
    assert findings(full) == ["notes.txt is not a file of dtrfast"]


def test_a_file_that_goes_while_the_index_is_read_is_not_told(full: Store, data: Path) -> None:
    """An upload that ends removes its file after the check has listed the directories."""
    (kept,) = [path for path in data.glob("blobs/*/*") if path.is_file()]
    leaving = kept.with_name("ab" * 16)
    leaving.write_bytes(b"x")
    told: list[str] = []
    held = holders(full.blobs).are_held
    full.verify(held, lambda what, done, total: leaving.unlink(missing_ok=True), told.append)
    assert told == []


def test_a_blob_that_comes_and_goes_while_the_index_is_read_is_not_told(full: Store) -> None:
    """Its file was listed while an upload owned it. The pin of the check keeps the file."""
    body = b"\x1f\x8b" + random.Random(3).randbytes(30_000)
    upload = full.blobs.begin("some/name")
    upload.append(body)
    upload.save()
    steps: list[str] = []

    def come_and_go(what: str, done: int, total: int) -> None:
        if not steps:
            commit(full.blobs, upload, digest_of(body))
            drop(full.blobs, digest_of(body))
            run(full, "unlinked contents")
        steps.append(what)

    told: list[str] = []
    beside = ThreadPoolExecutor(1)  # in a thread, since a thread may not nest transactions
    full.verify(
        holders(full.blobs).are_held,
        lambda *step: beside.submit(come_and_go, *step).result(),
        told.append,
    )
    beside.shutdown()
    assert told == []
    keep_house(full)
    assert findings(full) == []


def test_a_loose_file_of_another_size_is_told_until_its_blob_is_marked(
    full: Store, data: Path
) -> None:
    """The mark reports it already, and the next push heals the blob."""
    (path,) = [p for p in data.glob("blobs/*/*") if p.is_file()]
    os.truncate(path, 100)
    assert findings(full) == [f"the file of {digest_of(LOOSE)} has 100 bytes instead of 30002"]
    sum(full.check_contents())
    assert full.statistics().damaged_blobs == 1
    assert findings(full) == []


def test_a_content_that_is_leaving_row_by_row_is_in_order(full: Store) -> None:
    """Reclaim was interrupted between two slices of a recipe.

    It goes on later, so this is no fault.
    """
    drop(full.blobs, digest_of(CHUNKED))

    def take_first_row(transaction: WriteTransaction) -> None:
        key, row = next(iter(transaction.scan(RECIPES, content_key(transaction, CHUNKED))))
        transaction.put(CONTENTS_UNLINKED, key[:8], number_key(0))
        for identifier, _ in records.row_parts(row):
            data = transaction.get(CHUNKS, number_key(identifier))
            assert data is not None
            chunk = Chunk.decode(data)
            transaction.put(CHUNKS, number_key(identifier), chunk.referenced(-1).encode())
        transaction.delete(RECIPES, key)

    full.engine.write(take_first_row)
    assert not [told for told in findings(full) if "recipe" in told]
