"""The CLI of development containers: collections of features and templates, with a password."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from playwright._impl._driver import compute_driver_executable

from tests.e2e import http_client, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import PROJECT, Program, ProgramFailed

INSTALL = "#!/bin/sh\necho hello\n"
OWNER = "nora"


@pytest.fixture(scope="module")
def command_line(environment: Mapping[str, str]) -> Program:
    """The CLI, on the Node.js that playwright includes."""
    node, _ = compute_driver_executable()
    package = Program(str(PROJECT / ".ci" / "npm_package"), {**os.environ})
    folder = package.run("@devcontainers/cli", "0.89.0")
    return Program(str(node), environment, (f"{folder}/devcontainer.js",))


@pytest.fixture
def devcontainer(command_line: Program, accounts: ManagedRegistry, tmp_path: Path) -> Program:
    """The CLI in a folder with a feature and a template, signed in."""
    _write(tmp_path / "features/hello", "feature", {"install.sh": INSTALL})
    _write(tmp_path / "features/world", "feature", {"install.sh": INSTALL})
    image = json.dumps({"image": "debian"})
    _write(tmp_path / "templates/small", "template", {".devcontainer/devcontainer.json": image})
    secret = f"{_host(accounts)}|{OWNER}|{accounts.secrets[OWNER]}"
    return command_line.with_environment(DEVCONTAINERS_OCI_AUTH=secret).in_folder(tmp_path)


@pytest.mark.parametrize("namespace", [OWNER, f"{OWNER}/collection"])
def test_features_are_published_and_found(
    devcontainer: Program, accounts: ManagedRegistry, namespace: str
) -> None:
    where = ("--registry", _host(accounts), "--namespace", namespace)
    with traffic.watched(accounts.registry) as seen:
        published = json.loads(devcontainer.run("features", "publish", *where, "features"))
        feature = f"{_host(accounts)}/{namespace}/hello"
        told = devcontainer.run("features", "info", "manifest", f"{feature}:1", *_AS_JSON)
        tags = devcontainer.run("features", "info", "tags", feature, *_AS_JSON)
    assert published["hello"]["publishedTags"] == ["1", "1.2", "1.2.3", "latest"]
    assert json.loads(tags)["publishedTags"] == ["1", "1.2", "1.2.3", "latest"]
    canonical = published["hello"]["digest"]
    assert json.loads(told)["canonicalId"].endswith(f"/{namespace}/hello@{canonical}")
    files = _files(accounts, f"{namespace}/hello", "1.2.3")
    assert files["./install.sh"].decode() == INSTALL
    collection = _only_layer(accounts, namespace, "latest")
    assert [entry["id"] for entry in json.loads(collection)["features"]] == ["hello", "world"]
    assert seen.surprises() == []


def test_published_again_changes_nothing(devcontainer: Program, accounts: ManagedRegistry) -> None:
    where = ("--registry", _host(accounts), "--namespace", f"{OWNER}/again")
    devcontainer.run("features", "publish", *where, "features")
    with traffic.watched(accounts.registry) as seen:
        devcontainer.run("features", "publish", *where, "features")
    # The versions exist already. The CLI pushes the collection's list each time.
    assert {request.path for request in seen.of("PUT", "/manifests/")} == {
        f"/v2/{OWNER}/again/manifests/latest"
    }
    assert seen.surprises() == []


@pytest.mark.parametrize("namespace", [OWNER, f"{OWNER}/templates"])
def test_template_is_published_and_applied(
    devcontainer: Program, accounts: ManagedRegistry, tmp_path: Path, namespace: str
) -> None:
    where = ("--registry", _host(accounts), "--namespace", namespace)
    target = tmp_path / "workspace"
    target.mkdir()
    template = f"{_host(accounts)}/{namespace}/small:latest"
    with traffic.watched(accounts.registry) as seen:
        devcontainer.run("templates", "publish", *where, "templates")
        applied = devcontainer.run(
            "templates", "apply", "--workspace-folder", target, "--template-id", template
        )
    assert json.loads(applied)["files"] == ["./.devcontainer/devcontainer.json"]
    assert json.loads((target / ".devcontainer/devcontainer.json").read_text())["image"] == "debian"
    assert seen.surprises() == []


def test_namespace_of_another_is_refused(devcontainer: Program, accounts: ManagedRegistry) -> None:
    for namespace in ("owen", "owen/collection"):
        where = ("--registry", _host(accounts), "--namespace", namespace)
        with pytest.raises(ProgramFailed, match="Failed to publish"):
            devcontainer.run("features", "publish", *where, "features")


_AS_JSON = ("--output-format", "json")


def _host(server: ManagedRegistry) -> str:
    """Return the host name for which the CLI speaks plain HTTP."""
    return f"localhost:{server.registry.port}"


def _write(folder: Path, kind: str, files: Mapping[str, str]) -> None:
    """Write a feature or a template, with its description."""
    about = {"id": folder.name, "version": "1.2.3", "name": folder.name, "description": "none"}
    for name, content in {f"devcontainer-{kind}.json": json.dumps(about), **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _only_layer(server: ManagedRegistry, name: str, tag: str) -> bytes:
    auth = (OWNER, server.secrets[OWNER])
    with httpx.Client(base_url=server.registry.url, auth=auth) as client:
        manifest = client.get(f"/v2/{name}/manifests/{tag}").raise_for_status().json()
        [layer] = manifest["layers"]
        return http_client.pull(client, name, layer["digest"])


def _files(server: ManagedRegistry, name: str, tag: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=BytesIO(_only_layer(server, name, tag))) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        return {name: content.read() for name, content in found.items() if content}
