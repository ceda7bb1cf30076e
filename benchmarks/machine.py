"""The conditions of the figures: the machine, and the commit that was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from benchmarks.disk import file_system
from benchmarks.load import ROOT
from benchmarks.results import Machine


def machine(memory: Path, disk: Path) -> Machine:
    """Return the description of this machine, with the file systems of these folders."""
    return Machine(
        processor=_field("/proc/cpuinfo", "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        system=_field("/etc/os-release", "PRETTY_NAME").strip('"'),
        python=platform.python_version(),
        memory_file_system=file_system(memory),
        disk_file_system=file_system(disk),
    )


def commit() -> str:
    """Return the checked-out commit, with a plus if files differ from it; empty outside of git."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _field(file: str, name: str) -> str:
    """Return the value of the first line of `file` that begins with `name`."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    found = [line for line in lines if line.startswith(name)]
    return found[0].replace("=", ":").partition(":")[2].strip() if found else ""
