"""Crane: push, pull, list, copy and delete."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.programs import Program, ProgramFailed, find
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

CONTENT = images.noise(500_000, seed=3)


@pytest.fixture
def crane(environment: Mapping[str, str]) -> Program:
    """The crane command line."""
    return find("crane", environment)


@pytest.fixture
def image(crane: Program, registry: Registry, repository: str, tmp_path: Path) -> str:
    """An image of one layer that crane has pushed."""
    name = f"{registry.host}/{repository}:1"
    layer = images.layer_of({"file": CONTENT}, tmp_path / "layer.tar")
    crane.run("append", "--oci-empty-base", "--new_layer", layer, "--new_tag", name)
    return name


def test_push_and_pull(crane: Program, image: str, tmp_path: Path) -> None:
    crane.run("pull", "--format=oci", image, tmp_path / "layout")
    [entry] = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
    assert entry["digest"] == crane.run("digest", image)
    crane.run("push", tmp_path / "layout", f"{image}-again")
    assert crane.run("digest", f"{image}-again") == entry["digest"]


def test_manifest_keeps_its_bytes(crane: Program, image: str) -> None:
    manifest = crane.run("manifest", image)
    digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
    assert crane.run("digest", image) == digest
    crane.run("validate", "--remote", image)


def test_copy_keeps_the_digest(crane: Program, image: str, registry: Registry) -> None:
    target = f"{registry.host}/crane/copied/elsewhere:1"
    crane.run("copy", image, target)
    assert crane.run("digest", target) == crane.run("digest", image)
    crane.run("validate", "--remote", target)


def test_lists_tags_and_repositories(crane: Program, image: str, registry: Registry) -> None:
    crane.run("tag", image, "2")
    name = image.rpartition(":")[0]
    assert crane.run("ls", name).splitlines() == ["1", "2"]
    repositories = crane.run("catalog", registry.host).splitlines()
    assert name.removeprefix(f"{registry.host}/") in repositories
    assert repositories == sorted(repositories)


def test_delete_by_digest_takes_the_tags_along(crane: Program, image: str) -> None:
    name = image.rpartition(":")[0]
    digest = crane.run("digest", image)
    crane.run("tag", image, "2")
    crane.run("delete", f"{name}@{digest}")
    assert crane.run("ls", name) == ""
    with pytest.raises(ProgramFailed, match="MANIFEST_UNKNOWN"):
        crane.run("manifest", image)


def test_index_of_two_platforms(crane: Program, image: str) -> None:
    name = image.rpartition(":")[0]
    crane.run("mutate", "--set-platform=linux/arm64", "--tag", f"{name}:arm64", image)
    crane.run("mutate", "--set-platform=linux/amd64", "--tag", f"{name}:amd64", image)
    manifests = [f"--manifest={name}:{architecture}" for architecture in ("amd64", "arm64")]
    crane.run("index", "append", *manifests, "--tag", f"{name}:index")
    for architecture in ("amd64", "arm64"):
        found = crane.run("digest", f"--platform=linux/{architecture}", f"{name}:index")
        assert found == crane.run("digest", f"{name}:{architecture}")
