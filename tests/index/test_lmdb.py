"""The LMDB engine passes the contract; group commits, several processes, and full disks."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import pytest

from dtrfast.errors import Corrupt, DtrfastError, StorageFailed, StorageFull
from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.lmdb import READERS_MAX, LmdbEngine
from dtrfast.index.tables import META, TABLES, TAGS
from tests.index.engine_contract import JointContract
from tests.server.conftest import eventually


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LmdbEngine]:
    engine = LmdbEngine(tmp_path, TABLES)
    yield engine
    engine.close()


class TestLmdbEngine(JointContract):
    pass


def test_the_kernel_reads_only_the_pages_that_are_asked_for(
    engine: LmdbEngine, tmp_path: Path
) -> None:
    """The flag `rr` marks a mapping with random-read advice (proc(5))."""
    _, _, maps = Path("/proc/self/smaps").read_text().partition(str(tmp_path / "data.mdb"))
    flags = next(line for line in maps.splitlines() if line.startswith("VmFlags:"))
    assert "rr" in flags.split()


def test_changes_that_wait_are_committed_together_and_fail_alone(engine: LmdbEngine) -> None:
    """While one change holds the writer's lock, other changes queue up and form a group."""
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
        while len(engine._queue) < 30:  # all changes are in the queue
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
            while len(engine._queue) < len(others):
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
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import META, TABLES
engine = LmdbEngine(Path(sys.argv[1]), TABLES)
for _ in range(50):
    print(engine.write(lambda t: t.take(META, b"test")))
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
    assert len(_readers(engine)) == 1
    engine.tidy()
    assert _readers(engine) == []


def _readers(engine: LmdbEngine) -> list[str]:
    """Return the used reader slots, one line each."""
    lines = engine._environment.readers().splitlines()
    return [line for line in lines if line.split()[0].isdigit()]


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


class Failing:
    """An environment in which no transaction can begin, as after a disk failure."""

    def __init__(self, error: lmdb.Error) -> None:
        self._error = error

    def begin(self, **options: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (lmdb.Error("no"), StorageFailed, r"the index could not be read or written \(no\)"),
        (lmdb.DiskError("no"), StorageFull, "the disk that holds the index is full"),
        (lmdb.CorruptedError("no"), Corrupt, r"the index is damaged \(no\): restore it"),
    ],
)
def test_a_transaction_that_cannot_begin_ends_and_says_why(
    engine: LmdbEngine,
    monkeypatch: pytest.MonkeyPatch,
    error: lmdb.Error,
    kind: type[DtrfastError],
    message: str,
) -> None:
    """All callers get the error, and none waits forever."""
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_environment", Failing(error))
        with pytest.raises(kind, match=message):
            engine.read()
        for _ in range(2):
            with pytest.raises((StorageFailed, StorageFull), match=message):
                engine.write(lambda t: None)
    engine.write(lambda t: t.put(TAGS, b"a", b"1"))


def test_a_process_whose_environment_is_lost_ends_so_that_another_one_opens_it(
    engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(engine, "_environment", Failing(lmdb.PanicError("no")))
            with pytest.raises(StorageFailed, match="the server process restarts"):
                engine.read()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM]


def test_a_commit_that_fails_leaves_nothing_and_tells_all_of_its_group(
    engine: LmdbEngine, tmp_path: Path
) -> None:
    """The file cannot grow: the changes run, but the commit cannot write their pages."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(transaction: WriteTransaction) -> None:
        entered.set()
        assert go_on.wait(20)
        transaction.put(META, b"held", b"x" * 500_000)

    def put(number: int) -> None:
        engine.write(lambda transaction: transaction.put(META, b"%d" % number, b"x" * 500_000))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(engine.write, hold)]
        assert entered.wait(20)
        futures += [pool.submit(put, number) for number in range(3)]
        eventually(lambda: len(engine._queue) == 3)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "data.mdb").stat().st_size, hard))
        try:
            go_on.set()
            errors = [future.exception() for future in futures]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(error) for error in errors] == [StorageFailed] * 4
    with engine.read() as transaction:
        assert list(transaction.scan(META)) == []
    put(9)
    with engine.read() as transaction:
        assert [key for key, _ in transaction.scan(META)] == [b"9"]


def test_an_index_that_fills_its_map_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtrfast.index.lmdb.MAP_SIZE", 1 << 20)
    engine = LmdbEngine(tmp_path, TABLES)
    with pytest.raises(StorageFull, match="free some space"):
        engine.write(lambda transaction: transaction.put(META, b"a", b"x" * (1 << 20)))
    engine.write(lambda transaction: transaction.put(META, b"a", b"small"))
    engine.close()


def test_a_reader_too_many_is_refused_and_later_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtrfast.index.lmdb.READERS_MAX", 1)
    engine = LmdbEngine(tmp_path, TABLES)
    with engine.read(), pytest.raises(StorageFailed, match="READERS_FULL"):
        engine.read()
    with engine.read() as transaction:
        assert transaction.get(META, b"a") is None
    engine.close()


def test_a_lock_file_of_fewer_readers_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version made lock files with 256 slots or so."""
    with monkeypatch.context() as patch:
        patch.setattr("dtrfast.index.lmdb.READERS_MAX", 1)
        LmdbEngine(tmp_path, TABLES).close()
    engine = LmdbEngine(tmp_path, TABLES)
    assert engine._environment.info()["max_readers"] == READERS_MAX
    engine.close()


