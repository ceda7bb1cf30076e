"""BuildKit pushes images, keeps its build cache in the registry, and uses it on another machine."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.e2e import daemons, images, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, require_root

pytestmark = pytest.mark.client

FILES = {f"file{n}": images.noise(1_000_000 * n, seed=80 + n) for n in (1, 2, 3)}
# The first stage is not a part of the image, but of its cache.
DOCKERFILE = """\
FROM scratch AS first
COPY file1 /
COPY file2 /
FROM scratch
COPY --from=first file2 /
COPY file3 /
"""


@pytest.fixture(scope="module")
def machines(
    new_folder: Callable[[str], Path], environment: Mapping[str, str], accounts: ManagedRegistry
) -> Iterator[tuple[Program, Program]]:
    """Two machines that share nothing, signed in as owen."""
    require_root("buildkitd mounts")
    secret = base64.b64encode(f"owen:{accounts.secrets['owen']}".encode()).decode()
    folder = new_folder("docker-config")
    config = {"auths": {accounts.host: {"auth": secret}}}
    (folder / "config.json").write_text(json.dumps(config))
    environment = {**environment, "DOCKER_CONFIG": str(folder)}
    with (
        daemons.running_buildkit(new_folder("buildkit"), environment, accounts.host) as first,
        daemons.running_buildkit(new_folder("buildkit"), environment, accounts.host) as second,
    ):
        yield first, second


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


@pytest.mark.parametrize(
    "form",
    [
        "image-manifest=true,oci-mediatypes=true",
        "image-manifest=false,oci-mediatypes=true",
        "image-manifest=false,oci-mediatypes=false",
        "image-manifest=true,oci-mediatypes=true,compression=zstd,force-compression=true",
    ],
)
def test_cache_of_one_machine_serves_another(
    machines: tuple[Program, Program], accounts: ManagedRegistry, context: Path, form: str
) -> None:
    first, second = machines
    name = "acme/cache-" + "-".join(part.partition("=")[2] for part in form.split(","))
    cache = f"type=registry,ref={accounts.host}/{name}:cache"
    target = f"type=image,name={accounts.host}/{name}:image,push=true"
    for machine in machines:
        machine.run("prune", "--all")
    with traffic.watched(accounts.registry) as seen:
        build = ("--output", target, "--export-cache", f"{cache},mode=max,{form}")
        assert "CACHED" not in daemons.build_with(first, context, *build)
        told = daemons.build_with(second, context, "--output", target, "--import-cache", cache)
    assert seen.surprises() == []
    assert told.count("CACHED") == DOCKERFILE.count("COPY"), told
    assert _files(second, accounts, name, context) == {
        file: FILES[file] for file in ("file2", "file3")
    }


@pytest.mark.parametrize("image_manifest", ["true", "false"])
def test_cache_is_shown_as_such(
    machines: tuple[Program, Program], accounts: ManagedRegistry, context: Path, image_manifest: str
) -> None:
    name = f"acme/shown-{image_manifest}"
    cache = f"type=registry,ref={accounts.host}/{name}:cache,mode=max"
    daemons.build_with(
        machines[0], context, "--export-cache", f"{cache},image-manifest={image_manifest}"
    )
    shown = accounts.api("GET", f"repositories/{name}/manifests/cache", who="owen")
    auth = ("owen", accounts.secrets["owen"])
    url = f"{accounts.registry.url}/v2/{name}/manifests/cache"
    manifest = httpx.get(url, auth=auth, headers={"accept": "*/*"}).raise_for_status().json()
    named = [*manifest.get("layers", []), *manifest.get("manifests", [])]
    named += [manifest["config"]] if "config" in manifest else []
    assert shown["kind"] == "build cache"
    assert shown["size"] == sum({entry["digest"]: entry["size"] for entry in named}.values())
    assert not any(entry.get("isThere") is False for entry in shown.get("platforms", []))


def test_cache_that_is_not_there_is_no_error(
    machines: tuple[Program, Program], accounts: ManagedRegistry, context: Path
) -> None:
    cache = f"type=registry,ref={accounts.host}/acme/no-cache:1"
    with traffic.watched(accounts.registry) as seen:
        daemons.build_with(machines[0], context, "--import-cache", cache)
    assert seen.surprises() == []


def _files(buildctl: Program, server: ManagedRegistry, name: str, folder: Path) -> dict[str, bytes]:
    """Return the files of the pushed image, which another build copies out."""
    copying = folder / "copying"
    copying.mkdir()
    base = f"FROM {server.host}/{name}:image AS image\nFROM scratch\nCOPY --from=image / /\n"
    (copying / "Dockerfile").write_text(base)
    buildctl.run("prune", "--all")
    out = folder / "out"
    daemons.build_with(buildctl, copying, "--output", f"type=local,dest={out}")
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
