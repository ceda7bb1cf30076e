"""Containerd fetches a layer in parallel pieces: it sends open ranges, and hangs up."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from tests.e2e import http_client, images, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, find, require_root

pytestmark = pytest.mark.client

MIB = 1 << 20
PIECE_BYTES = 8 * MIB
PARALLEL_COUNT = 4
# One layer that the registry stores unchanged, and one that it compresses.
CONTENTS = {
    "noise": images.noise(80 * MIB, seed=70),
    "text": b"".join(b"%015d\n" % n for n in range(5 * MIB)),
}
CONFIG = f"""\
version = 3
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[plugins."io.containerd.transfer.v1.local"]
max_concurrent_downloads = {PARALLEL_COUNT}
concurrent_layer_fetch_buffer = {PIECE_BYTES}
"""


@contextmanager
def _daemon(root: Path, environment: Mapping[str, str]) -> Iterator[Program]:
    """Run a containerd that keeps all its data in `root`; yields the command line for it."""
    (root / "config.toml").write_text(CONFIG)
    address = root / "containerd.sock"
    ctr = find("ctr", environment).called_with("--address", str(address))
    options = [f"--config={root / 'config.toml'}", f"--address={address}"]
    options += [f"--root={root / 'data'}", f"--state={root / 'state'}"]
    containerd = find("containerd", environment).called_with(*options)
    with containerd.serving(root / "containerd.log", lambda: ctr.run("version")):
        yield ctr


@pytest.fixture(scope="module")
def machines(
    new_folder: Callable[[str], Path], environment: Mapping[str, str]
) -> Iterator[tuple[Program, Program]]:
    """Two machines that share nothing."""
    require_root("containerd mounts")
    with (
        _daemon(new_folder("containerd"), environment) as first,
        _daemon(new_folder("containerd"), environment) as second,
    ):
        yield first, second


def test_large_layers_arrive_in_pieces(
    machines: tuple[Program, Program], accounts: ManagedRegistry, tmp_path: Path
) -> None:
    first, second = machines
    name = f"{accounts.host}/acme/ctr:1"
    layers = _archive(name, tmp_path / "image.tar")
    first.run("images", "import", "--no-unpack", tmp_path / "image.tar")
    access = ("--plain-http", "--user", f"owen:{accounts.secrets['owen']}")
    with traffic.watched(accounts.registry) as pushed:
        first.run("images", "push", *access, name)
    assert pushed.surprises() == []
    with traffic.watched(accounts.registry) as pulled:
        second.run("images", "pull", *access, name)
    for digest, size in layers.items():
        content = second.run_raw("content", "get", digest)
        assert (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}") == (size, digest)
        asked = pulled.of("GET", f"/v2/acme/ctr/blobs/{digest}", status=206)
        assert len(asked) == -(-size // PIECE_BYTES)
        # Most of the bytes that it did not want were not sent.
        assert sum(request.bytes_out for request in asked) < 1.25 * size
    assert any(request.is_cut for request in pulled.requests)
    assert pulled.surprises(hangs_up=True) == []


def _archive(name: str, path: Path) -> dict[str, int]:
    """Write an image of two layers as a file for containerd's import; returns the layers' sizes."""
    layers = [_layer(file, content) for file, content in CONTENTS.items()]
    digests = [http_client.digest_of(layer) for layer in layers]
    rootfs = {"type": "layers", "diff_ids": digests}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": http_client.MANIFEST_TYPE,
            "config": http_client.descriptor(http_client.CONFIG_TYPE, config),
            "layers": [http_client.descriptor(http_client.LAYER_TYPE, b) for b in layers],
        }
    ).encode()
    entry = http_client.descriptor(http_client.MANIFEST_TYPE, manifest)
    entry["annotations"] = {"io.containerd.image.name": name}
    index = {"schemaVersion": 2, "manifests": [entry]}
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(archive, "index.json", json.dumps(index).encode())
        for body in (*layers, config, manifest):
            _add(archive, f"blobs/{http_client.digest_of(body).replace(':', '/')}", body)
    return {digest: len(layer) for digest, layer in zip(digests, layers, strict=True)}


def _layer(file: str, content: bytes) -> bytes:
    with BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            _add(archive, file, content)
        return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, BytesIO(content))
