"""Clients over TLS that verify the certificate, and clients that are told not to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import certificates, images
from tests.e2e.programs import Program, ProgramFailed
from tests.e2e.registry import Registry
from tests.e2e.stores import Store


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("secure")
    registry = Registry(folder, certificates.make(folder))
    try:
        yield registry
    finally:
        registry.stop()


@pytest.fixture
def trust(secure: Registry, tmp_path: Path) -> Path:
    """Return a folder in which skopeo and podman find the authority."""
    assert secure.tls is not None
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(secure.tls.authority.read_bytes())
    return folder


def test_docker_pushes_and_pulls(
    debian: str, docker_daemons: tuple[Program, Program], secure: Registry
) -> None:
    """Daemons try TLS first on a loopback address, and accept any certificate there."""
    docker, other = docker_daemons
    name = f"{secure.host}/lib/debian:bookworm"
    docker.run("tag", debian, name)
    docker.run("push", name)
    other.run("pull", name)
    assert docker.run("inspect", "--format={{.Id}}", name) == other.run(
        "inspect", "--format={{.Id}}", name
    )


def test_skopeo_checks_the_certificate(
    secure: Registry, skopeo: Program, stores: tuple[Store, Store], trust: Path, tmp_path: Path
) -> None:
    buildah = stores[0].buildah
    images.build(buildah, "secured", [{"file": images.noise(300_000, seed=3)}])
    layout = f"oci:{tmp_path / 'layout'}:1"
    buildah.run("push", "localhost/secured", layout)
    target = f"docker://{secure.host}/team/secured:1"
    with pytest.raises(ProgramFailed, match="certificate"):
        skopeo.run("copy", layout, target)
    skopeo.run("copy", f"--dest-cert-dir={trust}", layout, target)
    back = f"oci:{tmp_path / 'back'}:1"
    skopeo.run("copy", f"--src-cert-dir={trust}", target, back)
    pushed, pulled = (sorted((tmp_path / n / "blobs/sha256").iterdir()) for n in ("layout", "back"))
    assert [path.name for path in pushed] == [path.name for path in pulled]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(pushed, pulled, strict=True))


def test_podman_pulls_with_the_authority(
    secure: Registry, stores: tuple[Store, Store], trust: Path
) -> None:
    first, second = stores
    images.build(first.buildah, "podded", [{"file": b"in a pod"}])
    name = f"{secure.host}/team/podded:1"
    first.buildah.run("push", f"--cert-dir={trust}", "localhost/podded", f"docker://{name}")
    second.podman.run("pull", f"--cert-dir={trust}", name)
    assert "podded" in second.podman.run("images", "--format={{.Repository}}")
