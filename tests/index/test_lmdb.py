"""LMDB passes the contract, in groups, over processes, and when the disk is full."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import pytest

from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import META, TABLES, TAGS
from tests.index.engine_contract import EngineContract
from tests.server.conftest import eventually


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LmdbEngine]:
    engine = LmdbEngine(tmp_path, TABLES)
    yield engine
    engine.close()


class TestLmdbEngine(EngineContract):
    pass


def test_the_kernel_reads_only_the_pages_that_are_asked_for(
    engine: LmdbEngine, tmp_path: Path
) -> None:
    """proc(5): the flag of a mapping that is advised to be read at random is rr."""
    _, _, maps = Path("/proc/self/smaps").read_text().partition(str(tmp_path / "data.mdb"))
    flags = next(line for line in maps.splitlines() if line.startswith("VmFlags:"))
    assert "rr" in flags.split()


def test_changes_that_wait_are_committed_together_and_fail_alone(engine: LmdbEngine) -> None:
    """While one change holds the writer's lock, others queue up: they form a group."""
    entered, go = threading.Event(), threading.Event()

    def slow(transaction: WriteTransaction) -> int:
        entered.set()
        assert go.wait(10)
        transaction.put(TAGS, b"slow", b"")
        return -1

    def change(number: int) -> int:
        def put(transaction: WriteTransaction) -> int:
            transaction.put(TAGS, b"n%03d" % number, b"")
            if number % 3 == 0:
                raise LookupError(number)
            return number

        return engine.write(put)

    with ThreadPoolExecutor(32) as pool:
        first = pool.submit(engine.write, slow)
        assert entered.wait(10)
        others = [pool.submit(change, number) for number in range(30)]
        while len(engine._jobs) < 30:  # each has taken its place in the queue
            threading.Event().wait(0.001)
        go.set()
        assert first.result() == -1
        for number, other in enumerate(others):
            error = other.exception()
            assert isinstance(error, LookupError) if number % 3 == 0 else other.result() == number
    with engine.read() as transaction:
        keys = [key for key, _ in transaction.scan(TAGS, b"n")]
    assert keys == [b"n%03d" % number for number in range(30) if number % 3]


def test_the_lead_is_handed_over_and_who_is_done_goes_on(
    engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtrfast.index.lmdb.GROUP_PUTS_MAX", 2)
    gates = {name: (threading.Event(), threading.Event()) for name in (b"first", b"last")}

    def put(key: bytes) -> bytes:
        def change(transaction: WriteTransaction) -> bytes:
            if key in gates:
                entered, go = gates[key]
                entered.set()
                assert go.wait(10)
            transaction.put(TAGS, key, b"")
            return key

        return engine.write(change)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(put, b"first")
        assert gates[b"first"][0].wait(10)
        others = []
        for key in (b"second", b"third", b"last"):
            others.append(pool.submit(put, key))
            while len(engine._jobs) < len(others):
                threading.Event().wait(0.001)
        gates[b"first"][1].set()
        assert gates[b"last"][0].wait(10)
        assert [first.result(10), *(other.result(10) for other in others[:2])] == [
            b"first",
            b"second",
            b"third",
        ]
        gates[b"last"][1].set()
        assert others[2].result(10) == b"last"


def test_what_was_committed_is_there_when_opened_again(tmp_path: Path) -> None:
    first = LmdbEngine(tmp_path, TABLES)
    first.write(lambda t: t.put(TAGS, b"a", b"1"))
    first.close()
    second = LmdbEngine(tmp_path, TABLES)
    with second.read() as transaction:
        assert transaction.get(TAGS, b"a") == b"1"
    second.close()


_COUNT = """
import sys
from pathlib import Path
from dtrfast.index import counters
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import META, TABLES
engine = LmdbEngine(Path(sys.argv[1]), TABLES)
for _ in range(50):
    print(engine.write(lambda t: counters.take(t, META, b"test")))
"""


def test_several_processes_write_to_one_index(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", _COUNT, str(tmp_path)]
    children = [
        subprocess.Popen(
            arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        for _ in range(3)
    ]
    numbers = [int(line) for child in children for line in child.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 151))


def test_a_reader_that_died_is_freed(tmp_path: Path, engine: LmdbEngine) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dtrfast.index.lmdb import LmdbEngine;"
        "from dtrfast.index.tables import TABLES;"
        "e = LmdbEngine(Path(sys.argv[1]), TABLES); r = e.read(); r.__enter__(); os._exit(9)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[2]
    )
    assert engine.check_readers() == 1


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not an index" * 1000)
    with pytest.raises(Corrupt, match="damaged"):
        LmdbEngine(tmp_path, TABLES)


def test_an_oversized_key_is_refused_and_nothing_is_written(engine: Engine) -> None:
    def change(transaction: WriteTransaction) -> None:
        transaction.put(META, b"a", b"1")
        transaction.put(META, b"k" * 512, b"1")

    with pytest.raises(ValueError, match="511"):
        engine.write(change)
    with engine.read() as transaction:
        assert transaction.get(META, b"a") is None


def test_a_write_that_cannot_begin_ends(
    engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a disk failed under the environment: each caller is told, nobody waits for ever."""

    class Failing:
        def begin(self, **options: object) -> None:
            raise lmdb.Error("no")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_environment", Failing())
        for _ in range(2):
            with pytest.raises(StorageFailed):
                engine.write(lambda t: None)
    engine.write(lambda t: t.put(TAGS, b"a", b"1"))


def test_the_changes_of_a_group_are_counted_each(engine: LmdbEngine) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(transaction: WriteTransaction) -> None:
        entered.set()
        go_on.wait(20)

    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(engine.write, hold)]
        assert entered.wait(20)
        futures += [
            pool.submit(engine.write, lambda transaction: transaction.put(META, b"a", b"b"))
            for _ in range(5)
        ]
        eventually(lambda: len(engine._jobs) == 5)
        go_on.set()
        for future in futures:
            future.result()
    commits, changes, seconds = engine.commits()
    assert (commits, changes) == (2, 6)
    assert seconds > 0
