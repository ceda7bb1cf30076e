"""Notation: signatures by a certificate, kept as referrers of the image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.e2e import http_client, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, ProgramFailed, find

pytestmark = pytest.mark.client

HTTP = "--insecure-registry"
SIGNATURE = "application/vnd.cncf.notary.signature"
POLICY = {
    "version": "1.0",
    "trustPolicies": [
        {
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:test"],
            "trustedIdentities": ["*"],
        }
    ],
}


@pytest.fixture
def notation(environment: Mapping[str, str], accounts: ManagedRegistry, tmp_path: Path) -> Program:
    """The notation command line with a test certificate that it trusts, as owen."""
    program = find("notation", environment).with_environment(
        XDG_CONFIG_HOME=str(tmp_path),
        NOTATION_USERNAME="owen",
        NOTATION_PASSWORD=accounts.secrets["owen"],
    )
    program.run("cert", "generate-test", "--default", "test")
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    program.run("policy", "import", "--force", tmp_path / "policy.json")
    return program


@pytest.mark.parametrize("tagged", [True, False])
def test_signature_is_found_and_verified(
    notation: Program, accounts: ManagedRegistry, tagged: bool
) -> None:
    """By default notation also keeps a list of its own under a tag, besides the registry's list."""
    repository = f"acme/notation-{'tagged' if tagged else 'referring'}"
    image = _push_image(accounts, repository)
    sign = notation.called_with("sign", HTTP, f"--force-referrers-tag={str(tagged).lower()}")
    with pytest.raises(ProgramFailed, match="no signature"):
        notation.run("verify", HTTP, image)
    with traffic.watched(accounts.registry) as seen:
        sign.run(image)
        sign.run("--signature-format=cose", image)
        assert "Successfully verified" in notation.run("verify", HTTP, image)
        assert notation.run("list", HTTP, image).count("sha256:") == 3
    assert seen.surprises() == []
    digest = image.partition("@")[2]
    with _client(accounts) as client:
        tags = client.get(f"/v2/{repository}/tags/list").json()["tags"]
        index = client.get(f"/v2/{repository}/referrers/{digest}").json()
    assert tags == (["1", digest.replace(":", "-")] if tagged else ["1"])
    assert [entry["artifactType"] for entry in index["manifests"]] == [SIGNATURE] * 2


def test_signature_of_another_image_is_none(notation: Program, accounts: ManagedRegistry) -> None:
    notation.run("sign", HTTP, _push_image(accounts, "acme/notation-one"))
    other = _push_image(accounts, "acme/notation-one", layer=b"another")
    with pytest.raises(ProgramFailed, match="no signature"):
        notation.run("verify", HTTP, other)


def test_reader_verifies_but_may_not_sign(notation: Program, accounts: ManagedRegistry) -> None:
    image = _push_image(accounts, "acme/app")
    notation.run("sign", HTTP, image)
    password = accounts.secrets["rita"]
    reader = notation.with_environment(NOTATION_USERNAME="rita", NOTATION_PASSWORD=password)
    assert "Successfully verified" in reader.run("verify", HTTP, image)
    with pytest.raises(ProgramFailed, match=r"40[13]|denied|DENIED|UNAUTHORIZED"):
        reader.run("sign", HTTP, image)


def _push_image(server: ManagedRegistry, name: str, layer: bytes = b"layer") -> str:
    """Push an image; returns its name by digest."""
    with _client(server) as client:
        digest = http_client.push_image(client, name, "1", [layer])
    return f"{server.host}/{name}@{digest}"


def _client(server: ManagedRegistry) -> httpx.Client:
    auth = ("owen", server.secrets["owen"])
    return httpx.Client(base_url=server.registry.url, timeout=60, auth=auth)
