"""The gzip tier: layers of real clients are converted, evicted, and pulled by other machines."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import http_client, images, tiers
from tests.e2e.programs import Program, find
from tests.e2e.registry import Registry
from tests.e2e.stores import Store

INSECURE = "--tls-verify=false"
FROM_REGISTRY = "--src-tls-verify=false"
TO_REGISTRY = "--dest-tls-verify=false"

# The encoder of Debian 12's podman, buildah and skopeo. Others have newer versions.
PGZIP = "pgzip-k1"

# These run with the part `go-clients` of .ci/long: the others use docker and podman as well.
in_long_clients = pytest.mark.client

FILES = tiers.text_files()
# Headers of other tars are new chunks. They compress well: 410 of them take 5 KB.
HEADERS_SIZE_MAX = 16 * 1024
# Rows of two recipes, and three packs with headers.
DISK_GROWTH_MAX = 256 * 1024
DOCKERFILE = """\
FROM scratch
COPY hello /hello
COPY files /files
CMD ["/hello"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with a static program and files of text, which become two layers."""
    folder = tmp_path / "context"
    tiers.write_files(FILES, folder / "files")
    images.compile_hello(folder / "hello")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


def test_an_image_of_docker_runs_on_another_machine(
    own_registry: Registry, docker_daemons: tuple[Program, Program], context: Path
) -> None:
    docker, other = docker_daemons
    name = f"{own_registry.host}/tier/docker:1"
    _push_with_docker(docker, name, context)
    assert tiers.evict(own_registry).layers == 2
    assert tiers.states(own_registry) == {"go-default": "evicted"}
    assert not list((own_registry.data / "blobs").glob("*/*"))
    other.run("pull", name)
    assert other.run("run", "--rm", "--network=none", name) == images.HELLO
    ids = {daemon.run("inspect", "--format={{.Id}}", name) for daemon in docker_daemons}
    assert len(ids) == 1
    tiers.verify(own_registry)


@in_long_clients
def test_an_image_of_podman_reaches_another_machine(
    own_registry: Registry, stores: tuple[Store, Store], tmp_path: Path
) -> None:
    first, second = stores
    name = f"{own_registry.host}/tier/podman:1"
    layer = images.layer_of(FILES, tmp_path / "layer.tar")
    first.podman.run("import", "--quiet", layer, name)
    first.podman.run("push", INSECURE, name)
    tiers.evict(own_registry)
    assert tiers.states(own_registry) == {PGZIP: "evicted"}
    second.podman.run("pull", INSECURE, name)
    folder = Path(second.podman.run("image", "mount", name))
    assert tiers.read_files(folder) == FILES
    second.podman.run("image", "unmount", name)


@in_long_clients
def test_layers_of_buildah_reach_another_machine(
    own_registry: Registry, stores: tuple[Store, Store]
) -> None:
    first, second = stores
    name = f"{own_registry.host}/tier/buildah:1"
    other_files = {f"other-{file}": content for file, content in tiers.text_files(seed=2).items()}
    images.build(first.buildah, name, [FILES, other_files])
    first.buildah.run("push", INSECURE, name)
    assert tiers.evict(own_registry).layers == 2
    container = second.buildah.run("from", INSECURE, name)
    folder = Path(second.buildah.run("mount", container))
    assert tiers.read_files(folder) == FILES | other_files
    second.buildah.run("umount", container)


@in_long_clients
def test_a_layer_that_skopeo_compressed_is_copied_back(
    own_registry: Registry, stores: tuple[Store, Store], skopeo: Program, tmp_path: Path
) -> None:
    buildah = stores[0].buildah
    images.build(buildah, "layout", [FILES])
    # The registry gets nothing from this store, so skopeo has to compress the layer.
    plain, back = f"dir:{tmp_path / 'plain'}", f"dir:{tmp_path / 'back'}"
    buildah.run("push", "--disable-compression", "localhost/layout", plain)
    name = f"docker://{own_registry.host}/tier/skopeo:1"
    skopeo.run("copy", TO_REGISTRY, "--dest-compress-format=gzip", plain, name)
    tiers.evict(own_registry)
    assert tiers.states(own_registry) == {PGZIP: "evicted"}
    skopeo.run("copy", FROM_REGISTRY, name, back)
    for blob in (tmp_path / "back").iterdir():
        if blob.name not in ("manifest.json", "version"):
            assert http_client.digest_of(blob.read_bytes()) == f"sha256:{blob.name}"


@in_long_clients
def test_layers_of_other_programs_stay_the_same(
    own_registry: Registry, environment: Mapping[str, str], tmp_path: Path
) -> None:
    layer = images.layer_of(FILES, tmp_path / "layer.tar")
    packed = {
        "gnu-gzip": find("gzip", environment).run_raw("--no-name", "--stdout", layer),
        "pigz": find("pigz", environment).run_raw("--no-name", "--stdout", layer),
        "zlib": gzip.compress(layer.read_bytes(), compresslevel=6, mtime=0),
    }
    with http_client.connect(own_registry) as client:
        http_client.push_image(client, "tier/programs", "1", list(packed.values()))
        tiers.evict(own_registry)
        assert tiers.states(own_registry) == dict.fromkeys(packed, "evicted")
        for body in packed.values():
            digest = http_client.digest_of(body)
            assert http_client.pull(client, "tier/programs", digest) == body


def test_files_of_several_clients_are_stored_once(
    own_registry: Registry,
    docker_daemons: tuple[Program, Program],
    stores: tuple[Store, Store],
    context: Path,
    tmp_path: Path,
) -> None:
    """The headers of the tars differ, and the gzip bytes of the layers have nothing in common."""
    _push_with_docker(docker_daemons[0], f"{own_registry.host}/tier/docker:1", context)
    tiers.evict(own_registry)
    used = _stored_size(own_registry)

    name = f"{own_registry.host}/tier/podman:1"
    podman = stores[0].podman
    layer = images.layer_of({f"usr/{file}": FILES[file] for file in FILES}, tmp_path / "a")
    podman.run("import", "--quiet", layer, name)
    podman.run("push", INSECURE, name)
    second = tiers.evict(own_registry)

    layer = images.layer_of({f"opt/{file}": FILES[file] for file in FILES}, tmp_path / "b")
    with http_client.connect(own_registry) as client:
        http_client.push_image(client, "tier/plain", "1", [layer.read_bytes()])
    third = tiers.evict(own_registry)
    assert tiers.states(own_registry) == {
        "go-default": "evicted",
        PGZIP: "evicted",
        "uncompressed": "evicted",
    }
    for one in (second, third):
        assert one.layers == 1
        assert one.new_bytes < HEADERS_SIZE_MAX
    assert _stored_size(own_registry) - used < DISK_GROWTH_MAX
    tiers.verify(own_registry)


def _stored_size(registry: Registry) -> int:
    """Return the bytes of all packs, blobs and the index, without the lock file of the index."""
    files = [*registry.data.glob("[bp]*/*/*"), registry.data / "index" / "data.mdb"]
    return sum(file.stat().st_size for file in files)


def _push_with_docker(docker: Program, name: str, context: Path) -> None:
    classic = docker.with_environment(DOCKER_BUILDKIT="0")
    classic.run("build", "--quiet", "--tag", name, context)
    classic.run("push", name)
