"""Docker: a daemon pushes an image, and another daemon without it pulls and runs it."""

from pathlib import Path

from tests.e2e import images
from tests.e2e.programs import Program
from tests.e2e.registry import Registry

# A manifest, its tag and the records of links take a few pages of the index in each table.
MANIFEST_BYTES_MAX = 1 << 20


def test_pushed_image_runs_on_another_machine(
    debian: str, docker_daemons: tuple[Program, Program]
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


def _digest(docker: Program, name: str) -> str:
    """Return the digest of the daemon's image in the repository of that name."""
    repository = name.rpartition(":")[0]
    known = docker.run("inspect", '--format={{join .RepoDigests "\\n"}}', name).splitlines()
    [digest] = [entry.partition("@")[2] for entry in known if entry.startswith(f"{repository}@")]
    return digest
