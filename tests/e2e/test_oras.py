"""Oras: artifacts, their referrers, and plain blobs."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.programs import Program, ProgramFailed, find
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

CONTENT = images.noise(500_000, seed=4)
HTTP = "--plain-http"
FILE = "content:application/octet-stream"


@pytest.fixture
def oras(environment: Mapping[str, str], tmp_path: Path) -> Program:
    """The oras command line in a folder with the file `content`."""
    (tmp_path / "content").write_bytes(CONTENT)
    return find("oras", environment).in_folder(tmp_path)


@pytest.fixture
def artifact(oras: Program, registry: Registry, repository: str) -> str:
    """An artifact that oras has pushed."""
    name = f"{registry.host}/{repository}:1"
    oras.run("push", HTTP, "--artifact-type=application/vnd.test", name, FILE)
    return name


def test_artifact_comes_back(oras: Program, artifact: str, tmp_path: Path) -> None:
    oras.run("pull", HTTP, "--output", tmp_path / "out", artifact)
    assert (tmp_path / "out" / "content").read_bytes() == CONTENT
    manifest = oras.run("manifest", "fetch", HTTP, artifact)
    digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
    assert oras.run("resolve", HTTP, artifact) == digest


def test_referrers_are_discovered_by_type(oras: Program, artifact: str) -> None:
    for kind in ("application/vnd.sbom", "application/vnd.signature"):
        oras.run("attach", HTTP, f"--artifact-type={kind}", artifact, FILE)
    assert _referrers(oras, artifact) == ["application/vnd.sbom", "application/vnd.signature"]
    assert _referrers(oras, artifact, "--artifact-type=application/vnd.sbom") == [
        "application/vnd.sbom"
    ]
    # The registry keeps the list itself, so oras pushes no tag for it.
    assert oras.run("repo", "tags", HTTP, artifact.rpartition(":")[0]) == "1"


def test_deleted_referrer_is_gone(oras: Program, artifact: str) -> None:
    oras.run("attach", HTTP, "--artifact-type=application/vnd.sbom", artifact, FILE)
    [referrer] = _discover(oras, artifact)
    oras.run("manifest", "delete", HTTP, "--force", str(referrer["reference"]))
    assert _referrers(oras, artifact) == []


def test_copy_takes_referrers_along(oras: Program, artifact: str, registry: Registry) -> None:
    oras.run("attach", HTTP, "--artifact-type=application/vnd.sbom", artifact, FILE)
    target = f"{registry.host}/oras/copied/elsewhere:1"
    flags = ("--from-plain-http", "--to-plain-http")
    oras.run("copy", "--recursive", *flags, artifact, target)
    assert _referrers(oras, target) == ["application/vnd.sbom"]


def test_blob_is_pushed_fetched_and_deleted(
    oras: Program, registry: Registry, repository: str, tmp_path: Path
) -> None:
    blob = f"{registry.host}/{repository}@sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    oras.run("blob", "push", HTTP, blob, tmp_path / "content")
    oras.run("blob", "fetch", HTTP, "--output", tmp_path / "back", blob)
    assert (tmp_path / "back").read_bytes() == CONTENT
    oras.run("blob", "delete", HTTP, "--force", blob)
    with pytest.raises(ProgramFailed, match="not found"):
        oras.run("blob", "fetch", HTTP, "--output", tmp_path / "gone", blob)


def _discover(oras: Program, name: str, *options: str) -> list[Mapping[str, object]]:
    said = oras.run("discover", HTTP, "--format=json", *options, name)
    referrers: list[Mapping[str, object]] = json.loads(said)["referrers"]
    return referrers


def _referrers(oras: Program, name: str, *options: str) -> list[str]:
    """Return the artifact types of the artifact's referrers, sorted."""
    return sorted(str(referrer["artifactType"]) for referrer in _discover(oras, name, *options))
