"""The power cut itself, on short programs: data that must survive, may survive, or must not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import lmdb
import pytest

from tests.crash.powercut import Mode, cut_power, explain_cut
from tests.crash.recording import Recording, record
from tests.crash.trace import Kind, Trace, cut_points, marks_before, read_trace

Run = Callable[[str], Recording]

PRELUDE = """
import os, sys
from pathlib import Path
from tests.crash.recording import mark
root = Path(sys.argv[1])

def write(name, data, *, flags=0, sync=False):
    descriptor = os.open(root / name, os.O_CREAT | os.O_WRONLY | flags, 0o600)
    os.write(descriptor, data)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)

def sync(name="."):
    descriptor = os.open(root / name, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
"""

LMDB = """
import lmdb
environment = lmdb.open(str(root), map_size=1 << 24, sync=SYNC)
sync()
for number in range(12):
    with environment.begin(write=True) as transaction:
        transaction.put(b"%d" % number, b"x" * 2000)
    mark(str(number))
"""


@pytest.fixture
def run(recorder: Path, tmp_path: Path) -> Run:
    """Record a program that is given as text."""

    def run_program(text: str) -> Recording:
        return record(recorder, tmp_path / "recording", ["-c", PRELUDE + text])

    return run_program


def tree(root: Path) -> dict[str, bytes | None]:
    """Return every path below the root with its content; None for a directory."""
    return {
        str(p.relative_to(root)): None if p.is_dir() else p.read_bytes()
        for p in root.rglob("*")
        if p.name != "lock.mdb"
    }


def after_end(recording: Recording, mode: Mode, seed: int = 0) -> dict[str, bytes | None]:
    """Return the tree after a cut behind the last operation."""
    trace = read_trace(recording.trace)
    with TemporaryDirectory(dir=recording.root.parent) as directory:
        target = Path(directory) / "found"
        cut_power(trace, len(trace), target, mode, seed)
        return tree(target)


def any_torn(recording: Recording, wanted: dict[str, bytes | None]) -> bool:
    """Return True if one of the first hundred seeds leaves this tree."""
    return any(after_end(recording, "torn", seed) == wanted for seed in range(100))


def test_the_recorder_sees_every_way_to_change_a_directory(run: Run) -> None:
    recording = run(
        """
import shutil, subprocess, threading
write("plain", b"0123456789" * 200)
write("plain", b"appended", flags=os.O_APPEND)
write("plain", b"start")
descriptor = os.open(root / "positional", os.O_CREAT | os.O_RDWR)
os.pwrite(descriptor, b"tail", 5000)
os.pwritev(descriptor, [b"he", b"", b"ad"], 3)
os.lseek(descriptor, 100, os.SEEK_SET)
os.writev(os.dup(descriptor), [b"a" * 600, b"b" * 700])
os.ftruncate(descriptor, 4000)
os.posix_fallocate(descriptor, 0, 9000)
os.sendfile(descriptor, os.open(root / "plain", os.O_RDONLY), 10, 700)
os.copy_file_range(os.open(root / "plain", os.O_RDONLY), descriptor, 500, 0, 8000)
os.truncate(root / "positional", 8500)
os.makedirs(root / "a" / "b")
shutil.copyfile(root / "plain", root / "a" / "copy")
os.link(root / "a" / "copy", root / "a" / "b" / "link")
os.rename(root / "a" / "copy", root / "moved")
os.rename(root / "a" / "b", root / "c")
os.rename(root / "moved", root / "c" / "link")  # the same file: nothing happens
write("gone", b"gone")
os.unlink(root / "gone")
write("gone", b"again, maybe with the same inode")
os.mkdir(root / "removed")
os.rmdir(root / "removed")
directory = os.open(root / "c", os.O_RDONLY)
os.open("beside", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, dir_fd=directory)
os.mkdir("below/", dir_fd=directory)
os.rename("beside", "gone", src_dir_fd=directory, dst_dir_fd=directory)
os.chdir(root / "c")
with open("text", "w") as file:
    file.write("x" * 100_000)
os.open("text", os.O_WRONLY | os.O_TRUNC)
unnamed = os.open(root, os.O_TMPFILE | os.O_RDWR)
os.write(unnamed, b"named later")
os.link(f"/proc/self/fd/{unnamed}", root / "named", src_dir_fd=directory)
subprocess.run([sys.executable, "-c", "open('child', 'w').write('of another process')"], check=True)
if os.fork() == 0:
    os.write(unnamed, b" and by a fork")
    os._exit(0)
os.wait()
def work(name):
    for number in range(200):
        write(name, b"%d," % number, flags=os.O_APPEND)
        write("shared", name.encode(), flags=os.O_APPEND)
threads = [threading.Thread(target=work, args=(f"thread{n}",)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    assert after_end(recording, "intact") == tree(recording.root)


def test_what_was_not_synced_is_dropped_or_may_survive(run: Run) -> None:
    recording = run('write("a", b"bytes"); sync()')
    assert after_end(recording, "strict") == {"a": b""}
    assert any_torn(recording, {"a": b"bytes"})
    assert any_torn(recording, {"a": bytes(5)})


def test_what_was_synced_is_kept(run: Run) -> None:
    recording = run('write("a", b"bytes", sync=True); sync(); write("a", b"B")')
    assert after_end(recording, "strict") == {"a": b"bytes"}
    assert any_torn(recording, {"a": b"bytes"})
    assert any_torn(recording, {"a": b"Bytes"})


def test_a_new_entry_needs_a_sync_of_its_directory(run: Run) -> None:
    recording = run('write("a", b"bytes", sync=True)')
    assert after_end(recording, "strict") == {}
    assert any_torn(recording, {"a": b"bytes"})


def test_an_entry_in_a_directory_whose_own_entry_is_lost_is_lost(run: Run) -> None:
    recording = run('os.mkdir(root / "d"); write("d/a", b"bytes", sync=True); sync("d")')
    assert after_end(recording, "strict") == {}


def test_a_rename_without_a_sync_of_the_directory_reverts(run: Run) -> None:
    recording = run('write("a", b"bytes", sync=True); sync(); os.rename(root/"a", root/"b")')
    assert after_end(recording, "strict") == {"a": b"bytes"}
    assert any_torn(recording, {"b": b"bytes"})


def test_a_rename_never_loses_the_file(run: Run) -> None:
    recording = run(
        """
os.mkdir(root / "d"); write("a", b"bytes", sync=True); sync()
os.rename(root / "a", root / "d" / "b"); sync()
"""
    )
    assert after_end(recording, "strict") == {"a": b"bytes", "d": None}
    for seed in range(100):
        assert b"bytes" in after_end(recording, "torn", seed).values()


def test_an_unlink_without_a_sync_of_the_directory_reverts(run: Run) -> None:
    recording = run('write("a", b"bytes", sync=True); sync(); os.unlink(root / "a")')
    assert after_end(recording, "strict") == {"a": b"bytes"}
    assert any_torn(recording, {})


def test_a_synchronous_write_is_durable_in_its_range_only(run: Run) -> None:
    recording = run(
        'write("a", b"." * 9, sync=True); sync(); write("a", b"lost");'
        'fd = os.open(root / "a", os.O_WRONLY | os.O_DSYNC); os.pwrite(fd, b"kept", 5)'
    )
    assert after_end(recording, "strict") == {"a": b".....kept"}


def test_a_truncation_needs_a_sync(run: Run) -> None:
    recording = run('write("a", b"bytes", sync=True); sync(); os.truncate(root / "a", 2)')
    assert after_end(recording, "strict") == {"a": b"bytes"}
    assert any_torn(recording, {"a": b"by"})


def test_a_write_may_be_torn_at_a_sector(run: Run) -> None:
    recording = run('write("a", b"x" * 2048); sync()')
    torn = [after_end(recording, "torn", seed)["a"] for seed in range(100)]
    assert any(t is not None and len(t) == 2048 and 0 < t.count(b"x") < 2048 for t in torn)
    assert all(t is not None and t.count(b"x") % 512 == 0 for t in torn)


def test_what_is_written_during_a_sync_is_not_durable(run: Run) -> None:
    recording = run('write("a", b"bytes", sync=True); sync()')
    trace = list(read_trace(recording.trace))
    begin = next(i for i, o in enumerate(trace) if o.kind is Kind.SYNC_BEGIN)
    wrote = next(i for i, o in enumerate(trace) if o.kind is Kind.WRITE)
    trace.insert(begin, trace.pop(wrote))  # the write is now between begin and end
    assert [o.kind for o in trace[begin - 1 : begin + 2]] == [
        Kind.SYNC_BEGIN,
        Kind.WRITE,
        Kind.SYNC_END,
    ]
    target = recording.root.with_name("cut")
    cut_power(trace, len(trace), target, "strict")
    assert tree(target) == {"a": b""}


def test_a_mark_is_in_the_trace_and_nowhere_else(run: Run) -> None:
    recording = run('mark("first"); write("a", b""); mark("second")')
    trace = read_trace(recording.trace)
    assert marks_before(trace, len(trace)) == ["first", "second"]
    assert marks_before(trace, len(trace) - 1) == ["first"]
    assert os.listdir(recording.root) == ["a"]


def test_the_same_seed_gives_the_same_tree(run: Run) -> None:
    recording = run('[write(str(n), b"x" * 3000) for n in range(9)]')
    assert after_end(recording, "torn", 7) == after_end(recording, "torn", 7)


def test_cut_points_lie_around_syncs_and_after_marks(run: Run) -> None:
    trace = read_trace(run('write("a", b"1"); mark("m"); sync("a"); write("a", b"2")').trace)
    kinds = [trace[cut - 1].kind for cut in cut_points(trace)]
    assert kinds == [Kind.MARK, Kind.SYNC_BEGIN, Kind.SYNC_END, Kind.WRITE]


# ---- acknowledged commits of LMDB ----


def lost_commits(directory: Path, marks: list[str]) -> list[str]:
    """Return the acknowledged keys that cannot be read any more."""
    try:
        environment = lmdb.open(str(directory), map_size=1 << 24, create=False)
    except lmdb.Error:
        return marks
    with environment, environment.begin() as transaction:
        return [m for m in marks if transaction.get(m.encode()) != b"x" * 2000]


def lost_after_cut(trace: Trace, cut: int, target: Path, mode: Mode, seed: int) -> list[str]:
    marks = cut_power(trace, cut, target, mode, seed)
    return lost_commits(target, marks) if marks else []


@pytest.mark.parametrize("mode", ["strict", "torn"])
def test_lmdb_keeps_what_it_acknowledged(run: Run, tmp_path: Path, mode: Mode, seed: int) -> None:
    trace = read_trace(run(LMDB.replace("SYNC", "True")).trace)
    for cut in cut_points(trace):
        with explain_cut(cut, mode, seed + cut):
            assert lost_after_cut(trace, cut, tmp_path / str(cut), mode, seed + cut) == []


def test_lmdb_without_sync_loses_what_it_acknowledged(run: Run, tmp_path: Path) -> None:
    # Not torn: LMDB reads a torn file through its map, which may crash the process.
    trace = read_trace(run(LMDB.replace("SYNC", "False")).trace)
    cut = len(trace)
    assert len(lost_after_cut(trace, cut, tmp_path / "found", "strict", 0)) == 12
