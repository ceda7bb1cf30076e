"""`dtrfast tier`: the results of its commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtrfast.cli.app import run
from dtrfast.config import StoreConfig
from dtrfast.store import pins
from dtrfast.store.store import Store
from dtrfast.store.tier import candidates
from tests.store.conftest import push
from tests.store.tier.layers import convert, layer


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a converted layer."""
    monkeypatch.setenv("DTRFAST_AUTH_MODE", "none")
    monkeypatch.setattr("os.nice", lambda _: 0)  # this process would keep the priority
    monkeypatch.setattr(candidates, "SIZE_MIN", 0)
    store = Store.open(tmp_path / "data", StoreConfig())
    push(store.blobs, layer())
    convert(store)
    store.close()
    return tmp_path / "data"


def test_an_eviction_says_what_it_freed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("tier", "evict", "--all", "--json", "--data", str(data))) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["layers"] == 1
    assert document["freedBytes"] >= len(layer())
    assert document["pending"] == {}
    assert run(("tier", "evict", "--all", "--data", str(data))) == 0
    assert capsys.readouterr().out.splitlines() == ["evicted 0 layers of 0 bytes", "freed 0 bytes"]


def test_an_eviction_says_that_a_backup_keeps_the_files(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtrfast.cli.tier._WAIT_SECONDS", 0.0)
    with pins.hold(data):
        assert run(("tier", "evict", "--all", "--data", str(data))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "freed 0 bytes"
    assert any("files wait, since uploads or a backup" in line for line in lines), lines


def test_the_state_names_encoders_and_their_clients(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("tier", "status", "--json", "--data", str(data))) == 0
    (row,) = json.loads(capsys.readouterr().out)["layers"]
    assert (row["encoder"], row["state"]) == ("zlib", "converted")
    assert row["clients"].startswith("jib")
