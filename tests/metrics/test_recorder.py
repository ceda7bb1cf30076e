"""Time series: values from observations, in both resolutions, and their reader."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from dtrfast.errors import StorageFailed
from dtrfast.machine import limits
from dtrfast.machine.limits import CpuLimit
from dtrfast.metrics import ring
from dtrfast.metrics.history import History, thin
from dtrfast.metrics.meter import BOUNDS
from dtrfast.metrics.recorder import COARSE, FINE, REGISTRY_COLUMNS, Recorder, RecorderThread
from dtrfast.metrics.ring import Series
from tests.metrics.samples import NOW, sample, totals, write

STORE_COLUMNS = ("logical_bytes", "stored_bytes", "blobs", "repositories", "manifests", "tags")


class Site:
    """A directory with processes, a recorder, and the clock of both."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW
        self.recorder = self._made()

    def _made(self) -> Recorder:
        return Recorder(self.path, self.path, STORE_COLUMNS, self._store, lambda: self.now)

    def _store(self) -> Mapping[str, float]:
        return {"logical_bytes": 7.0}

    def restart(self) -> None:
        self.recorder.close()
        self.recorder = self._made()

    def look(self, seconds: float = 10.0, **changes: object) -> None:
        """Move the clock, write a worker's sample, and take a step of the recorder."""
        self.now += seconds
        write(self.path, sample("worker-0", self.now, **changes))
        self.recorder.step()

    def last(self, tier: str = "fine", name: str = "registry") -> dict[str, float]:
        found = ring.read(self.path / f"{name}.{tier}", NOW, self.now)
        return {column: values[-1] for column, values in found.columns.items()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "metrics")
    yield made
    made.recorder.close()


def test_rates_are_of_what_was_since_the_look_before(site: Site) -> None:
    site.look(totals=totals(1000, hot=500), commits=10, changes=50, commit_seconds=1.0)
    site.look(totals=totals(1200, hot=600), commits=15, changes=70, commit_seconds=2.0)
    last = site.last()
    assert last["requests_rate"] == last["pulls_rate"] == 20.0
    assert (last["bytes_in_rate"], last["bytes_out_rate"]) == (200.0, 2000.0)
    assert (last["pushes_rate"], last["failed_rate"]) == (0.0, 0.0)
    assert last["hot_part"] == 0.5
    assert last["commits_rate"] == 0.5
    assert last["changes_per_commit"] == 4.0
    assert last["commit_seconds"] == pytest.approx(0.2)
    assert last["logical_bytes"] == 7.0
    assert math.isnan(last["blobs"])


def test_a_group_that_exceeds_its_quota_for_a_moment_is_fully_busy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for used, now in ((10.0, 100.0), (11.6, 103.0), (12.1, 106.0)):
        monkeypatch.setattr(limits, "read_cpu", lambda root=None, used=used: CpuLimit(0.5, used))
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        site.look(totals=totals(0))
    shown = ring.read(site.path / "registry.fine", NOW, site.now).columns["cpu_percent"]
    assert shown == [100.0, pytest.approx(100 / 3)]


def test_what_was_before_the_first_look_is_nobodys_rate(site: Site) -> None:
    site.look(totals=totals(1_000_000))
    assert ring.read(site.path / "registry.fine", NOW, site.now).times == []


def test_times_are_of_what_was_answered_in_between(site: Site) -> None:
    slow, fast = 60, 20
    site.look(totals=totals(1000, seconds_bucket=slow))
    both = totals(1000, seconds_bucket=slow)
    both.pull[fast] = 10
    site.look(totals=both)
    last = site.last()
    assert BOUNDS[fast - 1] < last["pull_p50_seconds"] <= last["pull_p99_seconds"] <= BOUNDS[fast]
    assert math.isnan(last["push_p50_seconds"])


def test_workers_are_added_up(site: Site) -> None:
    for pulls in (0, 100):
        write(site.path, sample("worker-1", site.now + 10, pid=101, totals=totals(3 * pulls)))
        site.look(totals=totals(pulls))
    assert site.last()["requests_rate"] == 40.0


def test_a_process_that_was_restarted_counts_from_zero(site: Site) -> None:
    site.look(totals=totals(1_000_000), pid=100)
    site.look(totals=totals(30), pid=200, started_at=site.now + 1)
    assert site.last()["requests_rate"] == 3.0


def test_a_process_has_a_course_of_its_own(site: Site) -> None:
    site.look(totals=totals(0), cpu_seconds=100.0)
    site.look(totals=totals(50), cpu_seconds=105.0)
    last = site.last(name="process-worker-0")
    assert last == {
        "cpu_percent": 50.0,
        "resident_bytes": 5000.0,
        "anonymous_bytes": 3000.0,
        "threads": 7.0,
        "descriptors": 9.0,
        "requests_rate": 5.0,
    }


