"""Time series in files of fixed size: reused slots, restarts, and damaged files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtrfast.metrics import ring
from dtrfast.metrics.ring import RingWriter

STEP = 10
SLOTS = 8
START = 1_800_000_000
FOREVER = 1 << 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "course.fine"


@pytest.fixture
def writer(path: Path) -> Iterator[RingWriter]:
    made = RingWriter(path, ("a", "b"), STEP, SLOTS)
    yield made
    made.close()


def put(path: Path, *numbers: int, columns: tuple[str, ...] = ("a", "b")) -> None:
    """Open the ring, write `n` to step n for all steps, and close it, as a process does."""
    made = RingWriter(path, columns, STEP, SLOTS)
    for number in numbers:
        made.put(START + number * STEP, dict.fromkeys(columns, float(number)))
    made.close()


def test_what_was_put_is_read(path: Path, writer: RingWriter) -> None:
    writer.put(START + 3, {"a": 1.5, "b": 2.5})
    found = ring.read(path, START, START)
    assert (found.times, found.columns) == ([START], {"a": [1.5], "b": [2.5]})


def test_a_step_that_is_put_again_is_replaced(path: Path, writer: RingWriter) -> None:
    writer.put(START, {"a": 1.0})
    writer.put(START + STEP - 1, {"a": 2.0})
    assert ring.read(path, START, FOREVER).columns["a"] == [2.0]


def test_what_is_not_known_is_nan_and_what_has_no_column_is_nothing(
    path: Path, writer: RingWriter
) -> None:
    writer.put(START, {"a": 1.0, "c": 9.0})
    found = ring.read(path, START, FOREVER)
    assert math.isnan(found.columns["b"][0])
    assert "c" not in found.columns


def test_times_that_were_left_out_are_left_out(path: Path) -> None:
    put(path, 0, 2, 5)
    assert ring.read(path, START, FOREVER).times == [START, START + 20, START + 50]


def test_only_the_times_that_are_asked_for_are_read(path: Path) -> None:
    put(path, *range(SLOTS))
    found = ring.read(path, START + 20, START + 49)
    assert found.columns["a"] == [2.0, 3.0, 4.0]


@settings(max_examples=50)
@given(steps=st.lists(st.integers(0, 40), min_size=1, max_size=60).map(sorted))
def test_round_and_round_the_newest_are_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "course.fine"
    put(path, *steps)
    left = {number % SLOTS: number for number in steps}  # the last step in each slot
    assert ring.read(path, START, FOREVER).columns["a"] == sorted(left.values())


def test_the_size_never_changes(path: Path) -> None:
    put(path)
    size = path.stat().st_size
    put(path, *range(100))
    assert path.stat().st_size == size


def test_a_restart_goes_on(path: Path) -> None:
    put(path, 0, 1)
    inode = path.stat().st_ino
    put(path, 2)
    assert ring.read(path, START, FOREVER).columns["a"] == [0.0, 1.0, 2.0]
    assert path.stat().st_ino == inode


def test_columns_that_stay_keep_what_they_have(path: Path) -> None:
    put(path, 0, 1, columns=("a", "b"))
    put(path, 2, columns=("c", "b"))
    found = ring.read(path, START, FOREVER)
    assert set(found.columns) == {"b", "c"}
    assert found.columns["b"] == [0.0, 1.0, 2.0]
    assert [math.isnan(value) for value in found.columns["c"]] == [True, True, False]
    assert list(path.parent.iterdir()) == [path]


def test_another_step_keeps_what_falls_into_it(path: Path) -> None:
    put(path, 0, 1, 3)
    RingWriter(path, ("a",), 2 * STEP, SLOTS).close()
    found = ring.read(path, START, FOREVER)
    assert found.times == [START, START + 20]
    assert found.columns["a"] == [1.0, 3.0]


def test_who_reads_a_ring_that_is_replaced_reads_on(path: Path) -> None:
    put(path, 0)
    with path.open("rb") as old:
        put(path, 1, columns=("a", "c"))
        assert len(old.read()) > 0
    assert ring.read(path, START, FOREVER).columns["a"] == [0.0, 1.0]


def test_a_ring_that_is_not_there_is_empty(path: Path) -> None:
    assert ring.read(path, 0, FOREVER).times == []


@pytest.mark.parametrize("size", [0, 1, 4096, 4100, 4196])
def test_a_file_that_was_cut_keeps_the_rest(path: Path, size: int) -> None:
    put(path, *range(SLOTS))
    os.truncate(path, size)
    assert all(time >= START for time in ring.read(path, START, FOREVER).times)
    put(path, 9)
    assert ring.read(path, START, FOREVER).columns["a"][-1] == 9.0


@settings(max_examples=50)
@given(content=st.binary(max_size=600), offset=st.integers(4096, 4300))
def test_foreign_bytes_in_slots_are_not_seen(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, offset: int
) -> None:
    path = tmp_path_factory.mktemp("ring") / "course.fine"
    put(path, *range(SLOTS))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
    times = ring.read(path, START, START + SLOTS * STEP).times
    assert times == sorted(set(times))
    assert set(times) <= {START + number * STEP for number in range(SLOTS)}


def test_a_slot_that_says_the_step_of_another_is_empty(path: Path) -> None:
    put(path, 0, 1)
    size = (path.stat().st_size - 4096) // SLOTS
    data = path.read_bytes()
    slot = START // STEP % SLOTS
    begin = 4096 + slot * size
    with path.open("r+b") as file:  # copy the record of step 0 into another step's slot
        file.seek(4096 + (slot + 3) % SLOTS * size)
        file.write(data[begin : begin + size])
    assert ring.read(path, START, FOREVER).times == [START, START + STEP]


@pytest.mark.parametrize("content", [b"", b"\0" * 9000, b"{}", b"no ring", b"\xff" * 5000, b'"'])
def test_a_foreign_file_is_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert ring.read(path, 0, FOREVER).times == []
    put(path, 1)
    assert ring.read(path, START, FOREVER).columns["a"] == [1.0]
