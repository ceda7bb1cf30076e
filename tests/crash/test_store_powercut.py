"""The store after a power cut, and after `kill -9`, at moments of a busy workload."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from dtrfast.store.upload_state import DOUBTED_MAGIC
from tests.crash.audit import Audit
from tests.crash.facts import Facts
from tests.crash.powercut import Mode, cut_power, explain_cut
from tests.crash.recording import Recording, record
from tests.crash.trace import Kind, Operation, Trace, cut_points, read_trace
from tests.two_environments import ENGINES

# Each cut costs an eighth of a second. A nightly run may set more.
_CUTS = int(os.environ.get("POWERCUT_CUTS", "34"))
# Operations that change the state of the store, as seen through the page cache.
_STEPS = frozenset({Kind.FILE, Kind.UNLINK, Kind.WRITE_DURABLE, Kind.MARK})


@dataclass(frozen=True, slots=True)
class BusyRun:
    """A recorded run of the workload over an engine.

    A store over two environments keeps its bytes as any other store does, so fewer cuts do.
    """

    engine: str
    recording: Recording
    trace: Trace

    @property
    def cuts(self) -> int:
        return _CUTS if self.engine == "one" else max(4, _CUTS // 4)


@pytest.fixture(scope="module", params=ENGINES)
def busy(
    request: pytest.FixtureRequest,
    recorder: Path,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> BusyRun:
    program = ["-m", "tests.crash.workload", str(seed), request.param]
    recording = record(recorder, tmp_path_factory.mktemp("busy") / "run", program)
    return BusyRun(request.param, recording, read_trace(recording.trace))


def kill_points(trace: Trace) -> list[int]:
    """Return the numbers of operations after which to kill the program."""
    return [index + 1 for index, operation in enumerate(trace) if _is_step(operation)]


def doubt_points(trace: Trace) -> list[int]:
    """Return the points inside a sync of an upload, or inside a wait for its early write-back."""
    return [index + 1 for index, operation in enumerate(trace) if operation.data == DOUBTED_MAGIC]


def _is_step(operation: Operation) -> bool:
    return operation.kind in _STEPS or operation.data == DOUBTED_MAGIC


def sample(points: list[int], seed: int, count: int) -> list[int]:
    """Return a sample of the points, and the last one."""
    chosen = random.Random(seed).sample(points[:-1], min(count, len(points)) - 1)
    return [*sorted(chosen), points[-1]]


def audit(busy: BusyRun, cut: int, found: Path, mode: Mode, seed: int) -> None:
    """Cut the power and audit what is found. After a power cut the store sees another boot id."""
    with explain_cut(cut, mode, seed):
        marks = cut_power(busy.trace, cut, found, mode, seed + cut)
        boot_id = None if mode == "intact" else "the boot after"
        Audit(found / "data", Facts(marks), seed, boot_id, busy.engine).run()


@pytest.mark.slow
def test_the_recorder_misses_nothing_that_the_store_does(busy: BusyRun, tmp_path: Path) -> None:
    cut_power(busy.trace, len(busy.trace), tmp_path / "found", "intact")
    for path in (tmp_path / "found").rglob("*"):
        original = busy.recording.root / path.relative_to(tmp_path / "found")
        assert path.is_dir() or path.read_bytes() == original.read_bytes(), path


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["strict", "torn"])
def test_what_was_acknowledged_survives_a_power_cut(
    busy: BusyRun, tmp_path: Path, mode: Mode, seed: int
) -> None:
    for cut in sample(cut_points(busy.trace), seed, busy.cuts):
        audit(busy, cut, tmp_path / str(cut), mode, seed)


@pytest.mark.slow
def test_uploads_go_on_after_the_program_was_killed(
    busy: BusyRun, tmp_path: Path, seed: int
) -> None:
    for cut in sample(kill_points(busy.trace), seed, busy.cuts):
        audit(busy, cut, tmp_path / str(cut), "intact", seed)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["intact", "torn"])
def test_an_end_inside_early_write_back_loses_nothing(
    busy: BusyRun, tmp_path: Path, mode: Mode, seed: int
) -> None:
    points = doubt_points(busy.trace)
    of_uploads = Counter(busy.trace[point - 1].inode for point in points)
    assert max(of_uploads.values()) > 2, "only syncs: one at the end, and one if it is sent again"
    for cut in random.Random(seed).sample(points, min(max(8, busy.cuts // 3), len(points))):
        audit(busy, cut, tmp_path / str(cut), mode, seed)