def test_the_coarse_course_is_the_mean_and_the_worst_of_the_tail(site: Site) -> None:
    counted = totals(0)
    site.look(totals=counted)
    for pulls, bucket in ((100, 10), (300, 40), (200, 10)):
        counted.requests["pull"] += pulls
        counted.pull[bucket] += pulls
        site.look(totals=counted)
    coarse, fine = site.last("coarse"), ring.read(site.path / "registry.fine", NOW, site.now)
    assert fine.columns["requests_rate"] == [10.0, 30.0, 20.0]
    assert coarse["requests_rate"] == 20.0
    assert coarse["pull_p99_seconds"] == max(fine.columns["pull_p99_seconds"])
    assert BOUNDS[39] < coarse["pull_p99_seconds"] <= BOUNDS[40]


def test_one_rule_makes_coarse_courses_and_thin_ones(site: Site) -> None:
    counted = totals(0)
    site.look(totals=counted)
    for pulls, bucket, seconds in ((100, 10, 1.0), (300, 40, 8.0), (200, 10, 9.0)):
        counted.requests["pull"] += pulls
        counted.pull[bucket] += pulls
        site.look(totals=counted, commits=int(seconds), commit_seconds=seconds**2)
    fine = ring.read(site.path / "registry.fine", NOW, site.now)
    thinned = thin(fine, 1)
    coarse = site.last("coarse")
    names = ("pull_p50_seconds", "pull_p95_seconds", "pull_p99_seconds", "commit_seconds")
    for name in names:
        known = [value for value in fine.columns[name] if not math.isnan(value)]
        expected = max(known) if name[5:8] in ("p95", "p99") else sum(known) / len(known)
        assert coarse[name] == pytest.approx(expected)
        assert thinned.columns[name][0] == pytest.approx(expected)


def test_a_process_that_was_silent_did_not_do_it_all_at_once(site: Site) -> None:
    site.look(totals=totals(0))
    site.look(totals=totals(100))
    for _ in range(4):  # the process is silent and not reported
        site.now += 10
        site.recorder.step()
    site.look(totals=totals(600))
    assert site.last()["requests_rate"] == 500 / 50
    assert site.last(name="process-worker-0")["requests_rate"] == 500 / 50


def test_a_process_says_itself_when_it_looked(site: Site) -> None:
    site.look(totals=totals(0))
    site.now += 10
    write(site.path, sample("worker-0", site.now - 5, totals=totals(100)))
    site.recorder.step()
    assert site.last()["requests_rate"] == 100 / 5


def test_who_was_seen_an_hour_ago_goes_on_from_now(site: Site) -> None:
    site.look(totals=totals(0))
    site.look(totals=totals(0))
    site.now += 3700
    site.recorder.step()
    site.look(totals=totals(1_000_000))
    assert site.last()["requests_rate"] == 0.0
    assert "process-worker-0" not in site.recorder._processes
    site.look(totals=totals(1_000_050))
    assert site.last()["requests_rate"] == 5.0


def test_who_is_older_than_the_recorder_counts_from_now(site: Site) -> None:
    site.look(totals=totals(0))
    write(site.path, sample("worker-1", site.now + 10, pid=101, totals=totals(1_000_000)))
    site.look(totals=totals(100))
    assert site.last()["requests_rate"] == 10.0


def test_looks_that_follow_at_once_are_one(site: Site) -> None:
    site.look(totals=totals(0))
    site.look(totals=totals(100))
    site.look(4.0, totals=totals(500))
    assert site.last()["requests_rate"] == 10.0
    site.look(6.0, totals=totals(500))
    assert site.last()["requests_rate"] == 40.0


def test_a_coarse_step_goes_on_over_a_restart(site: Site) -> None:
    site.look(totals=totals(0))
    site.look(totals=totals(100))
    site.look(totals=totals(400))
    site.restart()
    site.look(totals=totals(400))
    site.look(totals=totals(900))
    fine = ring.read(site.path / "registry.fine", NOW, site.now).columns["requests_rate"]
    assert fine == [10.0, 30.0, 50.0]
    assert site.last("coarse")["requests_rate"] == 30.0


def test_a_store_that_cannot_be_read_costs_its_figures_alone(tmp_path: Path) -> None:
    def fail() -> Mapping[str, float]:
        raise StorageFailed("no disk")

    now = [NOW]
    path = tmp_path / "metrics"
    with closing(Recorder(path, tmp_path, STORE_COLUMNS, fail, lambda: now[0])) as recorder:
        for _ in range(2):
            now[0] += 10
            recorder.step()
    found = ring.read(path / "registry.fine", NOW, now[0])
    assert len(found.times) == 1
    assert math.isnan(found.columns["logical_bytes"][0])
    assert not math.isnan(found.columns["memory_used_bytes"][0])


