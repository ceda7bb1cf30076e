"""The change log has every committed change, and survives interruptions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dtrfast.errors import StorageFailed
from dtrfast.index import changes
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import CHANGES
from dtrfast.machine import disk
from dtrfast.registry.pending_changes import drain
from dtrfast.store import change_log
from dtrfast.store.change_log import ChangeLog
from tests.fakes.engine import MemoryEngine


@pytest.fixture
def engine() -> Engine:
    return MemoryEngine()


def record(engine: Engine, count: int, body: bytes = b"") -> None:
    def change(transaction: WriteTransaction) -> None:
        for number in range(count):
            changes.record(
                transaction,
                "tag.set",
                time=7,
                actor="alice",
                repository="a/b",
                payload={"tag": str(number), "body": body},
            )

    engine.write(change)


def waiting(engine: Engine) -> int:
    with engine.read() as transaction:
        return sum(1 for _ in transaction.scan(CHANGES))


def sequences(directory: Path) -> list[int]:
    return [change.sequence for change in change_log.read(directory)]


def test_changes_come_back_as_they_were_recorded(engine: Engine, tmp_path: Path) -> None:
    record(engine, 1200, b"\x00\xff")
    log = ChangeLog(tmp_path)
    assert drain(engine, log.append) == 1200
    log.close()
    assert waiting(engine) == 0
    found = list(change_log.read(tmp_path))
    assert [change.sequence for change in found] == list(range(1, 1201))
    assert found[3].payload == {"tag": "3", "body": b"\x00\xff"}
    assert (found[3].kind, found[3].actor, found[3].repository) == ("tag.set", "alice", "a/b")


def test_a_log_that_is_opened_again_goes_on(engine: Engine, tmp_path: Path) -> None:
    for _ in range(3):
        record(engine, 2)
        log = ChangeLog(tmp_path)
        drain(engine, log.append)
        log.close()
    assert sequences(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(5))
def test_a_torn_end_hides_nothing(engine: Engine, tmp_path: Path, seed: int) -> None:
    record(engine, 5)
    log = ChangeLog(tmp_path)
    drain(engine, log.append)
    log.close()
    (path,) = tmp_path.glob("*.log")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: random.Random(seed).randint(1, 60)])
    record(engine, 2)
    log = ChangeLog(tmp_path)
    drain(engine, log.append)
    log.close()
    assert sequences(tmp_path) == list(range(1, 8))


def test_nothing_is_written_behind_a_sync_that_failed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync the content of the file is unknown. Here it is lost."""
    record(engine, 2)
    log = ChangeLog(tmp_path)
    drain(engine, log.append)
    record(engine, 3)

    def fail(descriptor: int) -> None:
        raise StorageFailed("no")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "sync", fail)
        with pytest.raises(StorageFailed):
            drain(engine, log.append)
    assert waiting(engine) == 3
    (damaged,) = tmp_path.glob("*.log")
    damaged.write_bytes(damaged.read_bytes()[:-30])
    record(engine, 1)
    drain(engine, log.append)
    log.close()
    assert waiting(engine) == 0
    assert sequences(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_large_changes_are_taken_a_few_at_a_time(engine: Engine, tmp_path: Path) -> None:
    record(engine, 10, bytes(1 << 20))
    log = ChangeLog(tmp_path)
    with engine.read() as transaction:
        assert len(changes.oldest(transaction)) <= 5
    assert drain(engine, log.append) == 10
    log.close()


def test_a_full_file_is_followed_by_another(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_log, "_FILE_SIZE_MAX", 1000)
    log = ChangeLog(tmp_path)
    for _ in range(10):
        record(engine, 5)
        drain(engine, log.append)
    log.close()
    assert len(list(tmp_path.glob("*.log"))) > 2
    assert sequences(tmp_path) == list(range(1, 51))
