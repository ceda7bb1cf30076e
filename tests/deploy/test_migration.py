"""The migration of docs/install.md, from a distribution to a registry with accounts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dtrfast import testing
from tests.e2e import front
from tests.e2e.programs import PROJECT, find
from tests.e2e.registry import free_port

pytestmark = pytest.mark.deploy

_USER, _PASSWORD = "admin", "correct horse battery"
# Of the password, with bcrypt.
_HTPASSWD = "admin:$2b$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS\n"
# A page of its catalog has two entries.
_SETTINGS = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}
catalog: {{maxentries: 2}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: old, path: {folder}/htpasswd}}}}
"""
_IMAGES = (
    "team/app:v1",
    "team/app:v3",
    "team/tools/web:v1",
    "my_team/x:v1",
    "redis:v1",
    "admin/own:v1",
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A running registry of the project distribution, with a password."""

    host: str
    storage: Path

    def damage(self, name: str, tag: str, digest: str) -> None:
        """Let a tag name a manifest that is gone."""
        path = self.storage / "docker/registry/v2/repositories" / name / "_manifests/tags" / tag
        link = path / "current/link"
        link.parent.mkdir(parents=True)
        link.write_text(digest)


@pytest.fixture
def distribution(
    new_folder: Callable[[str], Path], environment: Mapping[str, str]
) -> Iterator[Distribution]:
    folder, port = new_folder("distribution"), free_port()
    (folder / "htpasswd").write_text(_HTPASSWD)
    (folder / "settings.yml").write_text(_SETTINGS.format(folder=folder, port=port))
    # It would take the variable of skopeo for a setting of its own, and not start.
    own = {name: value for name, value in environment.items() if name != "REGISTRY_AUTH_FILE"}
    program = find("registry", own).called_with("serve", str(folder / "settings.yml"))
    with program.serving(folder / "log", lambda: front.connect(port)):
        yield Distribution(f"127.0.0.1:{port}", folder / "storage")


def recipe() -> list[str]:
    """Return the blocks of commands in the section, for registries without TLS."""
    page = (PROJECT / "docs" / "install.md").read_text()
    _, _, section = page.partition("## Migrate from another registry\n")
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    return blocks


def test_the_recipe_moves_everything_that_can_be_moved(
    distribution: Distribution,
    environment: Mapping[str, str],
    new_folder: Callable[[str], Path],
) -> None:
    skopeo = find("skopeo", environment)
    with testing.registry() as source, testing.registry(accounts=True) as new:
        assert new.admin is not None
        pushed = [source.push_image(name, [{"a": name.encode()}]) for name in _IMAGES]
        for one in pushed:
            skopeo.run(
                *("copy", "--src-tls-verify=false", "--dest-tls-verify=false"),
                f"--dest-creds={_USER}:{_PASSWORD}",
                *(
                    f"docker://{host}/{one.repository}:{one.tag}"
                    for host in (source.host, distribution.host)
                ),
            )
        distribution.damage("team/app", "v2", "sha256:" + "0" * 64)

        run = Shell(new_folder("commands"), environment, distribution.host, new).run
        listing, create, copy = recipe()
        done = run(listing, _PASSWORD, new.admin.password)
        assert done.returncode == 0, done.stderr
        assert run("cat list").stdout.split() == sorted({one.repository for one in pushed})
        refused = run(copy)
        assert refused.returncode == 1
        assert "not copied whole: my_team/x team/app team/tools/web" in refused.stderr
        done = run(create, new.admin.password)
        assert "created the organization my_team" in done.stdout, done.stderr
        done = run(copy)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "not copied whole: team/app")
        assert f"{distribution.host}/team/app:v2" in done.stderr

        with httpx.Client(base_url=new.url, auth=(_USER, new.admin.password)) as client:
            for one in pushed:
                there = client.head(f"/v2/{one.repository}/manifests/{one.tag}")
                assert there.headers["docker-content-digest"] == one.digest
            assert client.get("/api/v0/repositories/team/app").json()["visibility"] == "private"


class Shell:
    """A shell that runs the blocks with the hosts of a test, without TLS and a terminal."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], old: str, new: testing.Registry
    ) -> None:
        self._folder = folder
        self._old, self._new = old, new
        (folder / "deploy").symlink_to(PROJECT / "deploy")
        skopeo = find("skopeo", environment).path
        login = (
            f'printf %s "$password" | {skopeo} login --tls-verify=false -u {_USER} --password-stdin'
        )
        self._add(
            "skopeo", f'[ $1 != login ] || {{ read -r password; {login} "$2"; exit; }}', skopeo
        )
        login = f'set -- "$@" --user {_USER} --password-stdin'
        self._add("dtrfast", f"[ $1 != login ] || {login}", f"{sys.executable} -m dtrfast")
        self._environment = {
            **environment,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
            "SKOPEO_SYNC": "--src-tls-verify=false --dest-tls-verify=false",
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def _add(self, name: str, first: str, command: str) -> None:
        program = self._folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\n{first}\nexec {command} "$@"\n')
        program.chmod(0o755)

    def run(self, block: str, *passwords: str) -> subprocess.CompletedProcess[str]:
        for named, used in {
            "https://registry.example": self._new.url,
            "registry.example": self._new.host,
            "distribution old.example": f"distribution http://{self._old}",
            "old.example": self._old,
        }.items():
            block = block.replace(named, used)
        return subprocess.run(
            ["/bin/sh", "-c", block],
            cwd=self._folder,
            env=self._environment,
            input="".join(f"{password}\n" for password in passwords),
            capture_output=True,
            text=True,
            check=False,
        )
