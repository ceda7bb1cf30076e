"""Limits of control groups, read from trees of files as systems have them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from dtrfast.machine import limits
from dtrfast.machine.limits import CpuLimit, MemoryLimit

_NO_LIMIT_V1 = str((1 << 63) - 4096)
_V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def _tree(root: Path, mounts: str, own: str, files: Mapping[str, str]) -> Path:
    """Write the files of proc, and those below the mount point of control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/vda rw\n{mounts}\n")
    (root / "proc/self/cgroup").write_text(own + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def _v2_group(cpu: str = "max 100000", memory: str = "max", high: str = "max") -> dict[str, str]:
    return {
        "cpu.max": cpu,
        "cpu.stat": "usage_usec 2500000\nuser_usec 1",
        "memory.max": memory,
        "memory.high": high,
        "memory.current": "700",
        "memory.stat": "anon 600\ninactive_file 100\nactive_file 5",
    }


def _below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


def test_a_container_of_version_2_sees_its_group_at_the_mount_point(tmp_path: Path) -> None:
    root = _tree(tmp_path, _V2, "0::/", _v2_group("150000 100000", "1000"))
    assert limits.read_cpu(root) == CpuLimit(1.5, 2.5)
    assert limits.read_memory(root) == MemoryLimit(1000, 600)


def test_the_lowest_limit_of_all_parents_counts(tmp_path: Path) -> None:
    slice_, unit = "company.slice", "company.slice/dtrfast.service"
    groups = _below(slice_, _v2_group("50000 100000", "9000")) | _below(
        unit, _v2_group("200000 100000", "max", "4000")
    )
    root = _tree(tmp_path, _V2, f"0::/{unit}", groups)
    assert limits.read_cpu(root) == CpuLimit(0.5, 2.5)
    assert limits.read_memory(root) == MemoryLimit(4000, 600)


# Both controllers of the processor are one mount, as systemd makes it.
_V1 = """\
31 28 0:29 {path} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 28 0:30 {path} /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory
33 28 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd"""
_V1_OWN = "4:memory:{path}\n3:cpu,cpuacct:{path}\n1:name=systemd:{path}\n0::/"


def _v1_group(cpu: str, memory: str, folder: str = "") -> dict[str, str]:
    at_cpu, at_memory = f"cpu,cpuacct{folder}/", f"memory{folder}/"
    return {
        f"{at_cpu}cpu.cfs_quota_us": cpu,
        f"{at_cpu}cpu.cfs_period_us": "50000",
        f"{at_cpu}cpuacct.usage": "2500000000",
        f"{at_memory}memory.limit_in_bytes": memory,
        f"{at_memory}memory.usage_in_bytes": "700",
        f"{at_memory}memory.stat": "inactive_file 50\ntotal_inactive_file 100",
    }


def test_version_1_is_read_with_and_without_a_namespace(tmp_path: Path) -> None:
    """docker on version 1 mounts the container's group, but shows its path from the host's root."""
    group = "/docker/0123abcd"
    for name, mounted, own, folder in (
        ("container", group, group, ""),
        ("namespace", "/", "/", ""),
        ("host", "/", group, group),
        ("outside", "/", "/../../" + group, ""),
    ):
        root = _tree(
            tmp_path / name,
            _V1.format(path=mounted),
            _V1_OWN.format(path=own),
            _v1_group("25000", "1000", folder),
        )
        assert limits.read_cpu(root) == CpuLimit(0.5, 2.5), name
        assert limits.read_memory(root) == MemoryLimit(1000, 600), name


def test_a_system_with_both_versions_has_the_limits_of_version_1(tmp_path: Path) -> None:
    both = _V1.format(path="/") + "\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    files = _v1_group("25000", "1000", "/registry") | {"unified/cgroup.procs": "1"}
    root = _tree(tmp_path, both, _V1_OWN.format(path="/registry"), files)
    assert limits.read_cpu(root) == CpuLimit(0.5, 2.5)
    assert limits.read_memory(root) == MemoryLimit(1000, 600)


def test_missing_and_strange_files_set_no_limit(tmp_path: Path) -> None:
    unlimited = _v2_group()
    strange: Mapping[str, dict[str, str]] = {
        "none": {},
        "unlimited": unlimited,
        "words": _v2_group("much", "lots", "high"),
        "zero": _v2_group("0 0", "0", "0"),
        "no period": _v2_group("100000", "max"),
        "negative": _v2_group("-1 100000", "-1"),
        "endless": _v2_group("9" * 30 + " 100000", "9" * 30),
        "other digits": _v2_group("१०० १००", "१०००"),
    }
    for name, files in strange.items():
        root = _tree(tmp_path / name, _V2, "0::/", files)
        assert (limits.read_cpu(root), limits.read_memory(root)) == (None, None), name
    plain = _tree(
        tmp_path / "v1",
        _V1.format(path="/"),
        _V1_OWN.format(path="/"),
        _v1_group("-1", _NO_LIMIT_V1),
    )
    assert (limits.read_cpu(plain), limits.read_memory(plain)) == (None, None)
    assert limits.read_memory(tmp_path / "without proc") is None
    broken = _tree(tmp_path / "broken", "1 2 3\n- cgroup2\n", "nonsense\n::", {})
    (broken / "proc/self/cgroup").write_bytes(b"0::/\xff\n")
    assert limits.read_cpu(broken) is None


def test_a_limit_counts_although_its_use_is_unknown(tmp_path: Path) -> None:
    files = {"cpu.max": "100000 100000", "memory.max": "1000"}
    root = _tree(tmp_path, _V2, "0::/", files)
    assert limits.read_cpu(root) == CpuLimit(1.0, None)
    assert limits.read_memory(root) == MemoryLimit(1000, None)


def test_cores_are_those_of_affinity_and_quota(tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0))
    for name, quota, usable in (
        ("part", "20000 100000", 0.2),
        ("more", "150000 100000", min(1.5, allowed)),
        ("above the host", "99900000 100000", allowed),
        ("none", "max 100000", allowed),
    ):
        root = _tree(tmp_path / name, _V2, "0::/", _v2_group(quota))
        assert limits.usable_cores(root) == usable, name
        assert limits.count_cores(root) == max(1, math.ceil(usable)), name


def test_memory_is_the_lower_of_limit_and_host(tmp_path: Path) -> None:
    host = limits.usable_memory(tmp_path)
    assert host == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name, limit, usable in (("low", "4096", 4096), ("high", str(host + 1), host)):
        root = _tree(tmp_path / name, _V2, "0::/", _v2_group(memory=limit))
        assert limits.usable_memory(root) == usable