def test_a_clock_that_is_put_back_is_waited_for(site: Site) -> None:
    site.look(totals=totals(0))
    site.look(totals=totals(100))
    site.look(-5.0, totals=totals(200))
    site.look(15.0, totals=totals(300))
    assert site.last()["requests_rate"] == pytest.approx(100 / 15)


def test_history_goes_on_over_a_restart(site: Site) -> None:
    site.look(totals=totals(0))
    site.look(totals=totals(100))
    site.restart()
    site.look(totals=totals(200))
    site.look(totals=totals(300))
    times = ring.read(site.path / "registry.fine", NOW, site.now).times
    assert times == [NOW + 20, NOW + 40]


def test_the_size_of_all_files_is_small_and_fixed(site: Site) -> None:
    names = ("worker-0", "worker-1", "worker-2", "worker-3", "housekeeper")
    sizes = []
    for _ in range(4):
        site.now += 10
        for number, name in enumerate(names):
            write(site.path, sample(name, site.now, pid=number + 1))
        site.recorder.step()
        sizes.append(sum(path.stat().st_size for path in site.path.iterdir() if _is_ring(path)))
    slots = FINE[1] + COARSE[1]
    records = 8 + 4 * (len(REGISTRY_COLUMNS) + len(STORE_COLUMNS)) + len(names) * (8 + 4 * 6)
    assert sizes[-1] == sizes[-2] == 12 * 4096 + slots * records
    assert sizes[-1] < 8 << 20


def _is_ring(path: Path) -> bool:
    return path.suffix in (".fine", ".coarse")


# ---- reading -----------------------------------------------------------------------------------
def test_history_takes_the_resolution_that_covers(site: Site) -> None:
    for count in range(40):
        site.look(totals=totals(100 * count))
    history = History(site.path)
    fine = history.registry(6 * 3600, 10_000, site.now)
    assert len(fine.times) == 39
    assert set(fine.columns["requests_rate"]) == {10.0}
    coarse = history.registry(7 * 3600, 10_000, site.now)
    assert coarse.times == [NOW, NOW + 300]


def test_history_knows_the_processes(site: Site) -> None:
    site.look(totals=totals(0))
    site.look(totals=totals(10))
    history = History(site.path)
    assert history.process_names() == ["worker-0"]
    assert history.process("worker-0", 3600, 100, site.now).columns["requests_rate"] == [1.0]
    assert history.process("../registry", 3600, 100, site.now).times == []


def test_of_no_history_there_is_nothing(tmp_path: Path) -> None:
    history = History(tmp_path / "metrics")
    assert history.registry(3600, 100, NOW).times == []
    assert history.process_names() == []


@pytest.mark.parametrize("points_max", [1, 2, 7, 99, 100, 101])
def test_thinned_means_few_points_and_the_same_mean(points_max: int) -> None:
    whole = Series(list(range(0, 1000, 10)), {"a": [float(n) for n in range(100)]}, 10)
    few = thin(whole, points_max)
    assert 0 < len(few.times) <= points_max
    assert few.times[0] == 0
    assert all(low < high for low, high in zip(few.times, few.times[1:], strict=False))
    assert 0 <= min(few.columns["a"]) <= max(few.columns["a"]) <= 99


def test_thinned_times_are_the_worst_and_levels_the_mean() -> None:
    values = [1.0, 3.0, math.nan, 5.0]
    whole = Series([0, 10, 20, 30], {"pull_p99_seconds": values, "threads": values}, 10)
    few = thin(whole, 2)
    assert few.times == [0, 20]
    assert few.columns == {"pull_p99_seconds": [3.0, 5.0], "threads": [2.0, 5.0]}


def test_what_is_not_known_stays_so() -> None:
    few = thin(Series([0, 10], {"a": [math.nan, math.nan]}, 10), 1)
    assert math.isnan(few.columns["a"][0])


def test_a_gap_of_a_series_is_a_gap_of_its_points() -> None:
    """Points on both sides of a gap are never averaged, and the step shows where points lack."""
    times = [0, 10, 20, 30, 40, 5000, 5010, 5020]
    whole = Series(times, {"a": [1.0] * 5 + [9.0] * 3}, 10)
    few = thin(whole, 51)
    assert few.step_seconds == 100
    assert few.times == [0, 5000]
    assert few.columns == {"a": [1.0, 9.0]}


# ---- the thread --------------------------------------------------------------------------------
def test_a_look_that_fails_does_not_end_the_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looked = threading.Event()

    def clock() -> float:
        looked.set()
        raise ValueError("no time today")

    with closing(
        RecorderThread(Recorder(tmp_path / "metrics", tmp_path, (), dict, clock))
    ) as thread:
        assert looked.wait(20)
        assert thread._thread.is_alive()
    assert "metrics could not be recorded" in caplog.text
