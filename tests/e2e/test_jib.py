"""Jib: Maven builds an image of a Java project without docker, on a base image that it pulls."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from tests.e2e import http_client, images, tiers, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import CACHE, Program, find

VERSION = "3.5.2"
BASE_CONTENT = images.noise(2_000_000, seed=60)
POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>demo</groupId>
  <artifactId>demo</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source>
    <maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <build>
    <plugins>
      <plugin>
        <groupId>com.google.cloud.tools</groupId>
        <artifactId>jib-maven-plugin</artifactId>
        <version>{VERSION}</version>
      </plugin>
    </plugins>
  </build>
</project>
"""
MAIN = """\
package demo;

public class Main {
    public static void main(String[] arguments) {
        System.out.println("hello");
    }
}
"""
CLASS = "app/classes/demo/Main.class"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Java project of one class."""
    source = tmp_path / "src" / "main" / "java" / "demo"
    source.mkdir(parents=True)
    (source / "Main.java").write_text(MAIN)
    (tmp_path / "pom.xml").write_text(POM)
    return tmp_path


@pytest.fixture
def maven(
    environment: Mapping[str, str], project: Path, new_folder: Callable[[str], Path]
) -> Program:
    """Maven in the project. Its downloads stay in the cache of the tests."""
    home = f"-Duser.home={new_folder('maven')}"
    batch = ("--batch-mode", "--quiet", f"-Dmaven.repo.local={CACHE / 'maven'}", home)
    program = find("mvn", environment).called_with(*batch).in_folder(project)
    # A run of a few seconds does not need the optimizing compiler.
    return program.with_environment(MAVEN_OPTS="-XX:TieredStopAtLevel=1")


def test_image_on_a_base_of_the_registry(
    maven: Program, accounts: ManagedRegistry, project: Path, tmp_path: Path
) -> None:
    _push_base(accounts, images.layer_of({"base": BASE_CONTENT}, tmp_path / "base.tar"))
    options = ("-Djib.container.format=OCI", *_options(accounts, "acme/jib", "acme/base:1"))
    build = ("compile", "jib:build", *options)
    with traffic.watched(accounts.registry) as seen:
        maven.run(*build, seconds=300)
    layers = _layers(accounts, "acme/jib", "application/vnd.oci.image.manifest.v1+json")
    assert layers["base"] == BASE_CONTENT
    assert layers[CLASS] == (project / "target/classes/demo/Main.class").read_bytes()
    assert seen.surprises() == []
    # The base is mounted from its repository, not sent.
    assert len(seen.of("POST", "acme/jib/blobs/uploads/", status=201)) == 1
    sent = [*seen.of("PATCH", "acme/jib/"), *seen.of("PUT", "acme/jib/")]
    assert all(request.bytes_in < len(BASE_CONTENT) for request in sent)
    with traffic.watched(accounts.registry) as seen:
        maven.run(*build)
    assert seen.surprises() == []
    assert seen.of("POST") == []


def test_image_of_docker_from_scratch(
    maven: Program, accounts: ManagedRegistry, project: Path
) -> None:
    options = ("-Djib.container.format=Docker", *_options(accounts, "acme/jib-docker"))
    with traffic.watched(accounts.registry) as seen:
        maven.run("compile", "jib:build", *options, seconds=300)
    layers = _layers(
        accounts, "acme/jib-docker", "application/vnd.docker.distribution.manifest.v2+json"
    )
    assert layers[CLASS] == (project / "target/classes/demo/Main.class").read_bytes()
    assert seen.surprises() == []


def test_layer_of_resources_is_evicted(
    maven: Program, accounts: ManagedRegistry, project: Path
) -> None:
    """Jib compresses with the zlib of the JDK."""
    files = tiers.text_files()
    tiers.write_files(files, project / "src" / "main" / "resources")
    maven.run("compile", "jib:build", *_options(accounts, "acme/jib-tier"), seconds=300)
    assert tiers.evict(accounts.registry, "acme/jib-tier").layers == 1
    assert tiers.states(accounts.registry)["zlib"] == "evicted"
    manifest_type = "application/vnd.docker.distribution.manifest.v2+json"
    layers = _layers(accounts, "acme/jib-tier", manifest_type)
    assert {name: layers[f"app/resources/{name}"] for name in files} == files


def _options(server: ManagedRegistry, name: str, base: str = "") -> list[str]:
    """Return the options for the image and the sign-in. Plain HTTP needs two of them."""
    options = ["-Djib.allowInsecureRegistries=true", "-DsendCredentialsOverHttp=true"]
    options += _side("from", server, base) if base else ["-Djib.from.image=scratch"]
    return options + _side("to", server, f"{name}:1")


def _side(side: str, server: ManagedRegistry, image: str) -> list[str]:
    return [
        f"-Djib.{side}.image={server.host}/{image}",
        f"-Djib.{side}.auth.username=owen",
        f"-Djib.{side}.auth.password={server.secrets['owen']}",
    ]


def _client(server: ManagedRegistry) -> httpx.Client:
    auth = ("owen", server.secrets["owen"])
    return httpx.Client(base_url=server.registry.url, timeout=60, auth=auth)


def _push_base(server: ManagedRegistry, layer: Path) -> None:
    """Push acme/base. Its layer is compressed, because jib accepts no other."""
    tar = layer.read_bytes()
    packed = gzip.compress(tar)
    rootfs = {"type": "layers", "diff_ids": [http_client.digest_of(tar)]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": http_client.MANIFEST_TYPE,
        "config": http_client.descriptor(http_client.CONFIG_TYPE, config),
        "layers": [http_client.descriptor(f"{http_client.LAYER_TYPE}+gzip", packed)],
    }
    with _client(server) as client:
        for body in (packed, config):
            http_client.push(client, "acme/base", body, http_client.digest_of(body))
        headers = {"content-type": http_client.MANIFEST_TYPE}
        client.put("/v2/acme/base/manifests/1", json=manifest, headers=headers).raise_for_status()


def _layers(server: ManagedRegistry, name: str, media_type: str) -> dict[str, bytes]:
    """Return the files of all layers of an image whose manifest has that type."""
    files: dict[str, bytes] = {}
    with _client(server) as client:
        manifest = client.get(f"/v2/{name}/manifests/1").raise_for_status()
        assert manifest.headers["content-type"] == media_type
        for layer in manifest.json()["layers"]:
            blob = http_client.pull(client, name, layer["digest"])
            with tarfile.open(fileobj=BytesIO(blob)) as archive:
                for member in archive:
                    if content := archive.extractfile(member):
                        files[member.name] = content.read()
    return files
