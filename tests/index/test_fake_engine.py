"""The in-memory engine passes the contract and detects callers that break its rules."""

from __future__ import annotations

import pytest

from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import TAGS
from tests.fakes.engine import MemoryEngine
from tests.index.engine_contract import JointContract


@pytest.fixture
def engine() -> Engine:
    return MemoryEngine()


class TestMemoryEngine(JointContract):
    pass


def test_each_change_runs_twice(engine: Engine) -> None:
    runs: list[int] = []
    engine.write(lambda t: runs.append(1))
    assert len(runs) == 2


@pytest.mark.breaks_rules
def test_a_write_inside_a_transaction_is_caught(engine: Engine) -> None:
    with engine.read(), pytest.raises(AssertionError, match="inside"):
        engine.write(lambda t: None)


def test_a_write_during_a_scan_is_caught(engine: Engine) -> None:
    def change(transaction: WriteTransaction) -> None:
        transaction.put(TAGS, b"a", b"")
        transaction.put(TAGS, b"b", b"")
        for key, _ in transaction.scan(TAGS):
            transaction.delete(TAGS, key)

    with pytest.raises(AssertionError, match="during a scan"):
        engine.write(change)


def test_a_transaction_used_after_its_end_is_caught(engine: Engine) -> None:
    with engine.read() as transaction:
        pass
    with pytest.raises(AssertionError, match="after its end"):
        transaction.get(TAGS, b"a")
