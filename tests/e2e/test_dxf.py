"""The Python client dxf: blobs under aliases, deduplicated by mounts, with a password over TLS."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e import certificates, images, traffic
from tests.e2e import managed as registries
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, ProgramFailed
from tests.e2e.registry import Registry

CONTENTS = {f"file{n}": images.noise(300_000 * n, seed=40 + n) for n in (1, 2)}
DIGESTS = {name: f"sha256:{hashlib.sha256(b).hexdigest()}" for name, b in CONTENTS.items()}


@pytest.fixture(scope="module")
def secure_accounts(new_folder: Callable[[str], Path]) -> Iterator[ManagedRegistry]:
    """A registry with accounts and TLS: dxf sends no password without it."""
    folder = new_folder("dxf")
    with registries.running(folder, tls=certificates.make(folder)) as server:
        yield server


@pytest.fixture
def dxf(environment: Mapping[str, str], tmp_path: Path) -> Program:
    """The dxf command line, in a folder with two files."""
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return Program(sys.executable, environment, ("-m", "dxf"), tmp_path)


def test_blobs_come_back_by_alias_and_mount(
    dxf: Program, secure_accounts: ManagedRegistry, tmp_path: Path
) -> None:
    dxf = _as_user(dxf, secure_accounts, "owen")
    with traffic.watched(secure_accounts.registry) as seen:
        for name, digest in DIGESTS.items():
            assert dxf.run("push-blob", "acme/dxf", name, f"@{name}") == digest
        assert dxf.run("push-blob", "acme/dxf", "file1") == DIGESTS["file1"]
        dxf.run("set-alias", "acme/dxf", "both", *DIGESTS.values())
        assert dxf.run("get-alias", "acme/dxf", "both").split() == list(DIGESTS.values())
        assert dxf.run("list-aliases", "acme/dxf").split() == ["both", *DIGESTS]
        pulled = dxf.run_raw("pull-blob", "acme/dxf", "@both")
        assert pulled == b"".join(CONTENTS.values())
        mounted = dxf.run("mount-blob", "acme/dxf-too", "acme/dxf", DIGESTS["file2"], "@mounted")
        assert mounted == DIGESTS["file2"]
        assert dxf.run_raw("pull-blob", "acme/dxf-too", "@mounted") == CONTENTS["file2"]
        assert "acme/dxf-too" in dxf.run("list-repos").split()
    assert seen.surprises() == []
    # The client sends no blob that exists already, and a mount sends no bytes.
    assert len(seen.of("PUT", "acme/dxf/blobs/")) == len(CONTENTS)
    assert seen.of("PUT", "acme/dxf-too/blobs/") == []


def test_deleted_alias_and_blob_are_gone(dxf: Program, secure_accounts: ManagedRegistry) -> None:
    dxf = _as_user(dxf, secure_accounts, "owen")
    dxf.run("push-blob", "acme/dxf-gone", "file1", "@one")
    dxf.run("push-blob", "acme/dxf-gone", "file2", "@two")
    # It deletes the alias, which is a manifest that it names by digest, then the alias's blob.
    dxf.run("del-blob", "acme/dxf-gone", "@one")
    assert dxf.run("list-aliases", "acme/dxf-gone") == "two"
    with pytest.raises(ProgramFailed, match="404"):
        dxf.run("pull-blob", "acme/dxf-gone", DIGESTS["file1"])


def test_user_without_rights_is_refused(dxf: Program, secure_accounts: ManagedRegistry) -> None:
    dxf = _as_user(dxf, secure_accounts, "nora")
    with pytest.raises(ProgramFailed, match=r"40[134]|Unauthorized"):
        dxf.run("push-blob", "acme/app", "file1", "@one")
    with pytest.raises(ProgramFailed, match=r"40[134]|Unauthorized"):
        dxf.run("list-aliases", "acme/secret")


def test_plain_http_without_accounts(dxf: Program, registry: Registry, repository: str) -> None:
    dxf = dxf.with_environment(DXF_HOST=registry.host, DXF_INSECURE="1")
    with traffic.watched(registry) as seen:
        dxf.run("push-blob", repository, "file2", "@two")
        assert dxf.run_raw("pull-blob", repository, "@two") == CONTENTS["file2"]
    assert seen.surprises() == []


def _as_user(dxf: Program, server: ManagedRegistry, name: str) -> Program:
    assert server.registry.tls is not None
    return dxf.with_environment(
        DXF_HOST=server.host,
        DXF_TLSVERIFY=str(server.registry.tls.authority),
        DXF_USERNAME=name,
        DXF_PASSWORD=server.secrets[name],
    )
