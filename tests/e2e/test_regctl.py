"""Regctl: uploads in chunks, copies between repositories, referrers and the deletion of tags."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.programs import Program, find
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

CONTENT = images.noise(1_000_000, seed=5)
CHUNK_BYTES = 300_000


@pytest.fixture
def regctl(environment: Mapping[str, str], registry: Registry, tmp_path: Path) -> Program:
    """The regctl command line, configured for plain HTTP."""
    program = find("regctl", environment)
    program = program.with_environment(REGCTL_CONFIG=str(tmp_path / "regctl.json"))
    program.run("registry", "set", registry.host, "--tls=disabled")
    (tmp_path / "content").write_bytes(CONTENT)
    return program


@pytest.fixture
def artifact(regctl: Program, registry: Registry, repository: str, tmp_path: Path) -> str:
    """An artifact that regctl has pushed."""
    name = f"{registry.host}/{repository}:1"
    file = f"--file={tmp_path / 'content'}"
    regctl.run("artifact", "put", "--artifact-type=application/vnd.test", file, name)
    return name


@pytest.mark.parametrize("blob_max", [-1, CHUNK_BYTES], ids=["whole", "chunked"])
def test_blob_comes_back(
    regctl: Program, registry: Registry, repository: str, blob_max: int, tmp_path: Path
) -> None:
    sizes = (f"--blob-max={blob_max}", f"--blob-chunk={CHUNK_BYTES}")
    regctl.run("registry", "set", registry.host, *sizes)
    name = f"{registry.host}/{repository}"
    text = CONTENT.hex()
    digest = regctl.run("blob", "put", name, text=text)
    assert digest == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert regctl.run("blob", "get", name, digest) == text


def test_artifact_comes_back(regctl: Program, artifact: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    regctl.run("artifact", "get", f"--output={out}", artifact)
    [back] = out.iterdir()
    assert back.read_bytes() == CONTENT


def test_image_copy_keeps_the_digest(regctl: Program, artifact: str, registry: Registry) -> None:
    target = f"{registry.host}/regctl/copied/elsewhere:1"
    regctl.run("image", "copy", artifact, target)
    assert regctl.run("image", "digest", target) == regctl.run("image", "digest", artifact)


def test_image_survives_export_and_import(
    regctl: Program, artifact: str, registry: Registry, tmp_path: Path
) -> None:
    target = f"{registry.host}/regctl/imported:1"
    regctl.run("image", "export", artifact, tmp_path / "image.tar")
    regctl.run("image", "import", target, tmp_path / "image.tar")
    assert regctl.run("image", "digest", target) == regctl.run("image", "digest", artifact)


def test_deleted_tag_leaves_the_others(regctl: Program, artifact: str) -> None:
    name = artifact.rpartition(":")[0]
    digest = regctl.run("image", "digest", artifact)
    regctl.run("image", "copy", artifact, f"{name}:2")
    assert regctl.run("tag", "ls", name).splitlines() == ["1", "2"]
    regctl.run("tag", "delete", artifact)
    assert regctl.run("tag", "ls", name).splitlines() == ["2"]
    assert regctl.run("image", "digest", f"{name}:2") == digest


def test_referrers_are_listed(regctl: Program, artifact: str, tmp_path: Path) -> None:
    file = f"--file={tmp_path / 'content'}"
    kind = "--artifact-type=application/vnd.sbom"
    regctl.run("artifact", "put", kind, file, f"--subject={artifact}")
    said = regctl.run("artifact", "list", artifact, "--format={{json .}}")
    [found] = json.loads(said)["descriptors"]
    assert found["artifactType"] == "application/vnd.sbom"
    assert regctl.run("tag", "ls", artifact.rpartition(":")[0]) == "1"


def test_repositories_are_listed(regctl: Program, artifact: str, registry: Registry) -> None:
    name = artifact.rpartition(":")[0].removeprefix(f"{registry.host}/")
    assert name in regctl.run("repo", "ls", registry.host).splitlines()
