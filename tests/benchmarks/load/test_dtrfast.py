"""The load client against dtrfast."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Body, Framing, Job, Push
from tests.benchmarks.load.asking import get
from tests.e2e.registry import Registry, running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.mark.slow
def test_dtrfast_takes_and_gives_what_the_client_sends(registry: Registry, tmp_path: Path) -> None:
    address = ("127.0.0.1", registry.port)
    pushes, pulls = [], []
    for framing in Framing:
        data = os.urandom(3_000_000)
        path = tmp_path / framing
        path.write_bytes(data)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        blob = Push("lib/load", digest, Body(path), framing, head_first=True)
        copy = Push("lib/copy", digest, Body(path), framing, mount_from="lib/load", label="mount")
        pushes += [Job((blob, blob, copy))]
        pulls += [get(f"/v2/{name}/blobs/{digest}") for name in ("lib/load", "lib/copy")]
    result = load.run(address, pushes, connections=2)
    assert result.errors == ()
    assert result.steps["push"].bytes_out == 9_000_000
    assert (result.steps["mount"].count, result.steps["mount"].bytes_out) == (3, 0)
    result = load.run(address, pulls, connections=3, verify=True)
    assert (result.errors, result.verified) == ((), 6)
    assert result.total.bytes_in == 18_000_000


@pytest.mark.slow
def test_dtrfast_is_held(registry: Registry) -> None:
    address = ("127.0.0.1", registry.port)
    uploads = "/v2/lib/slow/blobs/uploads/"
    with (
        load.hold(address, kind="idle", count=50, path="/v2/") as idle,
        load.hold(address, kind="slow-upload", count=20, path=uploads, prefix_size=9999) as slow,
    ):
        assert (idle.opened, slow.opened) == (50, 20)
        assert idle.release().lost == 0
        held = slow.release()
    assert held.lost == 0
    assert held.bytes_out >= 20 * 9999
