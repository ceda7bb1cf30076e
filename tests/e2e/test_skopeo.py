"""Skopeo: copies in every format and of indexes, and the reading and deletion of tags."""

import json
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.programs import Program, ProgramFailed
from tests.e2e.registry import Registry
from tests.e2e.stores import Store

FROM_REGISTRY = "--src-tls-verify=false"
TO_REGISTRY = "--dest-tls-verify=false"
INSECURE = "--tls-verify=false"


@pytest.fixture
def layout(stores: tuple[Store, Store], tmp_path: Path) -> str:
    """An image of two layers as an OCI layout in a folder."""
    buildah = stores[0].buildah
    layers = [{f"file{n}": images.noise(200_000, seed=n)} for n in range(2)]
    images.build(buildah, "layout", layers)
    target = f"oci:{tmp_path / 'layout'}:1"
    buildah.run("push", "localhost/layout", target)
    return target


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        ("oci", "application/vnd.oci.image.manifest.v1+json"),
        ("v2s2", "application/vnd.docker.distribution.manifest.v2+json"),
    ],
)
def test_copy_there_and_back(
    registry: Registry,
    skopeo: Program,
    layout: str,
    repository: str,
    form: str,
    media_type: str,
    tmp_path: Path,
) -> None:
    target = f"docker://{registry.host}/{repository}:1"
    skopeo.run("copy", TO_REGISTRY, f"--format={form}", layout, target)
    raw = skopeo.run("inspect", INSECURE, "--raw", target)
    assert json.loads(raw)["mediaType"] == media_type
    skopeo.run("copy", FROM_REGISTRY, target, f"dir:{tmp_path / 'back'}")
    assert (tmp_path / "back" / "manifest.json").read_text() == raw
    _assert_blobs_are_whole(skopeo, tmp_path / "back")


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_real_image_runs_after_a_copy(
    debian: str,
    docker_daemons: tuple[Program, Program],
    own_registry: Registry,
    skopeo: Program,
    form: str,
) -> None:
    docker = docker_daemons[1]
    name = f"{own_registry.host}/lib/debian:{form}"
    flags = (FROM_REGISTRY, TO_REGISTRY, f"--format={form}")
    skopeo.run("copy", *flags, f"docker://{debian}", f"docker://{name}")
    docker.run("pull", name)
    version = docker.run("run", "--rm", "--network=none", name, "cat", "/etc/debian_version")
    assert version.startswith("12.")


def test_copy_of_an_index_takes_all_of_it(
    registry: Registry, skopeo: Program, stores: tuple[Store, Store], repository: str
) -> None:
    source, target = (f"docker://{registry.host}/{repository}/{name}:1" for name in ("a", "b"))
    buildah = stores[0].buildah
    images.build_index(buildah, f"{registry.host}/{repository}", ("amd64", "arm64"))
    buildah.run("manifest", "push", "--all", INSECURE, f"{registry.host}/{repository}", source)
    skopeo.run("copy", "--all", FROM_REGISTRY, TO_REGISTRY, source, target)
    raw = [skopeo.run("inspect", INSECURE, "--raw", image) for image in (source, target)]
    assert raw[0] == raw[1]
    for architecture in ("amd64", "arm64"):
        chosen = skopeo.called_with(f"--override-arch={architecture}", "inspect", INSECURE)
        assert json.loads(chosen.run(target))["Architecture"] == architecture


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressions(
    registry: Registry,
    skopeo: Program,
    layout: str,
    repository: str,
    compression: str,
    tmp_path: Path,
) -> None:
    target = f"docker://{registry.host}/{repository}:1"
    skopeo.run("copy", TO_REGISTRY, f"--dest-compress-format={compression}", layout, target)
    skopeo.run("copy", FROM_REGISTRY, target, f"dir:{tmp_path / 'back'}")
    _assert_blobs_are_whole(skopeo, tmp_path / "back")


def test_copy_between_repositories(
    registry: Registry, skopeo: Program, layout: str, repository: str
) -> None:
    source = f"docker://{registry.host}/{repository}/source:1"
    target = f"docker://{registry.host}/{repository}/target:1"
    skopeo.run("copy", TO_REGISTRY, layout, source)
    skopeo.run("copy", FROM_REGISTRY, TO_REGISTRY, source, target)
    digests = [_digest(skopeo, image) for image in (source, target)]
    assert digests[0] == digests[1]


def test_tags_are_listed_and_deleted(
    registry: Registry, skopeo: Program, layout: str, repository: str
) -> None:
    image = f"docker://{registry.host}/{repository}"
    for tag in ("b", "a"):
        skopeo.run("copy", TO_REGISTRY, layout, f"{image}:{tag}")
    assert _tags(skopeo, image) == ["a", "b"]
    skopeo.run("delete", INSECURE, f"{image}:a")
    # It deletes the manifest, which has both tags.
    assert _tags(skopeo, image) == []
    with pytest.raises(ProgramFailed, match="manifest unknown"):
        skopeo.run("inspect", INSECURE, f"{image}:b")


def _digest(skopeo: Program, image: str) -> str:
    return skopeo.run("inspect", INSECURE, "--format={{.Digest}}", image)


def _tags(skopeo: Program, image: str) -> list[str]:
    tags: list[str] = json.loads(skopeo.run("list-tags", INSECURE, image))["Tags"]
    return tags


def _assert_blobs_are_whole(skopeo: Program, folder: Path) -> None:
    """Let skopeo read a whole copied image again, because it checks each digest."""
    skopeo.run("copy", f"dir:{folder}", f"oci:{folder}-checked:1")