def test_an_index_that_is_open_with_fewer_readers_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a server of an older version runs, a command uses the slots of its lock file."""
    with monkeypatch.context() as patch:
        patch.setattr("dtrfast.index.lmdb.READERS_MAX", 8)
        engine = LmdbEngine(tmp_path, TABLES)
    engine.write(lambda transaction: transaction.put(META, b"a", b"1"))
    code = (
        "import sys; from pathlib import Path; from dtrfast.index.lmdb import LmdbEngine;"
        "from dtrfast.index.tables import META, TABLES;"
        "e = LmdbEngine(Path(sys.argv[1]), TABLES); r = e.read().__enter__();"
        "print(r.get(META, b'a'), e._environment.info()['max_readers'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert found.stdout.split() == ["b'1'", "8"]
    engine.close()


def test_room_for_many_readers_takes_no_room(engine: LmdbEngine, tmp_path: Path) -> None:
    """Unused slots of the lock file are holes."""
    assert (tmp_path / "lock.mdb").stat().st_blocks * 512 <= 64 * 1024


def test_room_for_the_usual_readers_is_taken_while_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a reader fills a hole of the file on a full disk, its process dies. The first process that
    opens an index makes the file; later ones allocate the space.
    """
    LmdbEngine(tmp_path, TABLES).close()
    path = tmp_path / "lock.mdb"
    size = path.stat().st_size

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fail)
        LmdbEngine(tmp_path, TABLES).close()
    LmdbEngine(tmp_path, TABLES).close()
    assert path.stat().st_blocks * 512 >= 4096 * 64
    assert path.stat().st_size == size


def test_the_readers_of_a_process_stay_when_another_opens_the_index(tmp_path: Path) -> None:
    """LMDB knows from a file lock that a process has the index open. A process loses the lock when
    it closes the lock file once. The next process would then reset the table of readers.
    """
    LmdbEngine(tmp_path, TABLES).close()
    engine = LmdbEngine(tmp_path, TABLES)
    with pytest.raises(StorageFailed, match="already open"):
        LmdbEngine(tmp_path, TABLES)
    code = "import lmdb, sys; print(lmdb.open(sys.argv[1], max_dbs=1).readers())"
    with engine.read() as transaction:
        assert transaction.get(META, b"a") is None
        found = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
        )
    assert str(os.getpid()) in found.stdout.split()
    engine.close()


def test_an_error_of_the_index_inside_a_read_is_ours(engine: LmdbEngine) -> None:
    with pytest.raises(Corrupt, match="restore it"), engine.read():
        raise lmdb.PageNotFoundError("page 7")


def test_a_directory_that_cannot_be_synced_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the sync, a power cut could remove the whole new index."""

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFailed, match="directory cannot be synced"):
        LmdbEngine(tmp_path, TABLES)


def test_the_size_is_that_of_the_pages_in_use(engine: LmdbEngine) -> None:
    before = engine.figures().size_bytes
    engine.write(lambda transaction: transaction.put(META, b"a", b"x" * 1_000_000))
    assert 1_000_000 <= engine.figures().size_bytes - before < 1_100_000


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
        eventually(lambda: len(engine._queue) == 5)
        go_on.set()
        for future in futures:
            future.result()
    figures = engine.figures()
    assert (figures.commits, figures.changes) == (2, 6)
    assert figures.commit_seconds > 0
