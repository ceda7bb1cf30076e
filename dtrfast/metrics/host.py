"""The machine: cores, memory, the disk of the data directory, and the network."""

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
    busy, idle = _processor_seconds()
    used, memory = _memory()
    disk = measure_or_zero(data)
    received, sent = _network()
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
        network_in_bytes=received,
        network_out_bytes=sent,
    )


def _processor_seconds() -> tuple[float, float]:
    """Seconds of all processors since the start: busy, and idle or waiting for a disk.

    Each is a sum of its own, which grows when its parts do. All less what is idle would fall at
    times: by a rounding, or with `iowait`, as proc(5) says of it.
    """
    times = psutil.cpu_times()._asdict()
    # Time of guests is counted in that of users as well.
    idle = sum(times.pop(name, 0.0) for name in ("idle", "iowait"))
    busy = sum(seconds for name, seconds in times.items() if not name.startswith("guest"))
    return busy, idle


def _memory() -> tuple[int, int]:
    """Bytes in use and in all: of the group of processes, where that has a limit of its own."""
    host = psutil.virtual_memory()
    group = _CGROUPS / _group()
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())
        if 0 < limit < host.total:
            used = int((group / "memory.current").read_text())
            # Pages of files that the kernel gives up first are not in use.
            lines = (group / "memory.stat").read_text().split()
            cached = int(lines[lines.index("inactive_file") + 1])
            return max(0, min(used - cached, limit)), limit
    return host.total - host.available, host.total


def _group() -> str:
    """The control group (version 2) of this process, below the root of all."""
    with contextlib.suppress(OSError):
        for line in _OWN_GROUP.read_text().splitlines():
            if line.startswith("0::/"):
                return line[len("0::/") :]
    return ""


def _network() -> tuple[int, int]:
    """Bytes in and out of the interfaces that are hardware: what goes over bridges, bonds and the
    like goes over one of those too. Where there are none, in a container, of all but loopback.
    """
    cards = psutil.net_io_counters(pernic=True)
    hardware = [card for name, card in cards.items() if (_INTERFACES / name / "device").exists()]
    counted = hardware or [card for name, card in cards.items() if name != "lo"]
    return sum(card.bytes_recv for card in counted), sum(card.bytes_sent for card in counted)
