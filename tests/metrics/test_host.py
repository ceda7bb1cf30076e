"""Measurements of the machine, as far as tests can predict them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest

from dtrfast.machine import limits
from dtrfast.machine.limits import CpuLimit, MemoryLimit
from dtrfast.metrics import host as host_module
from dtrfast.metrics.host import measure_host


def test_what_is_measured_makes_sense(tmp_path: Path) -> None:
    host = measure_host(tmp_path)
    assert host.cores == len(os.sched_getaffinity(0))
    assert 0 < host.cpu_busy_seconds < host.cpu_total_seconds
    assert 0 < host.memory_used_bytes <= host.memory_bytes
    assert host.disk_used_bytes + host.disk_free_bytes == host.disk_bytes > 0
    assert host.network_in_bytes >= 0
    assert host.network_out_bytes >= 0


def test_processor_time_only_grows(tmp_path: Path) -> None:
    before = measure_host(tmp_path)
    for _ in range(100):
        after = measure_host(tmp_path)
        assert after.cpu_busy_seconds >= before.cpu_busy_seconds
        before = after


def test_idle_time_takes_nothing_from_busy_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Total minus idle would give 16599.799999999996 for the second sample.
    for idle in (5957.82, 5957.83):
        times = _Times(16590.1, 9.7, idle, 0.0, 0.0, 0.0)
        monkeypatch.setattr(psutil, "cpu_times", lambda times=times: times)
        measured = measure_host(tmp_path)
        assert measured.cpu_busy_seconds == 16590.1 + 9.7
        assert measured.cpu_total_seconds == 16590.1 + 9.7 + idle


def test_a_directory_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert measure_host(tmp_path / "gone").disk_bytes == 0


def test_the_disk_is_as_df_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A hundred blocks; thirty of the free ones are reserved for root.
    status = SimpleNamespace(f_blocks=100, f_bfree=60, f_bavail=30, f_frsize=4096, f_files=0)
    monkeypatch.setattr(os, "statvfs", lambda path: status)
    found = measure_host(tmp_path)
    assert found.disk_bytes == 70 * 4096
    assert found.disk_free_bytes == 30 * 4096
    assert found.disk_used_bytes == 40 * 4096


def test_used_is_what_the_library_says(tmp_path: Path) -> None:
    used = measure_host(tmp_path).disk_used_bytes
    assert abs(used - shutil.disk_usage(tmp_path).used) < 64 << 20


def _card(count: int) -> SimpleNamespace:
    return SimpleNamespace(bytes_recv=count, bytes_sent=10 * count)


@pytest.mark.parametrize(
    ("hardware", "received"), [({"eth0", "eth1"}, 3), ({"eth0"}, 1), (set(), 1 + 2 + 4 + 8)]
)
def test_bytes_are_counted_once(
    hardware: set[str], received: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = {"eth0": 1, "eth1": 2, "bond0": 4, "docker0": 8, "lo": 16}
    for name in hardware:
        (tmp_path / name / "device").mkdir(parents=True)
    monkeypatch.setattr(host_module, "_INTERFACES", tmp_path)
    counters = {name: _card(count) for name, count in cards.items()}
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: counters)
    measured = measure_host(tmp_path)
    assert (measured.network_in_bytes, measured.network_out_bytes) == (received, 10 * received)


class _Times(NamedTuple):
    user: float
    system: float
    idle: float
    iowait: float
    guest: float
    guest_nice: float


def test_time_of_guests_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = _Times(user=10.0, system=5.0, idle=80.0, iowait=3.0, guest=4.0, guest_nice=1.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    measured = measure_host(tmp_path)
    assert (measured.cpu_busy_seconds, measured.cpu_total_seconds) == (15.0, 98.0)


def test_cpu_and_memory_are_those_of_a_group_with_lower_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory: Any = SimpleNamespace(total=9000, available=6000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    cores = len(os.sched_getaffinity(0))
    for cpu, bytes_, expected in (
        (CpuLimit(0.5, 7.0), MemoryLimit(1000, 600), (0.5, True, 7.0, True, 600, 1000)),
        (CpuLimit(cores, 7.0), MemoryLimit(9000, 600), (cores, False, None, False, 3000, 9000)),
        (CpuLimit(0.5, None), MemoryLimit(1000, None), (0.5, False, None, False, 3000, 9000)),
        (None, None, (cores, False, None, False, 3000, 9000)),
    ):
        monkeypatch.setattr(limits, "read_cpu", lambda root=None, cpu=cpu: cpu)
        monkeypatch.setattr(limits, "read_memory", lambda root=None, bytes_=bytes_: bytes_)
        host = measure_host(tmp_path)
        busy = host.cpu_busy_seconds if host.has_cpu_limit else None
        sizes = (host.memory_used_bytes, host.memory_bytes)
        found = (host.cores, host.has_cpu_limit, busy, host.has_memory_limit, *sizes)
        assert found == expected, (cpu, bytes_)


def test_the_total_of_a_quota_is_its_part_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "read_cpu", lambda root=None: CpuLimit(0.25, 3.0))
    start = time.monotonic()
    total = measure_host(tmp_path).cpu_total_seconds
    assert 0.25 * start <= total <= 0.25 * time.monotonic()
