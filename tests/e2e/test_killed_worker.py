"""A worker dies in the middle of a push: the client's own retries complete it."""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.e2e import images
from tests.e2e.programs import Program, find, wait_until
from tests.e2e.registry import WORKER_COUNT, Registry

LAYER_BYTES = 96 << 20
ARRIVED_BYTES = 8 << 20
CHUNK_BYTES = 4 << 20


def test_push_survives_a_killed_worker(
    docker_daemons: tuple[Program, Program], own_registry: Registry, tmp_path: Path
) -> None:
    docker, other = docker_daemons
    name = f"{own_registry.host}/team/large:1"
    content = images.noise(LAYER_BYTES, seed=11)
    docker.run("import", images.layer_of({"large": content}, tmp_path / "layer.tar"), name)
    workers = own_registry.workers()
    assert len(workers) == WORKER_COUNT
    with docker.start("push", name) as push:
        busy = _busy_worker(own_registry, workers, push)
        busy.kill()
        wait_until(lambda: _is_replaced(own_registry, busy), own_registry.process, "new worker")
        said, _ = push.communicate(timeout=120)
    assert push.returncode == 0, said
    assert "Retrying" in said
    _assert_pulls(other, name, content, tmp_path)
    docker.run("rmi", name)


@pytest.mark.client
def test_upload_resumes_after_a_killed_worker(
    environment: Mapping[str, str], own_registry: Registry, tmp_path: Path
) -> None:
    config = str(tmp_path / "regctl.json")
    regctl = find("regctl", environment).with_environment(REGCTL_CONFIG=config)
    sizes = (f"--blob-max={CHUNK_BYTES}", f"--blob-chunk={CHUNK_BYTES}")
    regctl.run("registry", "set", own_registry.host, "--tls=disabled", *sizes)
    content = images.noise(LAYER_BYTES, seed=12)
    (tmp_path / "content").write_bytes(content)
    name = f"{own_registry.host}/team/resumed"
    workers = own_registry.workers()
    with (
        (tmp_path / "content").open("rb") as source,
        regctl.start("blob", "put", "--verbosity=debug", name, source=source) as put,
    ):
        _busy_worker(own_registry, workers, put).kill()
        said, _ = put.communicate(timeout=120)
    assert put.returncode == 0, said
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" in said
    # The client asked for one upload and continued it, instead of starting again.
    assert said.count("Upload location received") == 1


def _busy_worker(
    registry: Registry, workers: list[psutil.Process], push: "subprocess.Popen[str]"
) -> psutil.Process:
    """Return the worker that receives the layer, once a good part of it has arrived."""
    start = registry.disk_usage()
    wait_until(lambda: registry.disk_usage() - start > ARRIVED_BYTES, push, "bytes of the layer")
    return max(workers, key=_written_bytes)


def _written_bytes(worker: psutil.Process) -> int:
    count: int = worker.io_counters().write_chars
    return count


def _is_replaced(registry: Registry, dead: psutil.Process) -> bool:
    workers = registry.workers()
    return len(workers) == WORKER_COUNT and dead not in workers


def _assert_pulls(docker: Program, name: str, content: bytes, folder: Path) -> None:
    docker.run("pull", name)
    container = docker.run("create", name, "none")
    docker.run("cp", f"{container}:/large", folder / "large")
    docker.run("rm", container)
    docker.run("rmi", name)
    assert (folder / "large").read_bytes() == content
