"""Docker: a daemon pushes, another that has never seen the image pulls and runs it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e import daemons, images
from tests.e2e.programs import Program, find, require_root
from tests.e2e.registry import Registry

# A manifest, its tag and the records of links: a few pages of the index in each of its tables.
MANIFEST_BYTES_MAX = 1 << 20
# The first daemon release that can keep images in containerd.
CONTAINERD_STORE_VERSION = 24


@pytest.fixture(scope="module")
def debian(registry: Registry, docker_daemons: tuple[Program, Program], debian_rootfs: Path) -> str:
    """The name of a Debian image that the first daemon has pushed."""
    docker, _ = docker_daemons
    name = f"{registry.host}/lib/debian:bookworm"
    docker.run("import", debian_rootfs, name)
    docker.run("push", name)
    return name


def test_pushed_image_runs_on_another_machine(
    debian: str, docker_daemons: tuple[Program, Program], debian_rootfs: Path
) -> None:
    _, other = docker_daemons
    other.run("pull", debian)
    version = other.run("run", "--rm", "--network=none", debian, "cat", "/etc/debian_version")
    assert version.startswith("12.")


def test_push_again_adds_nothing(
    debian: str, docker_daemons: tuple[Program, Program], registry: Registry
) -> None:
    docker, _ = docker_daemons
    before = registry.disk_usage()
    assert "Layer already exists" in docker.run("push", debian)
    assert registry.disk_usage() - before < MANIFEST_BYTES_MAX


def test_push_under_another_name_adds_a_manifest(
    debian: str, docker_daemons: tuple[Program, Program], registry: Registry
) -> None:
    docker, _ = docker_daemons
    other_name = f"{registry.host}/team/base:1"
    docker.run("tag", debian, other_name)
    before = registry.disk_usage()
    assert "Mounted from lib/debian" in docker.run("push", other_name)
    assert registry.disk_usage() - before < MANIFEST_BYTES_MAX
    assert _digest(docker, other_name) == _digest(docker, debian)


def test_search_finds_repository(
    debian: str, docker_daemons: tuple[Program, Program], registry: Registry
) -> None:
    docker, _ = docker_daemons
    found = docker.run("search", "--format={{.Name}}", f"{registry.host}/debian")
    assert "lib/debian" in found
    assert not docker.run("search", "--format={{.Name}}", f"{registry.host}/no-such-name")


def test_several_layers_arrive_whole(
    docker_daemons: tuple[Program, Program], registry: Registry, repository: str, tmp_path: Path
) -> None:
    docker, other = docker_daemons
    name = f"{registry.host}/{repository}:1"
    files = {f"file{n}": images.noise(1000 * n, seed=n) for n in range(1, 5)}
    context = tmp_path / "context"
    context.mkdir()
    for file, content in files.items():
        (context / file).write_bytes(content)
    copies = [f"COPY {file} /" for file in files]
    (context / "Dockerfile").write_text("\n".join(["FROM scratch", *copies, 'CMD ["none"]']))
    docker.with_environment(DOCKER_BUILDKIT="0").run("build", "--tag", name, context)
    docker.run("push", name)
    other.run("pull", name)
    container = other.run("create", name)
    other.run("cp", f"{container}:/", tmp_path / "out")
    other.run("rm", container)
    assert {file: (tmp_path / "out" / file).read_bytes() for file in files} == files


def test_containerd_image_store_pushes_and_pulls(
    registry: Registry,
    repository: str,
    new_folder: Callable[[str], Path],
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    require_root("dockerd mounts")
    said = find("dockerd", environment).run("--version")
    version = re.search(r"version (\d+)", said)
    if version is None or int(version[1]) < CONTAINERD_STORE_VERSION:
        pytest.skip(f"{said}: its images are never in containerd; install docker 24 or newer")
    config = {"features": {"containerd-snapshotter": True}}
    name = f"{registry.host}/{repository}:1"
    layer = images.layer_of({"file": images.noise(100_000, seed=1)}, tmp_path / "layer.tar")
    with daemons.running(new_folder("docker"), environment, config) as docker:
        docker.run("import", layer, name)
        docker.run("push", name)
    with daemons.running(new_folder("docker"), environment, config) as docker:
        docker.run("pull", name)


def _digest(docker: Program, name: str) -> str:
    """The digest under which the daemon knows the image in the repository of that name."""
    repository = name.rpartition(":")[0]
    known = docker.run("inspect", '--format={{join .RepoDigests "\\n"}}', name).splitlines()
    [digest] = [entry.partition("@")[2] for entry in known if entry.startswith(f"{repository}@")]
    return digest
