"""The image of deploy/Containerfile: built, run without any right, and pushed to itself."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dtrfast
from tests.deploy.image import BASE, IMAGE
from tests.deploy.serving import get
from tests.e2e.programs import PROJECT, Program, ProgramFailed
from tests.e2e.registry import free_port
from tests.e2e.stores import Store

pytestmark = pytest.mark.deploy

# As docs/install.md recommends, and Kubernetes as its profile "restricted".
HARDENED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")


class Container:
    """A server in a container, with a volume that outlives it."""

    def __init__(self, podman: Program) -> None:
        self.podman = podman
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"https://{self.host}"

    def start(self, *options: str) -> None:
        """Start it, and return once it answers. It shares the network of this machine."""
        bind = f"--env=DTRFAST_SERVER_BIND=0.0.0.0:{self.port}"
        volume = "--volume=dtrfast-data:/data"
        self.podman.run(
            *("run", "--detach", "--name=dtrfast", "--network=host", bind, volume),
            *(*HARDENED, *options, IMAGE),
        )
        self.wait()

    def wait(self, name: str = "dtrfast") -> None:
        deadline = time.monotonic() + 120
        while get(f"{self.url}/readyz")[0] != 200:
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.1)  # podman tells nothing of a start

    def log(self, name: str = "dtrfast") -> str:
        """Return what the container wrote to both of its outputs."""
        return self.podman.start("logs", name).communicate(timeout=60)[0]

    def state(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.podman.run("inspect", "dtrfast"))[0]["State"]
        return found

    def health(self) -> str:
        """Run the check of the image once, as a timer of systemd would, and return the status."""
        self.podman.run("healthcheck", "run", "dtrfast")
        state = self.state()
        health = state.get("Health") or state.get("Healthcheck")  # by the version of podman
        assert isinstance(health, dict)
        return str(health["Status"])

    def run(self, *command: str) -> str:
        return self.podman.run("exec", "dtrfast", *command)


@pytest.fixture
def container(image_store: Store) -> Iterator[Container]:
    container = Container(image_store.podman)
    yield container
    container.podman.run("rm", "--force", "--volumes", "dtrfast")


def test_the_image_says_what_it_is_and_has_no_compiler(image_store: Store) -> None:
    (found,) = json.loads(image_store.podman.run("inspect", "--type=image", IMAGE))
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"]) == (["dtrfast"], ["serve"])
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["Volumes"]) == ["/data"]
    assert list(config["ExposedPorts"]) == ["5000/tcp"]
    labels = {name.rpartition(".")[2]: text for name, text in config["Labels"].items()}
    assert labels["title"] == "dtrfast"
    assert labels["version"] == dtrfast.__version__
    assert labels["revision"] == "abc"
    assert "PIP" not in json.dumps(config["Env"])
    (base,) = json.loads(image_store.podman.run("inspect", "--type=image", BASE))
    assert len(found["RootFS"]["Layers"]) <= len(base["RootFS"]["Layers"]) + 3
    assert found["Size"] - base["Size"] < 250_000_000
    # A store without mounts copies all files for each container, so one container tries everything.
    script = "dtrfast version; for name in gcc cc make pip; do ! command -v $name || exit 1; done"
    inside = ("run", "--rm", "--network=none", *HARDENED, "--entrypoint=/bin/sh", IMAGE, "-ec")
    assert image_store.podman.run(*inside, script) == f"dtrfast {dtrfast.__version__}"


def test_it_holds_its_own_image_across_a_restart(
    image_store: Store, container: Container, new_folder: Callable[[str], Path]
) -> None:
    podman = image_store.podman
    # The limits of its control group decide on the number of workers.
    container.start("--cpus=0.5", "--memory=512m")
    log = container.log()
    assert "data in /data, 1 workers" in log
    limits = "from dtrfast.machine import limits as l; print(l.usable_cores(), l.usable_memory())"
    assert container.run("python", "-c", limits) == f"0.5 {512 << 20}"
    assert container.health() == "healthy"
    # It has no rights, and nothing but the volume to write to.
    status = dict(re.findall(r"^(\w+):\t(.*)$", container.run("cat", "/proc/1/status"), re.M))
    assert status["Uid"].split() == ["10001"] * 4
    assert status["NoNewPrivs"] == "1"
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd")} == {0}
    with pytest.raises(ProgramFailed, match="Read-only file system"):
        container.run("touch", "/opt/dtrfast/x")

    name = f"{container.host}/admin/dtrfast:test"
    trusted = new_folder("certs")
    (trusted / "ca.crt").write_text(container.run("cat", "/data/tls/server.crt"))
    trust = f"--cert-dir={trusted}"
    found = re.search(r"password  (\S+)", log)
    assert found is not None
    sign_in = ("login", trust, "--username=admin", f"--password={found[1]}", container.host)
    podman.run(*sign_in)
    podman.run("tag", IMAGE, name)
    podman.run("push", trust, name, seconds=600)

    began = time.monotonic()
    podman.run("stop", "--time=60", "dtrfast")
    assert time.monotonic() - began < 45
    assert container.state()["ExitCode"] == 0
    podman.run("rm", "dtrfast")
    container.start()
    assert "password" not in container.log()

    # Another machine has none of its layers.
    other = Store(new_folder("other"), image_store.environment).podman
    other.run("pull", "--quiet", trust, name, seconds=600)
    version = other.run("run", "--rm", "--network=none", *HARDENED, name, "version")
    assert version == f"dtrfast {dtrfast.__version__}"


# Containers of the tests get no bridge, because its firewall rules would outlive them.
_HOST_NETWORK = """\
services:
  registry:
    network_mode: host
    ports: !reset []
    environment:
      DTRFAST_SERVER_BIND: "0.0.0.0:{port}"
