"""Each rule of the seams is broken once: the scoped engines raise, and work again afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.index.engine import Engine, Table, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.machine import disk
from dtrfast.store.blobs import BlobReader, BlobStore
from dtrfast.store.claims import ContentClaim
from dtrfast.store.store import Store
from tests import scoped, twice
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.scoped import Violation
from tests.store.conftest import digest_of, push

pytestmark = pytest.mark.breaks_rules

LOCAL = Table("local", "local")
LOCAL_TOO = Table("local_too", "local")
SHARED = Table("shared", "shared")


@pytest.fixture(params=["lmdb", "memory"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "memory":
        yield MemoryEngine()
        return
    engine = LmdbEngine(tmp_path, (LOCAL, LOCAL_TOO, SHARED))
    yield engine
    engine.close()


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    if request.param == "memory":
        yield MemoryBlobs(Clock())
        return
    store = Store.open(tmp_path / "data", StoreConfig())
    yield store.blobs
    store.close()


def put(transaction: WriteTransaction, *tables: Table) -> None:
    for table in tables:
        transaction.put(table, b"key", b"value")


def has(engine: Engine, table: Table) -> bool:
    with engine.read() as transaction:
        return transaction.get(table, b"key") is not None


# ---- scopes ------------------------------------------------------------------------------------
USES: dict[str, Callable[[WriteTransaction, Table], object]] = {
    "get": lambda t, table: t.get(table, b"key"),
    "scan": lambda t, table: list(t.scan(table)),
    "get_many": lambda t, table: t.get_many(table, [b"key"]),
    "begun": lambda t, table: t.begun(table, [b"key"]),
    "put": lambda t, table: t.put(table, b"key", b"value"),
    "delete": lambda t, table: t.delete(table, b"key"),
    "pop": lambda t, table: t.pop(table, b"key"),
    "take": lambda t, table: t.take(table, b"key"),
    "add": lambda t, table: t.add(table, b"key", [1]),
    "put_all": lambda t, table: t.put_all(table, [(b"key", b"value")]),
    "delete_all": lambda t, table: t.delete_all(table, [b"key"]),
}


@pytest.mark.parametrize("use", USES)
def test_a_change_keeps_to_tables_of_one_scope(engine: Engine, use: str) -> None:
    def change(transaction: WriteTransaction) -> None:
        transaction.put(LOCAL, b"other", b"value")
        USES[use](transaction, SHARED)

    with pytest.raises(Violation, match=r"tables of both scopes: .*\.change"):
        engine.write(change)
    engine.write(partial(_put, SHARED))
    assert has(engine, SHARED)
    assert not has(engine, LOCAL)


def test_a_snapshot_keeps_to_tables_of_one_scope(engine: Engine) -> None:
    with engine.read() as transaction:
        transaction.get(SHARED, b"key")
        with pytest.raises(Violation, match=r"tables of both scopes: .*keeps_to_tables"):
            transaction.get(LOCAL, b"key")


def test_tables_of_one_scope_go_together(engine: Engine) -> None:
    engine.write(lambda t: put(t, LOCAL, LOCAL_TOO))
    with engine.read() as transaction:
        assert transaction.get(LOCAL, b"key") == transaction.get(LOCAL_TOO, b"key") == b"value"


def test_each_half_of_a_common_commit_keeps_to_its_scope(engine: Engine) -> None:
    local, shared = partial(_put, LOCAL), partial(_put, SHARED)
    engine.write_both(local, shared)
    assert has(engine, LOCAL)
    assert has(engine, SHARED)
    for halves in ((shared, shared), (local, local), (shared, local)):
        with pytest.raises(Violation, match=r"tables of both scopes: .*_put"):
            engine.write_both(*halves)


def _put(table: Table, transaction: WriteTransaction) -> None:
    put(transaction, table)


# ---- nested transactions -----------------------------------------------------------------------
def test_no_transaction_is_opened_inside_of_another(engine: Engine) -> None:
    acts: list[Callable[[], object]] = [
        lambda: has(engine, SHARED),
        lambda: engine.write(partial(_put, SHARED)),
        lambda: engine.write_both(partial(_put, LOCAL), partial(_put, SHARED)),
    ]
    for act in acts:
        with engine.read(), pytest.raises(Violation, match=r"inside a transaction: .* in tests"):
            act()
        with pytest.raises(Violation, match=r"inside a transaction: .* in tests"):
            engine.write(lambda _, act=act: act())  # type: ignore[misc]
        with pytest.raises(Violation, match=r"inside a transaction: .* in tests"):
            engine.write_both(lambda _, act=act: act(), partial(_put, SHARED))  # type: ignore[misc]
    assert scoped.open_names() == []
    assert not has(engine, SHARED)


def test_transactions_may_follow_each_other(engine: Engine) -> None:
    for _ in range(2):
        has(engine, LOCAL)
        has(engine, SHARED)
        engine.write(partial(_put, LOCAL))
        engine.write(partial(_put, SHARED))
    assert scoped.open_names() == []


def test_a_change_that_fails_is_over(engine: Engine) -> None:
    def fail(transaction: WriteTransaction) -> None:
        put(transaction, SHARED)
        raise KeyError("broken")

    with pytest.raises(KeyError):
        engine.write(fail)
    with pytest.raises(KeyError), engine.read() as transaction:
        raise KeyError(transaction.get(SHARED, b"key"))
    assert not has(engine, SHARED)


# ---- bytes -------------------------------------------------------------------------------------
def test_no_bytes_are_read_inside_of_a_transaction(engine: Engine, blobs: BlobStore) -> None:
    reader: BlobReader = blobs.open_range(push(blobs, b"content"))
    with reader:
        with engine.read(), pytest.raises(Violation, match="bytes of a blob inside"):
            list(reader)
        with pytest.raises(Violation, match="bytes of a blob inside"):
            engine.write(lambda _: list(reader))
    with blobs.open_range(push(blobs, b"other")) as reader:
        assert list(reader) != []


def test_the_next_bytes_are_not_read_inside_of_a_transaction(
    engine: Engine, blobs: BlobStore
) -> None:
    with blobs.open_range(push(blobs, b"content" * 100_000)) as reader:
        segments = iter(reader)
        next(segments)
        with engine.read(), pytest.raises(Violation, match="bytes of a blob inside"):
            next(segments)


def test_no_file_is_read_inside_of_a_transaction(engine: Engine, tmp_path: Path) -> None:
    descriptor = disk.create(tmp_path / "file")
    disk.write_at(descriptor, [b"content"], 0)
    acts: list[Callable[[], object]] = [
        lambda: disk.read_at(descriptor, 7, 0),
        lambda: disk.read_into(descriptor, memoryview(bytearray(7)), 0),
    ]
    for act in acts:
        with engine.read(), pytest.raises(Violation, match="bytes of a file inside"):
            act()
        with pytest.raises(Violation, match="bytes of a file inside"):
            engine.write(lambda _, act=act: act())  # type: ignore[misc]
        act()
    os.close(descriptor)


# ---- claims ------------------------------------------------------------------------------------
def test_no_claim_is_taken_inside_of_a_transaction(engine: Engine, tmp_path: Path) -> None:
    """The claim's holder may wait for the index, which the open change locks."""
    digest = digest_of(b"content")
    with ContentClaim(tmp_path / "claims") as claim:
        for take in (claim.add, claim.wait, claim.wait_to_share):
            with engine.read(), pytest.raises(Violation, match="a claim inside a transaction"):
                take(digest)
        assert claim.add(digest)


# ---- programs that go on after an exception ----------------------------------------------------
def test_a_broken_rule_is_remembered_whatever_becomes_of_its_exception(engine: Engine) -> None:
    """The housekeeper logs a failed task and goes on, so the exception alone would fail no test."""
    with suppress(Exception), engine.read():
        has(engine, SHARED)
    (told,) = scoped.broken
    assert "a snapshot inside a transaction" in told


# ---- changes that run twice --------------------------------------------------------------------
def test_changes_over_lmdb_run_twice_and_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice.install(monkeypatch)
    engine = LmdbEngine(tmp_path, (LOCAL, SHARED))
    runs: list[int] = []

    def change(transaction: WriteTransaction) -> int:
        runs.append(1)
        return transaction.take(SHARED, b"key")

    assert engine.write(change) == 1
    assert engine.write_both(partial(_put, LOCAL), change) == 2
    assert len(runs) == 4
    with pytest.raises(Violation):
        engine.write(lambda t: put(t, LOCAL, SHARED))
    engine.close()
