"""Tests can choose parts of a server for all of its processes. Other servers get no such parts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dtrfast import testing
from dtrfast.assembly import open_store
from dtrfast.config import TEST_ASSEMBLY, Config, StoreConfig
from dtrfast.index.tables import SETTINGS
from dtrfast.machine.paths import Layout
from dtrfast.oci.digests import Digest
from dtrfast.registry import policies
from dtrfast.registry.policies import StorageSettings
from dtrfast.store.counting import CountingBlobs
from dtrfast.store.limits import StoreLimits
from dtrfast.store.local import LocalBlobs
from dtrfast.store.store import Store
from tests.assembly import FILES, TWO_ENVIRONMENTS
from tests.blobs_as_files import FileBlobs
from tests.server.conftest import eventually


def opened_blobs(data: Path) -> object:
    """Return the blob store below the counting one."""
    store = open_store(Config(store=StoreConfig(data=data)))
    store.close()
    assert isinstance(store.blobs, CountingBlobs)
    return store.blobs.inner


def test_a_variable_chooses_the_blob_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEST_ASSEMBLY, FILES)
    assert isinstance(opened_blobs(tmp_path), FileBlobs)
    for name in ("", None):
        if name is None:
            monkeypatch.delenv(TEST_ASSEMBLY)
        else:
            monkeypatch.setenv(TEST_ASSEMBLY, name)
        assert isinstance(opened_blobs(tmp_path), LocalBlobs)


@pytest.mark.parametrize("parts", ["", TWO_ENVIRONMENTS])
def test_the_store_keeps_to_the_settings(
    parts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEST_ASSEMBLY, parts)
    store = open_store(Config(store=StoreConfig(data=tmp_path)))
    try:
        assert store._context.limits.read() == StoreLimits()
        wanted = StorageSettings(reserve_bytes=1, scrub_days=2.0, scrub_bytes_per_second=1 << 20)
        data = msgspec.json.encode(wanted)
        store.engine.write(lambda transaction: transaction.put(SETTINGS, policies.NAME, data))
        assert store._context.limits.read() == StoreLimits(1 << 20, 2.0, 1)
    finally:
        store.close()


def test_a_store_that_tests_cannot_change_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Store] = []
    close = Store.close

    def note(store: Store) -> None:
        closed.append(store)
        close(store)

    monkeypatch.setattr(Store, "close", note)
    monkeypatch.setenv(TEST_ASSEMBLY, "tests.assembly:missing")
    with pytest.raises(AttributeError):
        open_store(Config(store=StoreConfig(data=tmp_path)))
    assert len(closed) == 1


@pytest.mark.long
def test_nothing_of_tests_is_imported_without_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TEST_ASSEMBLY, raising=False)
    program = (
        "import sys, pathlib; from dtrfast.assembly import open_store\n"
        "from dtrfast.config import Config, StoreConfig\n"
        "open_store(Config(store=StoreConfig(data=pathlib.Path(sys.argv[1])))).close()\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'tests'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.long
def test_all_processes_of_a_server_have_the_store_and_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEST_ASSEMBLY, FILES)
    data = tmp_path / "data"
    content = bytes(100_000)
    digest = Digest.of_bytes(content)
    with testing.registry(data) as registry:
        registry.push_blob("team/app", content, "application/octet-stream")
        assert registry.blob("team/app", str(digest)) == content
        names = [path.name for path in (data / "files" / "contents").iterdir()]
        assert str(digest) in names
        assert [path for path in (data / "packs").rglob("*") if path.is_file()] == []

        def is_counted() -> bool:
            samples = Layout(data).metrics.glob("*.json")
            counts = [json.loads(path.read_bytes())["blobs"] for path in samples]
            total: int = sum(one["placed_bytes"] + one["read_bytes"] for one in counts)
            return total == 200_000

        eventually(is_counted)
