"""Measures the machine: cores, memory, the disk of the data directory, and the network."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from dtrfast.machine import limits
from dtrfast.machine.space import measure_or_zero

_INTERFACES = Path("/sys/class/net")


class HostSample(msgspec.Struct, frozen=True):
    """The host at one moment. CPU seconds and network bytes are counters that only grow.

    If a control group limits the server, CPU or memory are those of the group, and the total is the
    limit. Then `has_cpu_limit` or `has_memory_limit` is True.
    """

    cores: float
    has_cpu_limit: bool
    load_1: float
    cpu_busy_seconds: float
    cpu_total_seconds: float
    memory_used_bytes: int
    memory_bytes: int
    has_memory_limit: bool
    disk_used_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    network_in_bytes: int
    network_out_bytes: int


def measure_host(data: Path) -> HostSample:
    """Measure the host now; the disk is the one that holds `data`. Takes about 1 ms."""
    cpu, memory = _cpu(), _memory()
    disk = measure_or_zero(data)
    # Traffic of bridges and bonds passes a hardware interface too, so it counts once. Without
    # hardware interfaces, as in a container, all interfaces except loopback count.
    cards = psutil.net_io_counters(pernic=True)
    hardware = [card for name, card in cards.items() if (_INTERFACES / name / "device").exists()]
    counted = hardware or [card for name, card in cards.items() if name != "lo"]
    return HostSample(
        cores=limits.usable_cores(),
        has_cpu_limit=cpu.has_limit,
        load_1=os.getloadavg()[0],
        cpu_busy_seconds=cpu.used,
        cpu_total_seconds=cpu.total,
        memory_used_bytes=int(memory.used),
        memory_bytes=int(memory.total),
        has_memory_limit=memory.has_limit,
        disk_used_bytes=disk.used_bytes,
        disk_free_bytes=disk.free_bytes,
        disk_bytes=disk.usable_bytes,
        network_in_bytes=sum(card.bytes_recv for card in counted),
        network_out_bytes=sum(card.bytes_sent for card in counted),
    )


class _Use(NamedTuple):
    """A used part, its total, and True if the total is the limit of a control group."""

    used: float
    total: float
    has_limit: bool


def _cpu() -> _Use:
    """Return the busy and the total seconds: of the control group if it has a quota below the
    process's cores, else of the host.
    """
    limit = limits.read_cpu()
    cores = len(os.sched_getaffinity(0))
    if limit is not None and limit.cores < cores and limit.used_seconds is not None:
        return _Use(limit.used_seconds, limit.cores * time.monotonic(), True)
    times = psutil.cpu_times()._asdict()
    # Busy and idle time are sums of counters that grow. The difference of total and idle time would
    # sometimes fall, by rounding or because `iowait` can fall (proc(5)). The time of guests is
    # contained in the user time.
    idle = sum(times.pop(name, 0.0) for name in ("idle", "iowait"))
    busy = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
    return _Use(busy, busy + idle, False)


def _memory() -> _Use:
    """Return the used and the total bytes: of the control group if it has a limit below the host's
    memory, else of the host.
    """
    host = psutil.virtual_memory()
    limit = limits.read_memory()
    if limit is not None and limit.bytes < host.total and limit.used_bytes is not None:
        return _Use(limit.used_bytes, limit.bytes, True)
    return _Use(host.total - host.available, host.total, False)
