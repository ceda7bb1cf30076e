"""The image of deploy/Containerfile and its recipes: built, run without any right, pushed."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import dtrfast
from tests.deploy import recipes
from tests.deploy.image import BASE, IMAGE
from tests.deploy.serving import get
from tests.e2e.programs import PROJECT, Program, ProgramFailed, find
from tests.e2e.registry import free_port
from tests.e2e.stores import Store
from tests.server.conftest import eventually

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


class Shell:
    """Runs recipes as root, in a network of their own: bridges and firewall rules end with it.

    `podman` there is the one of a store, and /etc/containers is a folder of the test.
    """

    def __init__(self, store: Store, folder: Path, network: str) -> None:
        self.folder = folder
        self._inside = find("nsenter", store.environment).called_with(f"--net={network}")
        podman = store.podman
        inner = [self._inside.path, *self._inside.arguments, podman.path, *podman.arguments]
        script = folder / "bin" / "podman"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec {shlex.join(inner)} "$@"\n')
        script.chmod(0o755)
        path = f"{script.parent}:{store.environment['PATH']}"
        shell = find("sh", store.environment).with_environment(PATH=path)
        self._shell = shell.in_folder(PROJECT).called_with("-ec")

    def follow(self, recipe: str) -> str:
        return self._shell.run(recipe.replace("/etc/containers", str(self.folder)), seconds=300)

    def curl(self, *arguments: str) -> str:
        """Call the registry on its published port, by a name that its certificate must have."""
        curl = (find("curl", self._inside.environment).path, "-sS", "--max-time", "20")
        retry = ("--retry", "60", "--retry-delay", "1", "--retry-all-errors")
        return self._inside.run(*curl, *retry, "--resolve", f"{HOST}:5000:127.0.0.1", *arguments)


HOST = "registry.example"


@pytest.fixture
def shell(image_store: Store, new_folder: Callable[[str], Path]) -> Iterator[Shell]:
    ip = find("ip", image_store.environment)
    name = f"dtrfast-{os.getpid()}"
    ip.run("netns", "add", name)
    try:
        ip.run("-n", name, "link", "set", "lo", "up")
        shell = Shell(image_store, new_folder("shell"), f"/run/netns/{name}")
        shell.follow(f"podman tag {IMAGE} localhost/dtrfast:{dtrfast.__version__}")
        yield shell
        shell.follow("podman rm --force dtrfast && podman volume prune --force")
    finally:
        ip.run("netns", "delete", name)


def _start(*more: str, volume: str = "dtrfast-data") -> str:
    """Return the recipe that starts a container, with more options."""
    recipe = recipes.replaced(recipes.block("A container", "podman run"), HOST=HOST)
    recipe = recipe[recipe.index("podman run") :]  # the image is there
    recipe = recipes.without(recipe, "systemctl")  # systemd does not run here
    recipe = recipe.replace("dtrfast-data", volume)
    return recipe.replace("--restart always", " ".join(["--restart always", *more]))


def test_the_recipes_of_a_container(shell: Shell) -> None:
    shell.follow(_start("--volume dtrfast-backups:/backups"))
    trust = recipes.replaced(recipes.block("A container", "certs.d"), HOST=HOST)
    authority = shell.folder / f"certs.d/{HOST}:5000/ca.crt"
    trusted = ("--fail", "--cacert", str(authority), f"https://{HOST}:5000/readyz")
    shell.curl("--insecure", "--fail", trusted[-1])
    shell.follow(trust)
    shell.curl(*trusted)
    shell.follow("podman exec dtrfast dtrfast user create maria")
    backups = recipes.block("Backup by timer", "podman exec")
    assert "deleted 0 backups" in shell.follow(backups)

    # A container made anew has another name and the same certificate. First the way back.
    name = shell.follow("podman exec dtrfast cat /etc/hostname")
    way_back = recipes.replaced(recipes.block("The way back", "podman"), NEW=dtrfast.__version__)
    assert "the previous version can open" in shell.follow(way_back)
    shell.follow(_start("--volume dtrfast-backups:/backups"))
    shell.curl(*trusted)
    assert shell.follow("podman exec dtrfast cat /etc/hostname") != name

    shell.follow(f"podman cp dtrfast:/data/tls {shell.folder}/tls")
    restore = recipes.block("Restore", "podman run").replace("/mnt/backups", "dtrfast-backups")
    assert "restored the backup" in shell.follow(restore)
    shell.follow(_start(volume="dtrfast-restored"))
    put_back = recipes.block("Restore", "podman cp").replace("cp tls", f"cp {shell.folder}/tls")
    shell.follow(put_back)
    shell.curl(*trusted)
    assert "maria" in shell.follow("podman exec dtrfast dtrfast user list")

    # Behind a proxy on the host: plain HTTP on the loopback address, and the proxy is believed.
    shell.follow("podman stop dtrfast && podman rm dtrfast")
    page = (PROJECT / "docs/install.md").read_text(encoding="utf-8")
    row = re.search(r"^\| a container \| `--publish (.*?)` ¹", page, re.M)
    assert row is not None
    recipe = _start(volume="dtrfast-restored").replace("--publish 5000:5000", f"--publish {row[1]}")
    shell.follow(recipe)
    shell.curl("--header", "X-Forwarded-For: 192.0.2.9", f"http://{HOST}:5000/v2/")
    # The line is on its way when the answer arrives.
    eventually(lambda: "192.0.2.9" in shell.follow("podman logs dtrfast 2>&1"))


def test_docker_builds_and_runs_the_image(
    docker_daemons: tuple[Program, Program],
    debian_rootfs: Path,
    network: Mapping[str, str],
    new_folder: Callable[[str], Path],
) -> None:
    docker = docker_daemons[0]
    docker.run("import", debian_rootfs, BASE)
    arguments = [f"BASE={BASE}", f"VERSION={dtrfast.__version__}"]
    if authorities := os.environ.get("PIP_CERT"):  # this machine reaches PyPI through a proxy
        folder = new_folder("base")
        (folder / "ca.crt").write_bytes(Path(authorities).read_bytes())
        (folder / "Dockerfile").write_text(f"FROM {BASE}\nCOPY ca.crt /etc/pip.crt\n")
        docker.run("build", "--tag", BASE, folder)
        arguments.append("PIP_CERT=/etc/pip.crt")
    options = [f"--build-arg={argument}" for argument in arguments]
    docker.in_folder(PROJECT).run(
        *("build", "--network=host", "--file=deploy/Containerfile"),
        *(f"--tag={IMAGE}", *options, "."),
        seconds=1200,
    )
    port = free_port()
    docker.run(
        *("run", "--detach", "--name=dtrfast", "--network=host", "--restart=unless-stopped"),
        *("--volume=dtrfast-data:/data", "--volume=dtrfast-backups:/backups", *HARDENED),
        *(f"--env=DTRFAST_SERVER_BIND=0.0.0.0:{port}", "--stop-timeout=60", IMAGE),
    )
    try:
        _wait_for(port, docker)
        # docker makes volumes as root, unless the image has the folder.
        docker.run("exec", "dtrfast", "dtrfast", "backup", "/backups")
        docker.run("stop", "dtrfast")
        assert docker.run("inspect", "--format={{.State.ExitCode}}", "dtrfast") == "0"

        # The certificate of a backup is put back: docker gives it to root.
        kept = new_folder("kept")
        docker.run("cp", "dtrfast:/data/tls", kept)
        docker.run("cp", kept / "tls", "dtrfast:/data/")
        recipe = recipes.block("Restore", "docker run").replace("dtrfast-restored", "dtrfast-data")
        recipe = recipe.replace(f"localhost/dtrfast:{dtrfast.__version__}", IMAGE)
        docker.run(*shlex.split(recipe.replace("\\\n", ""))[1:])
        docker.run("start", "dtrfast")
        _wait_for(port, docker)
    finally:
        docker.run("rm", "--force", "--volumes", "dtrfast")


def _wait_for(port: int, docker: Program) -> None:
    deadline = time.monotonic() + 120
    while get(f"https://127.0.0.1:{port}/readyz")[0] != 200:
        assert time.monotonic() < deadline, docker.run("logs", "dtrfast")
        time.sleep(0.1)


# Containers of these tests get no bridge, because its firewall rules would outlive them.
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
        # The way back, and the same version in place of the one before.
        together.run("stop", seconds=180)
        said = together.run("run", "--rm", "-T", "registry", "rollback", seconds=180)
        assert "the previous version can open /data" in said
        together.run("up", "--detach", "--no-build", seconds=180)
        container.wait("dtrfast_registry_1")
    finally:
        together.run("down", "--volumes", seconds=180)
    assert podman.run("volume", "ls", "--quiet", "--filter=name=dtrfast_data") == ""
