"""`dtrfast restore`, before any server runs on its result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtrfast.cli.app import run
from dtrfast.config import Config, StoreConfig
from dtrfast.jobs import adoption
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store


def make_as_before(data: Path) -> None:
    """Make a store with a blob and an index as the previous version keeps it."""
    store = Store.open(data, StoreConfig())
    registry = Registry(store.engine, store.blobs, Config(), fullness=lambda: 0.0)
    name = RepositoryName("acme/app")
    upload = registry.uploads.begin(name)
    upload.append(b"{}")
    registry.uploads.finish(upload, name, Digest.of_bytes(b"{}"), registry.author())
    upload.release()
    adoption.give_back(store, registry.holdings)
    store.close()


def test_what_the_version_before_backed_up_is_whole_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)  # this process would keep the priority
    data, place, again = (str(tmp_path / name) for name in ("data", "place", "again"))
    make_as_before(Path(data))
    assert run(("backup", place, "--data", data)) == 0
    assert run(("restore", place, "--data", again)) == 0
    assert run(("verify", "--data", again)) == 0
