"""The machine: cores, memory, the disk of the data directory, and the network."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import psutil

_MEMORY_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


class HostSample(msgspec.Struct, frozen=True):
    """The host at one moment. Seconds and bytes that flow only grow."""

    cores: int
    load_1: float
    cpu_busy_seconds: float
    cpu_total_seconds: float
    memory_used_bytes: int
    memory_bytes: int
    disk_used_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    network_in_bytes: int
    network_out_bytes: int


def measure_host(data: Path) -> HostSample:
    """The host now; the disk is that of `data`. Takes about a millisecond."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Time of guests is counted in that of users as well.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    used, memory = _memory()
    disk_bytes, disk_free = _disk(data)
    received, sent = _network()
    return HostSample(
        cores=len(os.sched_getaffinity(0)),
        load_1=os.getloadavg()[0],
        cpu_busy_seconds=total - idle,
        cpu_total_seconds=total,
        memory_used_bytes=used,
        memory_bytes=memory,
        disk_used_bytes=disk_bytes - disk_free,
        disk_free_bytes=disk_free,
        disk_bytes=disk_bytes,
        network_in_bytes=received,
        network_out_bytes=sent,
    )


def _memory() -> tuple[int, int]:
    """Bytes in use and in all: of the container, where that has a limit of its own."""
    host = psutil.virtual_memory()
    for limit_path, used_path in _MEMORY_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limit, used = int(limit_path.read_text()), int(used_path.read_text())
            if 0 < limit < host.total:
                return min(used, limit), limit
    return host.total - host.available, host.total


def _disk(data: Path) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        status = os.statvfs(data)
        # What only root may use counts as used, as `df` has it.
        size = (status.f_blocks - status.f_bfree + status.f_bavail) * status.f_frsize
        return size, status.f_bavail * status.f_frsize
    return 0, 0


def _network() -> tuple[int, int]:
    """Bytes in and out of all interfaces but loopback."""
    cards = psutil.net_io_counters(pernic=True)
    real = [card for name, card in cards.items() if name != "lo"]
    return sum(card.bytes_recv for card in real), sum(card.bytes_sent for card in real)
