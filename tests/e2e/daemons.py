"""Daemons of docker and BuildKit with roots of their own. Two of them act as two machines."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.programs import Program, ProgramFailed, find, wait_until


@contextmanager
def running(
    root: Path, environment: Mapping[str, str], *, containerd_store: bool = False
) -> Iterator[Program]:
    """Run a daemon that keeps all its data in `root`; yields the docker command line for it.

    With `containerd_store` it is a newer daemon, which keeps its images in containerd.
    """
    dockerd = find("dockerd-next" if containerd_store else "dockerd", environment)
    config = {"features": {"containerd-snapshotter": True}} if containerd_store else {}
    (root / "daemon.json").write_text(json.dumps(config))
    address = f"unix://{root / 'docker.sock'}"
    docker = find("docker", environment).called_with("--host", address)
    log = root / "dockerd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [dockerd.path, *_arguments(root, address)],
            # Debian's docker uses an older API than the newer daemon accepts by default.
            env={**environment, "DOCKER_MIN_API_VERSION": "1.40"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
    try:
        _wait_for(docker, process, log)
        yield docker
    finally:
        _stop(process)
        _unmount(root)


@contextmanager
def running_buildkit(root: Path, environment: Mapping[str, str], host: str) -> Iterator[Program]:
    """Run a buildkitd that keeps all its data in `root`; yields the command line for it."""
    (root / "buildkitd.toml").write_text(f'[registry."{host}"]\nhttp = true\n')
    address = f"unix://{root / 'buildkitd.sock'}"
    buildctl = find("buildctl", environment).called_with("--addr", address)
    options = [
        f"--config={root / 'buildkitd.toml'}",
        f"--addr={address}",
        f"--root={root / 'data'}",
    ]
    # Snapshots are folders, because the tests may run where no overlay can be mounted.
    options += ["--oci-worker-snapshotter=native", "--containerd-worker=false"]
    buildkitd = find("buildkitd", environment).called_with(*options)
    with buildkitd.serving(root / "buildkitd.log", lambda: buildctl.run("debug", "workers")):
        yield buildctl


def build_with(buildctl: Program, context: Path, *options: str) -> str:
    """Build the context with BuildKit; returns the output about the steps."""
    folders = (f"--local=context={context}", f"--local=dockerfile={context}")
    process = buildctl.start(
        "build", "--progress=plain", "--frontend=dockerfile.v0", *folders, *options
    )
    told, _ = process.communicate(timeout=120)
    if process.returncode:
        raise ProgramFailed(told)
    return told


def _arguments(root: Path, address: str) -> list[str]:
    # The daemon gets no network for containers, because bridges and firewall rules would outlive
    # the tests. It chooses its storage driver itself: overlay2 if the file system allows it, else
    # vfs.
    return [
        f"--data-root={root / 'data'}",
        f"--exec-root={root / 'exec'}",
        f"--pidfile={root / 'docker.pid'}",
        f"--host={address}",
        f"--config-file={root / 'daemon.json'}",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        "--insecure-registry=127.0.0.0/8",
    ]


def _wait_for(docker: Program, process: subprocess.Popen[str], log: Path) -> None:
    def answers() -> bool:
        try:
            docker.run("version")
        except ProgramFailed:
            return False
        return True

    try:
        wait_until(answers, process, "answer from dockerd")
    except ProgramFailed as failure:
        raise ProgramFailed(f"dockerd {failure}\n{log.read_text()}") from None


def _stop(process: subprocess.Popen[str]) -> None:
    """Stop the daemon. The kernel then also ends its containerd, which asked for that."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _unmount(root: Path) -> None:
    """Unmount the mounts that a failed container left, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = [line.split()[4] for line in lines]
    for mount in sorted(mounts, reverse=True):
        if Path(mount).is_relative_to(root):
            subprocess.run(["umount", "--lazy", mount], check=True)
