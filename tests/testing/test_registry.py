"""`dtrfast.testing`: a real registry, its helpers, and its end with the test process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dtrfast import testing
from dtrfast.testing import content
from tests.server.conftest import eventually

pytestmark = pytest.mark.slow
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def registry() -> Iterator[testing.Registry]:
    with testing.registry() as running:
        yield running


@pytest.fixture(scope="module")
def managed() -> Iterator[testing.Registry]:
    with testing.registry(accounts=True, settings={"registry.delete": "false"}) as running:
        yield running


def test_an_image_is_there_with_its_layers_and_config(registry: testing.Registry) -> None:
    repository = registry.new_repository()
    layers = [{"etc/motd": b"hello", "bin/app": b"#!/bin/sh\n"}, {"etc/motd": b"bye"}]
    config = {"Cmd": ["/bin/app"]}
    pushed = registry.push_image(f"{repository}:v1", layers, config=config)
    assert pushed.reference == f"{registry.host}/{repository}:v1"
    assert registry.tags(repository) == ["v1"]
    manifest = registry.manifest(f"{repository}@{pushed.digest}")
    for name in (f"{repository}:v1", pushed.reference, pushed.by_digest):
        assert registry.manifest(name) == manifest, name
    stored = json.loads(registry.blob(repository, manifest["config"]["digest"]))
    assert stored["config"] == config
    assert (stored["os"], stored["architecture"]) == ("linux", "amd64")
    packed = [registry.blob(repository, layer["digest"]) for layer in manifest["layers"]]
    assert [(layer, diff) for layer, diff in zip(packed, stored["rootfs"]["diff_ids"], strict=True)]
    assert packed == [content.layer_of(files)[0] for files in layers]


def test_equal_images_have_equal_digests_and_new_repositories_differ(
    registry: testing.Registry,
) -> None:
    first, second = registry.new_repository("same"), registry.new_repository("same")
    assert first != second
    pushed = [registry.push_image(name) for name in (first, second)]
    assert pushed[0].digest == pushed[1].digest
    assert registry.tags(first) == ["latest"]
    other = registry.push_image(first, [{"other": b""}])
    assert other.digest != pushed[0].digest


def test_an_index_has_its_platforms_and_an_artifact_its_subject(
    registry: testing.Registry,
) -> None:
    repository = registry.new_repository()
    images = {"linux/amd64": [{"a": b"1"}], "linux/arm64/v8": [{"a": b"2"}]}
    index = registry.push_index(f"{repository}:multi", images)
    entries = registry.manifest(f"{repository}:multi")["manifests"]
    platforms = [entry["platform"] for entry in entries]
    assert platforms[0] == {"os": "linux", "architecture": "amd64"}
    assert platforms[1] == {"os": "linux", "architecture": "arm64", "variant": "v8"}
    sbom = registry.push_artifact(f"{repository}@", b"{}", "application/spdx+json", subject=index)
    assert sbom.reference == sbom.by_digest
    found = registry.request("GET", f"/v2/{repository}/referrers/{index.digest}").json()
    assert [one["digest"] for one in found["manifests"]] == [sbom.digest]
    assert registry.tags(repository) == ["multi"]


def test_wrong_arguments_and_refusals_say_why(registry: testing.Registry) -> None:
    for name in ("Team/App:v1", "app:.v1", "app@sha256:x", "other.example:5000/app:v1"):
        with pytest.raises(ValueError, match=r"is not a"):
            registry.push_image(name)
    with pytest.raises(ValueError, match="is not a repository name"):
        registry.new_repository("Test")
    with pytest.raises(ValueError, match="linux/arm64/v8"):
        registry.push_image("app", platform="linux")
    with pytest.raises(testing.RequestFailed, match="MANIFEST_UNKNOWN") as refused:
        registry.manifest("app:missing")
    assert refused.value.status == 404
    with pytest.raises(testing.RequestFailed, match=r"404 .*accounts are off"):
        registry.api("GET", "accounts")
    assert registry.admin is None


def test_accounts_settings_and_other_callers(managed: testing.Registry) -> None:
    assert managed.admin is not None
    managed.push_image("admin/app:v1")
    managed.api("POST", "accounts", {"name": "rita", "password": "correct horse battery"})
    rita = testing.Credentials("rita", "correct horse battery")
    answer = managed.request("GET", "/v2/admin/app/tags/list", credentials=rita)
    assert answer.status_code == 404  # private repositories look like missing ones
    assert managed.api("GET", "accounts/rita", credentials=rita)["name"] == "rita"
    assert managed.request("DELETE", "/v2/admin/app/manifests/v1").status_code == 405
    assert "/v2/admin/app/manifests/v1" in managed.log()


def test_a_registry_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = {"server.workers": "many"}
    with (
        pytest.raises(testing.ServerFailed, match=r"server\.workers"),
        testing.registry(tmp_path / "data", settings=settings),
    ):
        pass


@pytest.mark.long
def test_a_directory_that_is_kept_keeps_its_accounts(tmp_path: Path) -> None:
    with testing.registry(tmp_path / "data", accounts=True) as registry:
        pushed = registry.push_image("admin/app:v1")
        first = registry.admin
    with testing.registry(tmp_path / "data", accounts=True) as registry:
        assert registry.admin is not None
        assert registry.push_image("admin/app:v2").digest == pushed.digest
        assert registry.tags("admin/app") == ["v1", "v2"]
        assert registry.api("GET", "accounts/admin", credentials=first)["isAdmin"]
        second = registry.admin
    # The token of a run ends with it.
    with testing.registry(tmp_path / "data", accounts=True) as registry:
        with pytest.raises(testing.RequestFailed, match="401"):
            registry.api("GET", "accounts/admin", credentials=second)
        tokens = registry.api("GET", "accounts/admin/tokens", credentials=first)["credentials"]
        assert len(tokens) == 1


def test_a_server_that_does_not_stop_is_killed() -> None:
    stubborn = "trap '' TERM; sleep 60 & echo $$ $!; wait"
    with subprocess.Popen(
        [sys.executable, "-m", "dtrfast.testing.launcher", "0.1", "sh", "-c", stubborn],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        assert launcher.stderr is not None
        started = [psutil.Process(int(text)) for text in launcher.stdout.readline().split()]
        assert len(started) == 2
        launcher.stdin.write("\n")  # the pipe stays open, as if a forked child had it
        launcher.stdin.flush()
        assert launcher.stderr.readline() == "the server did not stop in 0.1 s, so it was killed\n"
        assert launcher.wait() != 0
        eventually(lambda: not any(map(_works, started)))


def _works(process: psutil.Process) -> bool:
    """Return False for a process that has ended, also if its parent does not know that yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Its forked children have the pipes of the launchers, and keep them open.
