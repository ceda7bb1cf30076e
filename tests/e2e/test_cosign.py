"""Cosign: a signature by a local key, kept as a referrer and, in the older way, under a tag."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.programs import Program, ProgramFailed, find
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

HTTP = "--allow-http-registry"
# Nothing leaves the machine: there is no transparency log, and no list of services is fetched.
OFFLINE = ("--use-signing-config=false", "--tlog-upload=false")


@pytest.fixture
def cosign(environment: Mapping[str, str]) -> Program:
    """The cosign command line; its keys have no password."""
    return find("cosign", environment).with_environment(COSIGN_PASSWORD="")


@pytest.fixture
def image(
    environment: Mapping[str, str], registry: Registry, repository: str, tmp_path: Path
) -> str:
    """An image, named by its digest."""
    crane = find("crane", environment)
    name = f"{registry.host}/{repository}"
    layer = images.layer_of({"file": images.noise(1000, seed=6)}, tmp_path / "layer.tar")
    crane.run("append", "--new_layer", layer, "--new_tag", f"{name}:1")
    return f"{name}@{crane.run('digest', f'{name}:1')}"


@pytest.fixture
def key(cosign: Program, tmp_path: Path) -> Path:
    """Make a key pair; returns its path without a suffix."""
    cosign.run("generate-key-pair", "--output-key-prefix", tmp_path / "key")
    return tmp_path / "key"


@pytest.mark.parametrize("bundle", ["true", "false"], ids=["referrer", "tag"])
def test_signature_is_verified(cosign: Program, image: str, key: Path, bundle: str) -> None:
    form = f"--new-bundle-format={bundle}"
    with pytest.raises(ProgramFailed, match="no signatures found"):
        _verify(cosign, image, key, form)
    cosign.run("sign", "--yes", HTTP, *OFFLINE, form, f"--key={key}.key", image)
    assert image.partition("@")[2] in _verify(cosign, image, key, form)


def test_signature_of_another_key_is_refused(
    cosign: Program, image: str, key: Path, tmp_path: Path
) -> None:
    cosign.run("sign", "--yes", HTTP, *OFFLINE, f"--key={key}.key", image)
    cosign.run("generate-key-pair", "--output-key-prefix", tmp_path / "other")
    with pytest.raises(ProgramFailed, match="signature"):
        _verify(cosign, image, tmp_path / "other")


def _verify(cosign: Program, image: str, key: Path, *options: str) -> str:
    """Return cosign's output about the image's signatures. Raises when none is valid."""
    offline = "--insecure-ignore-tlog=true"
    return cosign.run("verify", HTTP, offline, *options, f"--key={key}.pub", image)
