"""Container clients that push: a docker daemon of its own, and podman with its own storage."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cases import CaseFailed, CaseSkipped

_START_SECONDS = 60.0

# Pushes a root file system in a tar as an image of one layer under a name.
Push = Callable[[Path, str], None]


@contextmanager
def docker(folder: Path) -> Iterator[Push]:
    """Run a docker daemon that keeps its data in `folder`. Raises `CaseSkipped` without docker."""
    _require("dockerd", "docker")
    address = f"unix://{folder / 'docker.sock'}"
    command = ["docker", "--host", address]
    options = [
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'docker.pid'}",
        f"--host={address}",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        "--insecure-registry=127.0.0.0/8",
    ]
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(["dockerd", *options], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run([*command, "version"], capture_output=True).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise CaseSkipped("dockerd does not start: it needs root")
            time.sleep(0.2)
        yield lambda tar, name: _push(command, [], tar, name)
    finally:
        daemon.terminate()
        daemon.wait()


@contextmanager
def podman(folder: Path) -> Iterator[Push]:
    """Use podman with its storage in `folder`. Raises `CaseSkipped` without podman."""
    _require("podman")
    roots = [f"--root={folder / 'root'}", f"--runroot={folder / 'run'}", "--storage-driver=vfs"]
    yield lambda tar, name: _push(["podman", *roots], ["--tls-verify=false"], tar, name)


def _push(command: list[str], options: list[str], tar: Path, name: str) -> None:
    """Push an image and remove it. Raises `CaseFailed`."""
    for arguments in (["import", str(tar), name], ["push", *options, name], ["rmi", name]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise CaseFailed(f"{' '.join(arguments)} failed: {done.stderr.strip()[-300:]}")


def _require(*programs: str) -> None:
    if os.geteuid() != 0:
        raise CaseSkipped(f"{programs[0]} needs root")
    for program in programs:
        if shutil.which(program) is None:
            raise CaseSkipped(f"{program} is not installed")
