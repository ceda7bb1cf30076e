"""An engine of two environments passes the contract except joint commits; scopes stay separate."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import CONTENTS, TABLES, TAGS
from tests.index.engine_contract import EngineContract
from tests.scoped import Violation
from tests.two_environments import TwoEnvironments


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[TwoEnvironments]:
    engine = TwoEnvironments(tmp_path, TABLES)
    yield engine
    engine.close()


@pytest.mark.long
class TestTwoEnvironments(EngineContract):
    pass


def test_it_commits_nothing_together(engine: TwoEnvironments) -> None:
    assert not engine.is_joint
    with pytest.raises(NotImplementedError):
        engine.write_both(lambda t: None, lambda t: None)


def test_each_scope_has_an_environment(tmp_path: Path) -> None:
    engine = TwoEnvironments(tmp_path, TABLES)
    for table in (CONTENTS, TAGS):
        engine.write(lambda t, table=table: t.put(table, b"k", table.name.encode()))  # type: ignore[misc]
    engine.close()
    for table, place in ((CONTENTS, tmp_path), (TAGS, tmp_path / "shared")):
        half = LmdbEngine(place, TABLES)
        with half.read() as transaction:
            assert transaction.get(table, b"k") == table.name.encode()
        with half.read() as transaction:
            other = TAGS if table is CONTENTS else CONTENTS
            assert transaction.get(other, b"k") is None
        half.close()


@pytest.mark.parametrize("tables", [(CONTENTS, TAGS), (TAGS, CONTENTS)])
def test_both_scopes_in_one_change_or_snapshot_are_refused(
    engine: TwoEnvironments, tables: tuple[Table, Table]
) -> None:
    def change(transaction: WriteTransaction) -> None:
        for table in tables:
            transaction.put(table, b"k", b"v")

    with pytest.raises(Violation, match="both scopes"):
        engine.write(change)
    with engine.read() as transaction:
        assert transaction.get(tables[0], b"k") is None
        with pytest.raises(Violation, match="both scopes"):
            transaction.get(tables[1], b"k")


def test_a_function_may_go_to_either(engine: TwoEnvironments) -> None:
    for table in (CONTENTS, TAGS, CONTENTS, CONTENTS):
        assert engine.write(partial(_count, table=table)) is None
    counted = []
    for table in (CONTENTS, TAGS):
        with engine.read() as transaction:
            counted.append(transaction.get(table, b"count"))
    assert counted == [b"xxx", b"x"]


def _count(transaction: WriteTransaction, table: Table) -> None:
    transaction.put(table, b"count", (transaction.get(table, b"count") or b"") + b"x")


def test_a_snapshot_ends_with_its_block(engine: TwoEnvironments) -> None:
    with engine.read() as transaction:
        pass
    with pytest.raises(Violation, match="after its end"):
        transaction.get(TAGS, b"k")
