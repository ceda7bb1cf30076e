"""Podman: a store pushes an image, and an empty store pulls and runs it."""

import json
from pathlib import Path

from tests.e2e.programs import Program
from tests.e2e.registry import Registry
from tests.e2e.stores import Store

INSECURE = "--tls-verify=false"


def test_pushed_image_runs_on_another_machine(
    registry: Registry, stores: tuple[Store, Store], debian_rootfs: Path, repository: str
) -> None:
    first, second = stores
    name = f"{registry.host}/{repository}:bookworm"
    first.podman.run("import", "--quiet", debian_rootfs, name)
    first.podman.run("push", INSECURE, name)
    second.podman.run("pull", INSECURE, name)
    assert _run(second.podman, name, "cat", "/etc/debian_version").startswith("12.")


def test_search_finds_repository_and_its_tags(
    registry: Registry, stores: tuple[Store, Store], repository: str, tmp_path: Path
) -> None:
    podman = stores[0].podman
    (tmp_path / "empty.tar").write_bytes(bytes(1024))
    for tag in ("1", "2"):
        name = f"{registry.host}/{repository}:{tag}"
        podman.run("import", "--quiet", tmp_path / "empty.tar", name)
        podman.run("push", INSECURE, name)
    term = f"{registry.host}/{repository}"
    found = podman.run("search", INSECURE, "--format={{.Name}}", term)
    assert term in found.splitlines()
    [listed] = json.loads(podman.run("search", INSECURE, "--list-tags", "--format=json", term))
    assert listed["Tags"] == ["1", "2"]


def _run(podman: Program, image: str, *command: str) -> str:
    """Return a command's output in a container of the image."""
    return podman.run("run", "--rm", "--network=none", image, *command)