"""


def test_podman_compose_runs_the_compose_file(
    image_store: Store, container: Container, new_folder: Callable[[str], Path]
) -> None:
    folder = new_folder("compose")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    environment = {**image_store.environment, "REGISTRY_IMAGE": IMAGE, "REGISTRY_TLS": "off"}
    python = Program(str(folder / "venv/bin/python"), environment)
    python.run("-m", "pip", "install", "podman-compose", seconds=300)
    # It takes a program, and no arguments for it.
    podman = image_store.podman
    wrapper = folder / "podman"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([podman.path, *podman.arguments])} "$@"\n')
    wrapper.chmod(0o755)
    override = folder / "override.yaml"
    override.write_text(_HOST_NETWORK.format(port=container.port))
    compose = Program(
        str(folder / "venv/bin/podman-compose"), environment, ("--podman-path", str(wrapper))
    ).called_with("--file", str(PROJECT / "deploy/compose.yaml"))
    config = compose.run("config")
    assert f"image: {IMAGE}" in config
    assert "DTRFAST_SERVER_TLS: 'off'" in config or "DTRFAST_SERVER_TLS=off" in config
    together = compose.called_with("--file", str(override))
    together.run("up", "--detach", "--no-build", seconds=180)
    try:
        container.url = f"http://{container.host}"
        container.wait("dtrfast_registry_1")
        (found,) = json.loads(podman.run("inspect", "dtrfast_registry_1"))
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert "no-new-privileges" in str(found["HostConfig"]["SecurityOpt"])
        assert found["EffectiveCaps"] in (None, [])
        status = podman.run("exec", "dtrfast_registry_1", "cat", "/proc/1/status")
        assert len(re.findall(r"Cap(?:Prm|Eff|Bnd):\s+0+\n", status)) == 3
        assert podman.run("healthcheck", "run", "dtrfast_registry_1") in ("", "healthy")
    finally:
        together.run("down", "--volumes", seconds=180)
    assert podman.run("volume", "ls", "--quiet", "--filter=name=dtrfast_data") == ""
