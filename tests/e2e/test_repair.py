"""The index is lost. A repair makes it again, and the images run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.programs import PROJECT, Program
from tests.e2e.registry import Registry


@pytest.mark.slow
def test_images_run_after_a_repair(
    docker_daemons: tuple[Program, Program], own_registry: Registry, debian_rootfs: Path
) -> None:
    docker, other = docker_daemons
    name = f"{own_registry.host}/lib/repaired"
    docker.run("import", debian_rootfs, name)
    docker.run("push", name)
    time.sleep(1)  # the change log is written within half a second
    own_registry.kill()
    index = own_registry.data / "index"
    shutil.rmtree(index)
    index.mkdir()
    program = [sys.executable, "-m", "dtrfast", "repair", "--data", str(own_registry.data)]
    done = subprocess.run(
        program, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 blobs are lost, 0 are damaged" in done.stdout
    own_registry.start_again()
    other.run("pull", name)
    said = other.run("run", "--rm", "--network=none", name, "cat", "/etc/debian_version")
    assert said.strip()
    other.run("rmi", name)
