"""Users' other programs, signed in to a registry with accounts."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e import daemons
from tests.e2e import managed as registries
from tests.e2e.managed import ROBOT, ManagedRegistry
from tests.e2e.programs import Program, ProgramFailed, find, require_root

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def managed(new_folder: Callable[[str], Path]) -> Iterator[ManagedRegistry]:
    with registries.running(new_folder("managed")) as server:
        yield server


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    return path


@pytest.fixture
def environment(environment: Mapping[str, str]) -> Mapping[str, str]:
    """An environment with a home of its own, since tests must not share credentials."""
    return {**environment, "HOME": tempfile.mkdtemp(prefix="dtrfast-home-")}


def test_crane(managed: ManagedRegistry, environment: Mapping[str, str], layer: Path) -> None:
    crane = find("crane", environment)
    crane.run("auth", "login", managed.host, "-u", ROBOT, "-p", managed.secrets[ROBOT])
    crane.run("append", "-f", layer, "-t", f"{managed.host}/acme/app:crane")
    assert "crane" in crane.run("ls", f"{managed.host}/acme/app")
    assert "acme/app" in crane.run("catalog", managed.host)
    with pytest.raises(ProgramFailed, match=r"DENIED|NAME_UNKNOWN|UNAUTHORIZED"):
        crane.run("append", "-f", layer, "-t", f"{managed.host}/owen/x:1")


def test_oras(managed: ManagedRegistry, environment: Mapping[str, str], layer: Path) -> None:
    oras = find("oras", environment).in_folder(layer.parent)
    login = ("login", "--plain-http", "-u", "will", "--password-stdin", managed.host)
    oras.run(*login, text=managed.secrets["will"])
    target = f"{managed.host}/acme/app:oras"
    oras.run("push", "--plain-http", target, layer.name)
    oras.run("pull", "--plain-http", target, "-o", "pulled")
    assert (layer.parent / "pulled" / layer.name).read_bytes() == layer.read_bytes()
    assert "acme/app" in oras.run("repo", "ls", "--plain-http", managed.host)


def test_regctl(managed: ManagedRegistry, environment: Mapping[str, str]) -> None:
    regctl = find("regctl", environment)
    regctl.run("registry", "set", managed.host, "--tls", "disabled")
    login = ("registry", "login", managed.host, "-u", "will", "--pass-stdin")
    regctl.run(*login, text=managed.secrets["will"])
    target = f"{managed.host}/acme/app:regctl"
    regctl.run("artifact", "put", "--artifact-type", "application/x", target, text="content")
    assert "regctl" in regctl.run("tag", "ls", f"{managed.host}/acme/app")
    assert "acme/app" in regctl.run("repo", "ls", managed.host)
    regctl.run("tag", "delete", target)
    assert "regctl" not in regctl.run("tag", "ls", f"{managed.host}/acme/app")


def test_helm(managed: ManagedRegistry, environment: Mapping[str, str], tmp_path: Path) -> None:
    helm = find("helm", environment).in_folder(tmp_path)
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: chart\nversion: 0.1.0\n")
    helm.run("package", chart)
    login = ("registry", "login", "--plain-http", "-u", "owen", "--password-stdin", managed.host)
    helm.run(*login, text=managed.secrets["owen"])
    helm.run("push", "--plain-http", "chart-0.1.0.tgz", f"oci://{managed.host}/acme")
    chart_address = f"oci://{managed.host}/acme/chart"
    helm.run("pull", "--plain-http", chart_address, "--version", "0.1.0", "-d", tempfile.mkdtemp())


def test_docker_with_containerd(
    managed: ManagedRegistry,
    environment: Mapping[str, str],
    new_folder: Callable[[str], Path],
    layer: Path,
) -> None:
    require_root("dockerd mounts")
    with daemons.running(new_folder("docker"), environment, containerd_store=True) as docker:
        _push_and_pull(docker, managed, layer)


def _push_and_pull(docker: Program, managed: ManagedRegistry, layer: Path) -> None:
    login = ("login", "-u", "will", "--password-stdin", managed.host)
    docker.run(*login, text=managed.secrets["will"])
    image = f"{managed.host}/acme/app:containerd"
    docker.run("import", layer, image)
    docker.run("push", image)
    docker.run("rmi", image)
    docker.run("pull", image)
    with pytest.raises(ProgramFailed):
        docker.run("pull", f"{managed.host}/acme/secret:1")
    docker.run("logout", managed.host)
    docker.run("rmi", image)
    with pytest.raises(ProgramFailed):
        docker.run("pull", image)
