"""Only the user of a server can read its files, whatever umask the shell has."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest


def _umask_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Umask:"))


def _is_serving(process: psutil.Process) -> bool:
    """Return True if supervisor, worker and housekeeper run."""
    names = [" ".join(child.cmdline()) for child in process.children(recursive=True)]
    return any("worker" in name for name in names) and any("jobs" in name for name in names)


@pytest.mark.long
def test_all_processes_of_a_server_have_umask_077(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dtrfast", "serve", "--auth", "none"]
    options = ["--data", str(tmp_path / "data"), "--bind", "127.0.0.1:0", "--workers", "1"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, umask=0o022
    ) as server:
        try:
            process = psutil.Process(server.pid)
            deadline = time.monotonic() + 30
            while not _is_serving(process) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert _is_serving(process), [c.cmdline() for c in process.children(recursive=True)]
            everyone = [server.pid, *(child.pid for child in process.children(recursive=True))]
            assert {_umask_of(pid) for pid in everyone} == {"0077"}
        finally:
            server.terminate()
            server.wait(30)
