"""The Rust crate oci-client: layers in pieces or whole, ranges of them, mounts and referrers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import http_client, images, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, ProgramFailed, find
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

# More than two pieces of 4 MiB, but less than three.
LAYERS = [images.noise(size, seed=size) for size in (9_000_000, 300_000)]


@pytest.fixture
def oci_client(environment: Mapping[str, str], tmp_path: Path) -> Program:
    """A program that uses the crate, in a folder with two files."""
    for number, layer in enumerate(LAYERS):
        (tmp_path / f"layer{number}").write_bytes(layer)
    (tmp_path / "out").mkdir()
    return find("oci-client-test", environment).in_folder(tmp_path)


@pytest.mark.parametrize(("push", "patches"), [("push", 3 + 1 + 1), ("push-whole", 0)])
def test_user_with_a_password_pushes_and_pulls(
    oci_client: Program, accounts: ManagedRegistry, tmp_path: Path, push: str, patches: int
) -> None:
    oci_client = _as_user(oci_client, accounts, "owen")
    image = f"{accounts.host}/acme/oci-{push}:1"
    with traffic.watched(accounts.registry) as seen:
        url = oci_client.run(push, image, "layer0", "layer1")
        digest = oci_client.run("pull", image, "out")
        assert oci_client.run("tags", image) == "1"
        part = oci_client.run_raw("part", image, "1000", "5000")
    assert url == f"{accounts.registry.url}/v2/acme/oci-{push}/manifests/{digest}"
    assert [(tmp_path / "out" / name).read_bytes() for name in "01"] == LAYERS
    assert part == LAYERS[0][1000:6000]
    assert len(seen.of("PATCH", status=202)) == patches
    assert seen.surprises() == []


def test_mount_between_repositories(
    oci_client: Program, registry: Registry, repository: str
) -> None:
    source, target = f"{registry.host}/{repository}:1", f"{registry.host}/{repository}-other:1"
    oci_client.run("push", source, "layer0", "layer1")
    with traffic.watched(registry) as seen:
        oci_client.run("mount", target, source, http_client.digest_of(LAYERS[0]))
    assert seen.surprises() == []
    assert len(seen.of("POST", f"{repository}-other/blobs/uploads/", status=201)) == 1


def test_referrer_is_listed(oci_client: Program, accounts: ManagedRegistry) -> None:
    oci_client = _as_user(oci_client, accounts, "owen")
    image = f"{accounts.host}/acme/oci-referred:1"
    oci_client.run("push", image, "layer1")
    with traffic.watched(accounts.registry) as seen:
        assert oci_client.run("referrers", image) == ""
        oci_client.run("refer", image)
        assert oci_client.run("referrers", image) == "application/vnd.test"
    assert seen.surprises() == []


def test_reader_may_not_push(oci_client: Program, accounts: ManagedRegistry) -> None:
    oci_client = _as_user(oci_client, accounts, "rita")
    with pytest.raises(ProgramFailed, match="DENIED"):
        oci_client.run("push", f"{accounts.host}/acme/app:rita", "layer1")


def _as_user(program: Program, server: ManagedRegistry, name: str) -> Program:
    return program.with_environment(REGISTRY_USER=name, REGISTRY_PASSWORD=server.secrets[name])
