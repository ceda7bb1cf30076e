"""Samples of processes, in files that other processes read."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from dtrfast.metrics.meter import Meter
from dtrfast.metrics.processes import Reporter, read_processes
from tests.metrics.samples import NOW, sample, totals, write
from tests.server.conftest import eventually


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


@pytest.fixture
def reporter(directory: Path) -> Iterator[Reporter]:
    meter = Meter()
    meter.note("pull", 200, (0, 100), 0.001, "library/app")
    made = Reporter(directory, "worker-0", meter, lambda: (3, 12, 0.5))
    with closing(made):
        eventually(lambda: bool(read_processes(directory, time.time())))
        yield made


def test_a_process_tells_what_it_is_and_did(directory: Path, reporter: Reporter) -> None:
    (told,) = read_processes(directory, time.time())
    assert (told.name, told.pid) == ("worker-0", os.getpid())
    assert told.started_at < told.time <= time.time()
    assert told.cpu_seconds > 0
    assert 0 < told.anonymous_bytes <= told.resident_bytes
    assert told.threads >= threading.active_count() - 1
    assert told.descriptors > 0
    assert (told.commits, told.changes, told.commit_seconds) == (3, 12, 0.5)
    assert told.totals is not None
    assert told.totals.repositories == [("library/app", 1, 0, 100)]


def test_the_directory_is_nobody_elses(directory: Path, reporter: Reporter) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_process_that_ends_leaves_nothing(directory: Path, reporter: Reporter) -> None:
    reporter.close()
    assert list(directory.iterdir()) == []


def test_what_killed_processes_left_goes(directory: Path) -> None:
    directory.mkdir()
    for name in ("worker-0.123", "worker-0.new", "worker-1.123", "worker-0.fine"):
        (directory / name).write_bytes(b"{")
    with closing(Reporter(directory, "worker-0")):
        eventually(lambda: (directory / "worker-0.json").exists())
    assert sorted(path.name for path in directory.iterdir()) == ["worker-0.fine", "worker-1.123"]


def test_counts_of_other_buckets_are_of_another_version(directory: Path) -> None:
    write(directory, sample("worker-0", NOW, totals=totals(3)))
    assert len(read_processes(directory, NOW)) == 1
    for field in ("pull", "push"):
        other = msgspec.structs.replace(totals(3), **{field: [0] * 5})
        write(directory, sample("worker-0", NOW, totals=other))
        assert read_processes(directory, NOW) == []


def test_processes_are_read_by_name(directory: Path) -> None:
    for name in ("worker-1", "housekeeper", "worker-0"):
        write(directory, sample(name, NOW))
    names = [each.name for each in read_processes(directory, NOW)]
    assert names == ["housekeeper", "worker-0", "worker-1"]


@pytest.mark.parametrize(("age", "is_there"), [(14.0, True), (16.0, False), (-3600.0, False)])
def test_a_process_that_says_nothing_is_gone(directory: Path, age: float, is_there: bool) -> None:
    write(directory, sample("worker-0", NOW - age))
    assert bool(read_processes(directory, NOW)) is is_there


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"name": "x"}', b"\0" * 100])
def test_files_that_make_no_sense_are_left_out(directory: Path, content: bytes) -> None:
    write(directory, sample("worker-0", NOW))
    (directory / "worker-1.json").write_bytes(content)
    assert [each.name for each in read_processes(directory, NOW)] == ["worker-0"]


def test_a_file_that_is_cut_anywhere_is_left_out(directory: Path) -> None:
    whole = msgspec.json.encode(sample("worker-0", NOW))
    directory.mkdir()
    for size in range(len(whole)):
        (directory / "worker-0.json").write_bytes(whole[:size])
        assert read_processes(directory, NOW) == []


def test_a_directory_that_is_not_there_has_no_processes(directory: Path) -> None:
    assert read_processes(directory, NOW) == []


def test_a_file_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics").write_bytes(b"a file where the directory belongs")
    reporter = Reporter(tmp_path / "metrics", "worker-0")
    try:
        eventually(lambda: "cannot be written" in caplog.text)
        assert reporter.sample().name == "worker-0"
    finally:
        (tmp_path / "metrics").unlink()
        reporter.close()
    assert caplog.text.count("cannot be written") == 1
