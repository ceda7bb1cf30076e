"""The Python package oras: artifacts of files, with a name and a password over plain HTTP."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import images, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, ProgramFailed
from tests.e2e.registry import Registry

CONTENT = images.noise(700_000, seed=50)

SCRIPT = """\
import os, sys
import oras.client

host, command, target, *rest = sys.argv[1:]
client = oras.client.OrasClient(hostname=host, insecure=True)
if os.environ["NAME"]:
    client.login(username=os.environ["NAME"], password=os.environ["PASSWORD"], hostname=host)
if command == "push":
    print(client.push(target=f"{host}/{target}", files=rest).status_code)
elif command == "push-chunked":
    pushed = client.push(target=f"{host}/{target}", files=rest, do_chunked=True, chunk_size=100_000)
    print(pushed.status_code)
elif command == "pull":
    client.pull(target=f"{host}/{target}", outdir=rest[0])
elif command == "tags":
    print(*client.get_tags(f"{host}/{target}"))
"""


@pytest.fixture
def oras(environment: Mapping[str, str], tmp_path: Path) -> Program:
    """A script that uses the package, in a folder with the file `content`."""
    (tmp_path / "content").write_bytes(CONTENT)
    (tmp_path / "script.py").write_text(SCRIPT)
    program = Program(sys.executable, environment, ("script.py",), tmp_path)
    return program.with_environment(NAME="", PASSWORD="", HOME=str(tmp_path))


@pytest.mark.parametrize("push", ["push", "push-chunked"])
def test_user_with_a_password_pushes_and_pulls(
    oras: Program, accounts: ManagedRegistry, tmp_path: Path, push: str
) -> None:
    oras = _as_user(oras, accounts, "owen")
    target = f"acme/oras-python:{push}"
    with traffic.watched(accounts.registry) as seen:
        assert oras.run(accounts.host, push, target, "content") == "201"
        oras.run(accounts.host, "pull", target, "out")
        assert push in oras.run(accounts.host, "tags", target).split()
    assert (tmp_path / "out" / "content").read_bytes() == CONTENT
    assert seen.surprises() == []
    # One challenge, and one token, for each of the three runs.
    assert len(seen.of("GET", "/auth/token")) == 3


def test_private_artifact_does_not_exist_for_others(
    oras: Program, accounts: ManagedRegistry
) -> None:
    _as_user(oras, accounts, "owen").run(accounts.host, "push", "acme/oras-secret:1", "content")
    with pytest.raises(ProgramFailed, match="there is no repository acme/oras-secret"):
        _as_user(oras, accounts, "nora").run(accounts.host, "pull", "acme/oras-secret:1", "out")


def test_registry_without_accounts(
    oras: Program, registry: Registry, repository: str, tmp_path: Path
) -> None:
    with traffic.watched(registry) as seen:
        assert oras.run(registry.host, "push", f"{repository}:1", "content") == "201"
        oras.run(registry.host, "pull", f"{repository}:1", "out")
    assert (tmp_path / "out" / "content").read_bytes() == CONTENT
    assert seen.surprises() == []


def _as_user(oras: Program, server: ManagedRegistry, name: str) -> Program:
    return oras.with_environment(NAME=name, PASSWORD=server.secrets[name])
