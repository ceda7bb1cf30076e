"""The machine, as far as one that runs tests can be known."""

from __future__ import annotations

import os
from pathlib import Path

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
    before, after = measure_host(tmp_path), measure_host(tmp_path)
    assert after.cpu_busy_seconds >= before.cpu_busy_seconds
    assert after.cpu_total_seconds >= before.cpu_total_seconds


def test_a_directory_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert measure_host(tmp_path / "gone").disk_bytes == 0
