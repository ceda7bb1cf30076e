"""The contract of all engines. A subclass provides the fixture `engine`, an empty one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dtrfast.index import counters
from dtrfast.index.engine import KEY_SIZE_MAX, Engine, Table, WriteTransaction
from dtrfast.index.tables import CONTENTS as LOCAL
from dtrfast.index.tables import MANIFESTS as OTHER
from dtrfast.index.tables import TAGS as TABLE

Pairs = list[tuple[bytes, bytes]]

KEYS = [
    b"a",
    b"a\x00",
    b"aa",
    b"ab",
    b"ab\xff",
    b"ab\xff\xff",
    b"b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff",
]


def put_all(engine: Engine, keys: list[bytes], table: Table = TABLE) -> None:
    def change(transaction: WriteTransaction) -> None:
        for key in keys:
            transaction.put(table, key, b"=" + key)

    engine.write(change)


def scan_keys(
    engine: Engine,
    prefix: bytes = b"",
    *,
    after: bytes | None = None,
    limit: int | None = None,
    reverse: bool = False,
) -> list[bytes]:
    with engine.read() as transaction:
        rows = transaction.scan(TABLE, prefix, after=after, limit=limit, reverse=reverse)
        pairs = [(bytes(key), bytes(value)) for key, value in rows]
    assert all(value == b"=" + key for key, value in pairs)
    return [key for key, _ in pairs]


def get(engine: Engine, key: bytes, table: Table = TABLE) -> bytes | None:
    with engine.read() as transaction:
        return transaction.get(table, key)


def increment(transaction: WriteTransaction) -> int:
    value = int(transaction.get(TABLE, b"count") or b"0") + 1
    transaction.put(TABLE, b"count", b"%d" % value)
    return value


class EngineContract:
    """The tests. A subclass provides the fixture `engine`."""

    # ---- get, put, delete ------------------------------------------------------------------------
    def test_an_absent_key_is_none(self, engine: Engine) -> None:
        assert get(engine, b"absent") is None

    def test_put_replaces(self, engine: Engine) -> None:
        engine.write(lambda t: t.put(TABLE, b"k", b"one"))
        engine.write(lambda t: t.put(TABLE, b"k", b"two"))
        assert get(engine, b"k") == b"two"

    def test_an_empty_value_is_a_value(self, engine: Engine) -> None:
        engine.write(lambda t: t.put(TABLE, b"k", b""))
        assert get(engine, b"k") == b""

    def test_tables_are_apart(self, engine: Engine) -> None:
        engine.write(lambda t: t.put(TABLE, b"k", b"v"))
        assert get(engine, b"k", OTHER) is None

    def test_delete_of_what_is_there_or_not(self, engine: Engine) -> None:
        engine.write(lambda t: t.put(TABLE, b"k", b"v"))
        engine.write(lambda t: t.delete(TABLE, b"k"))
        engine.write(lambda t: t.delete(TABLE, b"k"))
        assert get(engine, b"k") is None

    def test_pop_tells_what_was_there(self, engine: Engine) -> None:
        engine.write(lambda t: t.put(TABLE, b"k", b"v"))
        assert engine.write(lambda t: t.pop(TABLE, b"k")) == b"v"
        assert engine.write(lambda t: t.pop(TABLE, b"k")) is None
        assert get(engine, b"k") is None
        engine.write(lambda t: t.put(TABLE, b"k", b""))
        assert engine.write(lambda t: t.pop(TABLE, b"k")) == b""

    # ---- sequences and counters ------------------------------------------------------------------
    def test_a_sequence_gives_each_number_once(self, engine: Engine) -> None:
        assert engine.write(lambda t: (t.take(TABLE, b"ids"), t.take(TABLE, b"ids", 5))) == (1, 2)
        assert engine.write(lambda t: t.take(TABLE, b"ids")) == 7
        assert engine.write(lambda t: t.take(TABLE, b"others")) == 1
        with engine.read() as transaction:
            assert counters.last(transaction, TABLE, b"ids") == 7
            assert counters.last(transaction, TABLE, b"none") == 0

    def test_threads_share_a_sequence(self, engine: Engine) -> None:
        with ThreadPoolExecutor(8) as pool:
            taken = pool.map(lambda _: engine.write(lambda t: t.take(TABLE, b"ids", 3)), range(60))
        assert sorted(taken) == list(range(1, 180, 3))

    def test_counters_add_up(self, engine: Engine) -> None:
        engine.write(lambda t: t.add(TABLE, b"counts", [1, -2]))
        engine.write(lambda t: t.add(TABLE, b"counts", [4, 0, 7]))
        with engine.read() as transaction:
            assert counters.read(transaction, TABLE, b"counts", 4) == (5, -2, 7, 0)
            assert counters.read(transaction, TABLE, b"counts", 1) == (5,)
            assert counters.read(transaction, TABLE, b"none", 2) == (0, 0)

    def test_threads_share_counters(self, engine: Engine) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: engine.write(lambda t: t.add(TABLE, b"c", [n])), range(60)))
        with engine.read() as transaction:
            assert counters.read(transaction, TABLE, b"c", 1) == (sum(range(60)),)

    # ---- figures and `tidy` ----------------------------------------------------------------------
    def test_the_figures_tell_of_size_and_commits(self, engine: Engine) -> None:
        before = engine.figures()
        engine.write(lambda t: t.put(TABLE, b"k", b"v" * 100_000))
        engine.write(lambda t: t.put(LOCAL, b"k", b"v" * 100_000))
        figures = engine.figures()
        assert figures.size_bytes - before.size_bytes >= 200_000
        assert (figures.commits - before.commits, figures.changes - before.changes) == (2, 2)
        assert figures.commit_seconds >= before.commit_seconds

    def test_tidying_harms_no_reader(self, engine: Engine) -> None:
        put_all(engine, [b"a"])
        with engine.read() as transaction:
            assert transaction.get(TABLE, b"a") == b"=a"
            in_thread(engine.tidy)
            in_thread(lambda: put_all(engine, [b"b"]))
            assert transaction.get(TABLE, b"b") is None
        assert scan_keys(engine) == [b"a", b"b"]

    def test_values_outlive_their_transaction(self, engine: Engine) -> None:
        engine.write(lambda t: t.put(TABLE, b"k", b"v" * 100))
        with engine.read() as transaction:
            value = transaction.get(TABLE, b"k")
            pairs = list(transaction.scan(TABLE))
        engine.write(lambda t: t.put(TABLE, b"k", b"w" * 100))
        assert value == b"v" * 100
        assert pairs == [(b"k", b"v" * 100)]

    @pytest.mark.parametrize("size", [4095, 65_536, 5 << 20])
    def test_big_values(self, engine: Engine, size: int) -> None:
        value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        engine.write(lambda t: t.put(TABLE, b"k", value))
        assert get(engine, b"k") == value

    def test_the_longest_key(self, engine: Engine) -> None:
        key = b"k" * KEY_SIZE_MAX
        engine.write(lambda t: t.put(TABLE, key, b"v"))
        assert get(engine, key) == b"v"

    @pytest.mark.parametrize("key", [b"", b"k" * (KEY_SIZE_MAX + 1)])
    def test_a_key_of_the_wrong_size_is_refused(self, engine: Engine, key: bytes) -> None:
        with pytest.raises(ValueError, match="key"):
            engine.write(lambda t: t.put(TABLE, key, b"v"))
        assert scan_keys(engine) == []

    @pytest.mark.parametrize("key", [b"", b"k" * (KEY_SIZE_MAX + 1)])
    def test_a_key_that_cannot_be_is_absent(self, engine: Engine, key: bytes) -> None:
        assert get(engine, key) is None
        engine.write(lambda t: t.delete(TABLE, key))
        assert engine.write(lambda t: t.pop(TABLE, key)) is None

    # ---- scan ------------------------------------------------------------------------------------
    def test_scan_of_an_empty_table(self, engine: Engine) -> None:
        assert scan_keys(engine) == []
        assert scan_keys(engine, b"p", after=b"pp", reverse=True) == []

    def test_keys_come_in_the_order_of_their_bytes(self, engine: Engine) -> None:
        put_all(engine, list(reversed(KEYS)))
        assert scan_keys(engine) == sorted(KEYS)
        assert scan_keys(engine, reverse=True) == sorted(KEYS, reverse=True)

    @pytest.mark.parametrize(
        "prefix", [b"", b"a", b"ab", b"ab\xff", b"\xff", b"\xff\xff", b"zz", b"\x00"]
    )
    @pytest.mark.parametrize("reverse", [False, True])
    def test_a_prefix(self, engine: Engine, prefix: bytes, reverse: bool) -> None:
        put_all(engine, KEYS)
        expected = sorted((key for key in KEYS if key.startswith(prefix)), reverse=reverse)
        assert scan_keys(engine, prefix, reverse=reverse) == expected

    @pytest.mark.parametrize("prefix", [b"", b"a", b"ab", b"ab\xff", b"\xff"])
    @pytest.mark.parametrize(
        "after",
        [
            b"",
            b"\x00",
            b"a",
            b"aZ",
            b"ab",
            b"ab\xfe",
            b"ab\xff",
            b"b",
            b"\x90",
            b"\xff",
            b"\xff" * 4,
        ],
    )
    @pytest.mark.parametrize("reverse", [False, True])
    def test_after_is_exclusive_and_need_not_exist(
        self, engine: Engine, prefix: bytes, after: bytes, reverse: bool
    ) -> None:
        put_all(engine, KEYS)
        expected = [
            key
            for key in sorted(KEYS, reverse=reverse)
            if key.startswith(prefix) and (key < after if reverse else key > after)
        ]
        assert scan_keys(engine, prefix, after=after, reverse=reverse) == expected

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("limit", [0, 1, 3, 1000])
    def test_a_limit(self, engine: Engine, limit: int, reverse: bool) -> None:
        put_all(engine, KEYS)
        assert (
            scan_keys(engine, limit=limit, reverse=reverse) == sorted(KEYS, reverse=reverse)[:limit]
        )

    def test_paging_through_a_prefix_sees_each_key_once(self, engine: Engine) -> None:
        keys = [b"p" + number.to_bytes(2, "big") for number in range(500)]
        put_all(engine, [b"o", *keys, b"q"])
        seen: list[bytes] = []
        while page := scan_keys(engine, b"p", after=seen[-1] if seen else None, limit=7):
            seen += page
        assert seen == keys

    def test_many_keys_at_once(self, engine: Engine) -> None:
        keys = [b"b", b"aa", b"missing", b"b"]
        rows = [(key, b"=" + key) for key in KEYS]
        engine.write(lambda transaction: transaction.put_all(TABLE, rows))
        with engine.read() as transaction:
            assert transaction.get_many(TABLE, keys) == {b"b": b"=b", b"aa": b"=aa"}
            assert transaction.begun(TABLE, [b"ab", b"ac", b"\xff\xff", b"b\0"]) == [
                *(True, False, True, False)
            ]
            assert transaction.begun(OTHER, [b"a"]) == [False]
        engine.write(lambda transaction: transaction.delete_all(TABLE, keys))
        assert scan_keys(engine) == sorted(set(KEYS) - {b"b", b"aa"})
        engine.write(lambda transaction: transaction.put_all(TABLE, []))

    def test_a_scan_may_be_left_early(self, engine: Engine) -> None:
        put_all(engine, KEYS)
        with engine.read() as transaction:
            assert next(iter(transaction.scan(TABLE)))[0] == min(KEYS)
        engine.write(lambda t: t.delete(TABLE, b"a"))

    def test_scans_may_be_nested(self, engine: Engine) -> None:
        put_all(engine, KEYS)
        with engine.read() as transaction:
            pairs = [
                (outer, inner)
                for outer, _ in transaction.scan(TABLE, b"a")
                for inner, _ in transaction.scan(TABLE, outer, limit=2)
            ]
        assert (b"ab", b"ab\xff") in pairs
        assert len(pairs) == 9

    # ---- transactions ----------------------------------------------------------------------------
    def test_write_returns_the_result_of_the_change(self, engine: Engine) -> None:
        assert engine.write(lambda t: "result") == "result"

    def test_a_change_sees_its_own_writes(self, engine: Engine) -> None:
        put_all(engine, [b"a", b"b", b"c"])

        def change(transaction: WriteTransaction) -> tuple[bytes | None, bytes | None, Pairs]:
            transaction.put(TABLE, b"bb", b"new")
            transaction.delete(TABLE, b"c")
            got = transaction.get(TABLE, b"bb"), transaction.get(TABLE, b"c")
            return *got, list(transaction.scan(TABLE))

        new, gone, pairs = engine.write(change)
        assert (new, gone) == (b"new", None)
        assert pairs == [(b"a", b"=a"), (b"b", b"=b"), (b"bb", b"new")]

    def test_nothing_remains_of_a_change_that_raises(self, engine: Engine) -> None:
        put_all(engine, [b"a"])

        def change(transaction: WriteTransaction) -> None:
            transaction.put(TABLE, b"b", b"=b")
            transaction.put(OTHER, b"b", b"=b")
            transaction.delete(TABLE, b"a")
            raise LookupError("no")

        with pytest.raises(LookupError, match="no"):
            engine.write(change)
        assert scan_keys(engine) == [b"a"]
        assert get(engine, b"b", OTHER) is None

    def test_a_write_after_one_that_raised(self, engine: Engine) -> None:
        def change(transaction: WriteTransaction) -> None:
            raise LookupError("no")

        with pytest.raises(LookupError):
            engine.write(change)
        put_all(engine, [b"a"])
        assert scan_keys(engine) == [b"a"]

    def test_a_reader_keeps_its_snapshot(self, engine: Engine) -> None:
        put_all(engine, [b"a", b"b"])
        with engine.read() as transaction:
            assert transaction.get(TABLE, b"a") == b"=a"
            in_thread(lambda: put_all(engine, [b"c"]))
            in_thread(lambda: engine.write(lambda t: t.delete(TABLE, b"a")))
            assert transaction.get(TABLE, b"a") == b"=a"
            assert transaction.get(TABLE, b"c") is None
            assert [key for key, _ in transaction.scan(TABLE)] == [b"a", b"b"]
        assert scan_keys(engine) == [b"b", b"c"]

    def test_a_reader_that_raises_is_released(self, engine: Engine) -> None:
        def read_and_fail() -> None:
            with engine.read():
                raise LookupError("no")

        with pytest.raises(LookupError, match="no"):
            read_and_fail()
        put_all(engine, [b"a"])
        assert scan_keys(engine) == [b"a"]

    # ---- threads ---------------------------------------------------------------------------------
    def test_changes_of_many_threads_are_one_after_the_other(self, engine: Engine) -> None:
        with ThreadPoolExecutor(8) as pool:
            values = list(pool.map(lambda _: engine.write(increment), range(200)))
        assert sorted(values) == list(range(1, 201))
        assert get(engine, b"count") == b"200"

    def test_changes_that_fail_do_not_harm_those_beside_them(self, engine: Engine) -> None:
        def change(number: int) -> Callable[[WriteTransaction], None]:
            def run(transaction: WriteTransaction) -> None:
                transaction.put(TABLE, b"%04d" % number, b"=%04d" % number)
                if number % 3 == 0:
                    raise LookupError(str(number))

            return run

        def attempt(number: int) -> str:
            try:
                engine.write(change(number))
            except LookupError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(attempt, range(120)))
        assert outcomes == [str(n) if n % 3 == 0 else "" for n in range(120)]
        assert scan_keys(engine) == [b"%04d" % n for n in range(120) if n % 3]

    def test_readers_beside_a_writer_see_whole_changes(self, engine: Engine) -> None:
        def move(number: int) -> Callable[[WriteTransaction], None]:
            def run(transaction: WriteTransaction) -> None:
                transaction.put(TABLE, b"left", b"%d" % number)
                transaction.put(OTHER, b"right", b"%d" % number)

            return run

        stop = threading.Event()

        def watch() -> int:
            torn = 0
            while not stop.is_set():
                with engine.read() as transaction:
                    torn += transaction.get(TABLE, b"left") != transaction.get(OTHER, b"right")
            return torn

        with ThreadPoolExecutor(3) as pool:
            watchers = [pool.submit(watch) for _ in range(3)]
            for number in range(100):
                engine.write(move(number))
            stop.set()
            assert [watcher.result() for watcher in watchers] == [0, 0, 0]


class JointContract(EngineContract):
    """The contract of engines in which local and shared tables change in one commit."""

    def test_it_says_so(self, engine: Engine) -> None:
        assert engine.is_joint

    def test_a_local_and_a_shared_change_at_once(self, engine: Engine) -> None:
        def local(transaction: WriteTransaction) -> None:
            transaction.put(LOCAL, b"k", b"v")

        def shared(transaction: WriteTransaction) -> str:
            transaction.put(TABLE, b"k", b"v")
            return "done"

        assert engine.write_both(local, shared) == "done"
        assert (get(engine, b"k", LOCAL), get(engine, b"k")) == (b"v", b"v")

    @pytest.mark.parametrize("failing", ["local", "shared"])
    def test_both_changes_or_neither(self, engine: Engine, failing: str) -> None:
        def change(transaction: WriteTransaction, table: Table, *, fails: bool) -> None:
            transaction.put(table, b"k", b"v")
            if fails:
                raise LookupError("no")

        with pytest.raises(LookupError, match="no"):
            engine.write_both(
                partial(change, table=LOCAL, fails=failing == "local"),
                partial(change, table=TABLE, fails=failing == "shared"),
            )
        assert (get(engine, b"k", LOCAL), get(engine, b"k")) == (None, None)


def in_thread(function: Callable[[], object]) -> None:
    """Run in another thread, because transactions of one thread must not nest."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function).result()
