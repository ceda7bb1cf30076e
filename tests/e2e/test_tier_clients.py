"""The gzip tier: layers of crane and of a newer docker, which keeps its images in containerd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e import daemons, images, tiers
from tests.e2e.programs import Program, find, require_root
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

FILES = tiers.text_files()


def test_a_layer_of_crane_is_whole_again(
    own_registry: Registry, environment: Mapping[str, str], tmp_path: Path
) -> None:
    crane = find("crane", environment)
    name = f"{own_registry.host}/tier/crane:1"
    layer = images.layer_of(FILES, tmp_path / "layer.tar")
    crane.run("append", "--oci-empty-base", "--new_layer", layer, "--new_tag", name)
    assert tiers.evict(own_registry).layers == 1
    assert tiers.states(own_registry) == {"go-best-speed": "evicted"}
    crane.run("validate", "--remote", name)  # pulls the layer, and compares all digests


def test_an_image_of_the_newer_docker_runs_on_an_older_one(
    own_registry: Registry,
    docker_daemons: tuple[Program, Program],
    environment: Mapping[str, str],
    new_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    require_root("dockerd mounts")
    name = f"{own_registry.host}/tier/newer:1"
    root = tmp_path / "root"
    tiers.write_files(FILES, root / "files")
    images.compile_hello(root / "hello")
    layer = images.layer_of_folder(root, tmp_path / "layer.tar")
    folder = new_folder("docker")
    with daemons.running(folder, environment, containerd_store=True) as docker:
        docker.run("import", '--change=CMD ["/hello"]', layer, name)
        docker.run("push", name)
    assert tiers.evict(own_registry).layers == 1
    assert tiers.states(own_registry) == {"go-default": "evicted"}
    older = docker_daemons[0]
    older.run("pull", name)
    assert older.run("run", "--rm", "--network=none", name) == images.HELLO