_PROGRAM = """\
import os, pathlib, signal, sys
from dtrfast import testing

def fork():
    child = os.fork()
    if not child:
        os.close(1)  # else the test would wait for them if the program fails
        signal.alarm(300)
        signal.pause()
    return child

data = pathlib.Path(sys.argv[1])
with testing.registry(data):
    children = [fork()]
with testing.registry(data) as registry:
    children.append(fork())
    print(registry.url, *children, flush=True)
    sys.stdin.read()
"""


@pytest.mark.long
def test_the_registry_ends_with_its_block_and_with_a_killed_test_process(tmp_path: Path) -> None:
    data = tmp_path / "data"
    # The directory of the tests may have modules with any name.
    (tmp_path / "secrets.py").write_text("raise SystemExit('the wrong module')")
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, str(data)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        url, *forked = program.stdout.readline().split()
        assert re.match(r"http://127\.0\.0\.1:\d+", url)
        children = [psutil.Process(int(text)) for text in forked]
        found = psutil.Process(program.pid).children(recursive=True)
        started = [one for one in found if one not in children]
        assert len(started) >= 4  # the launcher, the supervisor, a worker, the housekeeper
        program.send_signal(signal.SIGKILL)
    try:
        eventually(lambda: not any(map(_works, started)))
        assert all(map(_works, children))
    finally:
        for child in children:
            child.kill()
