"""Buildah: images of several layers, and an index over two architectures."""

import json
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.programs import Program
from tests.e2e.registry import Registry
from tests.e2e.stores import Store

INSECURE = "--tls-verify=false"


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_layers_arrive_whole(
    registry: Registry, stores: tuple[Store, Store], repository: str, form: str, tmp_path: Path
) -> None:
    first, second = stores
    name = f"{registry.host}/{repository}:1"
    layers = [{f"file{n}": images.noise(100_000, seed=n)} for n in range(3)]
    images.build(first.buildah, name, layers)
    first.buildah.run("push", INSECURE, f"--format={form}", name)
    container = second.buildah.run("from", INSECURE, name)
    mount = Path(second.buildah.run("mount", container))
    for files in layers:
        for file, content in files.items():
            assert (mount / file).read_bytes() == content
    second.buildah.run("umount", container)


def test_index_serves_each_architecture(
    registry: Registry, stores: tuple[Store, Store], skopeo: Program, repository: str
) -> None:
    buildah = stores[0].buildah
    name = f"{registry.host}/{repository}:1"
    images.build_index(buildah, name, ("amd64", "arm64"))
    buildah.run("manifest", "push", "--all", INSECURE, name, f"docker://{name}")
    inspect = skopeo.called_with("inspect", INSECURE)
    index = json.loads(inspect.run("--raw", f"docker://{name}"))
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]
    for architecture in ("amd64", "arm64"):
        chosen = skopeo.called_with(f"--override-arch={architecture}", "inspect", INSECURE)
        assert json.loads(chosen.run(f"docker://{name}"))["Architecture"] == architecture
