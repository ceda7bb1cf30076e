"""Measures the machine: cores, memory, the disk of the data directory, and the network."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import psutil

from dtrfast.machine.space import measure_or_zero

_CGROUPS = Path("/sys/fs/cgroup")
_INTERFACES = Path("/sys/class/net")
_OWN_GROUP = Path("/proc/self/cgroup")


class HostSample(msgspec.Struct, frozen=True):
    """The host at one moment. CPU seconds and network bytes are counters that only grow."""

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
    """Measure the host now; the disk is the one that holds `data`. Takes about 1 ms."""
    times = psutil.cpu_times()._asdict()
    # Busy and idle time are sums of counters that grow. The difference of total and idle time would
    # sometimes fall, by rounding or because `iowait` can fall (proc(5)). The time of guests is
    # contained in the user time.
    idle = sum(times.pop(name, 0.0) for name in ("idle", "iowait"))
    busy = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
    used, memory = _memory()
    disk = measure_or_zero(data)
    # Traffic of bridges and bonds passes a hardware interface too, so it counts once. Without
    # hardware interfaces, as in a container, all interfaces except loopback count.
    cards = psutil.net_io_counters(pernic=True)
    hardware = [card for name, card in cards.items() if (_INTERFACES / name / "device").exists()]
    counted = hardware or [card for name, card in cards.items() if name != "lo"]
    return HostSample(
        cores=len(os.sched_getaffinity(0)),
        load_1=os.getloadavg()[0],
        cpu_busy_seconds=busy,
        cpu_total_seconds=busy + idle,
        memory_used_bytes=used,
        memory_bytes=memory,
        disk_used_bytes=disk.used_bytes,
        disk_free_bytes=disk.free_bytes,
        disk_bytes=disk.usable_bytes,
        network_in_bytes=sum(card.bytes_recv for card in counted),
        network_out_bytes=sum(card.bytes_sent for card in counted),
    )


def _memory() -> tuple[int, int]:
    """Return the used and the total bytes of memory: of the control group if it has a lower limit,
    else of the host.
    """
    host = psutil.virtual_memory()
    group = _CGROUPS
    with contextlib.suppress(OSError):
        # The line of control groups of version 2. Its path is relative to the root group.
        lines = _OWN_GROUP.read_text().splitlines()
        group /= next((line[len("0::/") :] for line in lines if line.startswith("0::/")), "")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())
        if 0 < limit < host.total:
            used = int((group / "memory.current").read_text())
            # The kernel reclaims inactive pages of files first, so they do not count as used.
            words = (group / "memory.stat").read_text().split()
            cached = int(words[words.index("inactive_file") + 1])
            return max(0, min(used - cached, limit)), limit
    return host.total - host.available, host.total
