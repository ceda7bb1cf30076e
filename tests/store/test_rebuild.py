"""A repair uses every pack and loose file that is undamaged, and reports the others."""

from __future__ import annotations

import errno
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.index.tables import CONTENTS, FILES, RECIPES, number_of
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, packs, records
from dtrfast.store.checking import bytes_of
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.store.conftest import digest_of, files_below, push, run
from tests.store.holders import ONE, OTHER, drop, holders
from tests.store.test_scrub import findings

LARGE = random.Random(1).randbytes(600_000)
# Some chunks of `LARGE`, and some of its own.
SHARING = LARGE[:400_000] + random.Random(2).randbytes(100_000)
LOOSE = b"\x1f\x8b" + random.Random(3).randbytes(30_000)


class Repair:
    """A store that loses its index and gets a new one."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self.data, self.clock = data, clock
        self.store = Store.open(data, StoreConfig(), clock=clock)
        self.told: list[str] = []
        self.bytes_read = 0

    def run(self) -> Store:
        self.store.close()
        for path in self.store.layout.index.iterdir():
            path.unlink()
        self.store = Store.begin_repair(self.data, StoreConfig(), clock=self.clock)
        rebuild = self.store.rebuild(self.told.append, self._count)
        rebuild.run()
        rebuild.finish(holders(self.store.blobs).are_held)
        return self.store

    def body(self, digest: Digest) -> bytes | None:
        """Return the bytes of a content, or None if it does not exist."""
        with self.store.engine.read() as transaction:
            found = contents.find(transaction, digest)
        if found is None:
            return None
        return b"".join(bytes_of(self.store._context, found.number, found.content))

    def packs(self) -> list[Path]:
        """Return the packs, the largest first."""
        return sorted(self.data.glob("packs/*/*"), key=lambda path: -path.stat().st_size)

    def _count(self, size: int) -> None:
        self.bytes_read += size


@pytest.fixture
def repair(data: Path, clock: Clock) -> Iterator[Repair]:
    repair = Repair(data, clock)
    yield repair
    repair.store.close()


def test_blobs_of_all_kinds_are_found_in_their_files(repair: Repair) -> None:
    for body in (LARGE, SHARING, LOOSE):
        push(repair.store.blobs, body)
    repair.run()
    assert repair.told == []
    for body in (LARGE, SHARING, LOOSE):
        assert repair.body(digest_of(body)) == body
    sizes = [path.stat().st_size for path in [*repair.packs(), *repair.data.glob("blobs/*/*")]]
    assert repair.bytes_read == sum(sizes)
    assert findings(repair.store) == []


def test_a_file_of_another_name_is_left_alone(repair: Repair) -> None:
    notes = repair.data / "packs" / "0" / "notes.txt"
    notes.write_text("mine")
    repair.run()
    assert repair.told == ["notes.txt is not a file of dtrfast: it was not touched"]
    assert notes.read_text() == "mine"


@pytest.mark.parametrize("trouble", ["header", "name"])
def test_a_pack_with_another_header_or_name_hides_no_other_pack(
    repair: Repair, trouble: str
) -> None:
    push(repair.store.blobs, LARGE)
    other = random.Random(4).randbytes(100_000)
    push(repair.store.blobs, other)
    path = repair.packs()[0]
    if trouble == "header":
        with path.open("r+b") as file:
            file.write(b"damage")
        reason = "a pack does not start with a pack's header"
    else:
        path = path.rename(path.with_name(uuid.uuid4().hex))
        reason = "its header has the id of another pack"
    repair.run()
    assert repair.told == [f"the pack {path.name} cannot be read: {reason}"]
    assert repair.body(digest_of(LARGE)) is None
    assert repair.body(digest_of(other)) == other


def test_the_whole_records_of_a_torn_pack_are_taken(repair: Repair) -> None:
    push(repair.store.blobs, LARGE)
    (path,) = repair.packs()
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"half of a record, longer than a head" * 2)
    repair.run()
    assert repair.told == [
        f"the pack {path.name} ends at {size} of {size + 72} bytes: the rest is torn"
    ]
    assert repair.body(digest_of(LARGE)) == LARGE


def test_a_blob_that_misses_a_chunk_is_told_and_not_made(repair: Repair) -> None:
    push(repair.store.blobs, LARGE)
    push(repair.store.blobs, SHARING)
    repair.packs()[0].unlink()
    repair.run()
    assert repair.told == [f"chunks of {digest_of(SHARING)} are gone"]
    assert repair.body(digest_of(SHARING)) is None
    with repair.store.engine.read() as transaction:
        assert list(transaction.scan(RECIPES)) == []
    assert findings(repair.store) == []


def test_a_blob_that_two_packs_describe_is_made_once(repair: Repair) -> None:
    """The blob was deleted and pushed again before compaction had given up the first pack."""
    push(repair.store.blobs, LARGE)
    push(repair.store.blobs, SHARING, OTHER)
    drop(repair.store.blobs, digest_of(SHARING), OTHER)
    run(repair.store, "unlinked contents")
    push(repair.store.blobs, SHARING, OTHER)
    assert len(repair.packs()) == 3
    repair.run()
    assert repair.told == []
    assert repair.body(digest_of(SHARING)) == SHARING
    with repair.store.engine.read() as transaction:
        numbers = {number_of(key) for key, _ in transaction.scan(RECIPES)}
        assert numbers == {number_of(key) for key, _ in transaction.scan(CONTENTS)}
    assert findings(repair.store) == []


@pytest.mark.parametrize("lost", ["hole", "length", "size"])
def test_a_recipe_that_does_not_fit_its_chunks_is_no_blob(repair: Repair, lost: str) -> None:
    """The record of a pack has a right checksum but does not match the chunks."""
    push(repair.store.blobs, LARGE)
    (path,) = repair.packs()
    _rewrite_recipe(path, lost)
    repair.run()
    assert repair.told == [f"chunks of {digest_of(LARGE)} are gone"]
    assert repair.body(digest_of(LARGE)) is None


def _rewrite_recipe(path: Path, lost: str) -> None:
    """Replace the last record by another recipe."""
    descriptor = disk.open_existing(path, write=True)
    *_, (_, begin), (piece, _) = packs.walk(descriptor, path.stat().st_size)
    assert isinstance(piece, packs.RecipePiece)
    (number, length), *rest = piece.parts
    changed = {
        "hole": packs.RecipePiece(piece.sha256, piece.size, 100, piece.parts),
        "length": packs.RecipePiece(piece.sha256, piece.size, 0, [(number, length + 1), *rest]),
        "size": packs.RecipePiece(piece.sha256, piece.size + 1, 0, piece.parts),
    }
    disk.write_at(descriptor, [packs.recipe_piece(changed[lost])], begin)
    os.close(descriptor)


def test_two_loose_files_with_the_same_bytes_become_one_blob(repair: Repair) -> None:
    """A push that was interrupted after its sync left a second file. Reclaim removes it."""
    push(repair.store.blobs, LOOSE)
    (path,) = [path for path in repair.data.glob("blobs/*/*") if path.is_file()]
    path.with_name(uuid.uuid4().hex[:-1] + path.name[-1]).write_bytes(LOOSE)
    repair.run()
    assert repair.body(digest_of(LOOSE)) == LOOSE
    assert repair.store.statistics().loose_blobs == 1
    run(repair.store, "sparse packs")
    with repair.store.engine.read() as transaction:
        owned = [key.hex() for key, _ in transaction.scan(FILES)]
    assert files_below(repair.data, "blobs") == owned


def test_a_loose_file_that_cannot_be_read_is_told(
    repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(repair.store.blobs, LOOSE)
    (name,) = files_below(repair.data, "blobs")

    def fail(descriptor: int, length: int, offset: int) -> bytes:
        with disk.reported():
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "read_at", fail)
        repair.run()
    (told,) = repair.told
    assert told.startswith(f"the file {name} cannot be read: disk operation failed: Input/output")
    assert repair.body(digest_of(LOOSE)) is None


def test_a_small_blob_that_the_log_names_twice_is_one_content(repair: Repair) -> None:
    store = repair.run()
    for _ in range(2):
        store.add_inline(b"small", 7)
    assert repair.body(digest_of(b"small")) == b"small"
    assert store.statistics().inline_blobs == 1


def test_uploads_do_not_outlive_a_repair(repair: Repair) -> None:
    """The new index may lack the chunks that the uploads share."""
    upload = repair.store.blobs.begin("some/name")
    upload.append(LARGE)
    upload.release()
    repair.run()
    assert files_below(repair.data, "uploads") == []


def test_a_large_recipe_is_taken_in_rows(repair: Repair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNKS_IN_ROW_MAX", 3)
    push(repair.store.blobs, LARGE, ONE)
    repair.run()
    assert repair.body(digest_of(LARGE)) == LARGE
    with repair.store.engine.read() as transaction:
        assert len(list(transaction.scan(RECIPES))) > 2
