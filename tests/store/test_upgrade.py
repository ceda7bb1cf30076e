"""A store of the version before this one is opened, upgraded while it is used, and rolled back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

import dtrfast
from dtrfast.backup.create import create_backup
from dtrfast.backup.place import BackupPlace
from dtrfast.cli.backup import restore
from dtrfast.config import Config, StoreConfig
from dtrfast.errors import FormatUnknown, StartRefused, StorageFailed
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import CHUNKS_UNREFERENCED, CONTENTS
from dtrfast.jobs import adoption
from dtrfast.jobs.repair import repair_index
from dtrfast.jobs.tasks import content_tasks
from dtrfast.machine.paths import Layout
from dtrfast.oci.names import Tag
from dtrfast.registry.registry import Registry
from dtrfast.store import data_directory, upgrade
from dtrfast.store.features import ALL, Features
from dtrfast.store.records import decode_content
from dtrfast.store.store import Store
from tests import verifying
from tests.store import old_store
from tests.store.conftest import files_below

_ROOT = Path(__file__).parents[2]
# Made by `old_store.py make` of the version before features.
_GOLDEN = _ROOT / "tests" / "golden" / "store-1.0.tar.xz"
# The last commit before features, whose program wrote the golden store, and the last commit before
# the newest feature. `git archive` gives the programs.
_BEFORE = {"upgraded": "80ce356", "new": "7cd039b"}
# The lines about the trash that a rollback to each of them prints.
_EMPTIED = {"upgraded": "2 things left the trash", "new": "0 things left the trash"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store that the version before this one wrote."""
    unpack(_GOLDEN, tmp_path / "data")
    return tmp_path / "data"


def unpack(path: Path, target: Path) -> None:
    """Unpack a trusted tar file. Python before 3.11.4, such as Debian 12's, has no filters."""
    with tarfile.open(path) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(target)


def known(data: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((data / "known.json").read_text())
    return document


def registry_of(store: Store, data: Path) -> Registry:
    config = Config(store=StoreConfig(data=data))
    return Registry(store.engine, store.blobs, config, fullness=lambda: 0.0)


def keep_house(store: Store, rounds: int = 6) -> None:
    holdings = registry_of(store, store.layout.data).holdings
    for _ in range(rounds):
        adoption.adopt(store)
        for task in content_tasks(store, holdings):
            task.run()


def tell_nobody(what: str, done: int, total: int) -> None:
    return None


def test_a_store_of_the_version_before_is_upgraded_while_it_is_used(old: Path) -> None:
    store = Store.open(old, StoreConfig())
    registry = registry_of(store, old)
    old_store.check(registry, known(old))
    with store.engine.read() as transaction:
        assert list(transaction.scan(CHUNKS_UNREFERENCED)), "it has garbage of the old kind"
    keep_house(store)
    with store.engine.read() as transaction:
        assert not list(transaction.scan(CHUNKS_UNREFERENCED))
        contents = [decode_content(value) for _, value in transaction.scan(CONTENTS)]
    assert all(c.recipe_pack for c in contents if c.kind == "chunked")
    assert len(files_below(old, "packs")) == 3, "two blobs' and one for their recipes"
    assert verifying.findings(store) == []
    old_store.check(registry, known(old))
    store.close()
    features = data_directory.read_features(Layout(old))
    assert features.incompatible == features.unsealed == {"accounts", "holdings", "trash"}


def test_an_upgraded_store_can_be_repaired(old: Path) -> None:
    store = Store.open(old, StoreConfig())
    keep_house(store)
    store.close()
    shutil.rmtree(old / "index")
    (old / "index").mkdir()
    store = Store.begin_repair(old, StoreConfig())
    found = repair_index(store, print, lambda size: None)
    store.close()
    assert (found.lost, found.changes_failed) == ((), 0)
    store = Store.open(old, StoreConfig())
    old_store.check(registry_of(store, old), known(old))
    store.close()


def test_a_repair_upgrades(old: Path) -> None:
    """It writes rows of this version, which the version before would count and free wrong."""
    shutil.rmtree(old / "index")
    (old / "index").mkdir()
    store = Store.begin_repair(old, StoreConfig())
    repair_index(store, print, lambda size: None)
    store.close()
    assert data_directory.read_features(Layout(old)) == Features().upgraded()
    store = Store.open(old, StoreConfig(), may_upgrade=False)
    assert verifying.findings(store) == []
    store.close()


def test_an_upgrade_that_is_cut_off_between_its_writes_loses_no_body(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bodies are recorded, but the step is not: it is done again."""

    def fail(transaction: WriteTransaction, last: bytes) -> None:
        raise StorageFailed("the program ends here")

    store = Store.open(old, StoreConfig())
    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "_note", fail)
        with pytest.raises(StorageFailed):
            keep_house(store)
    keep_house(store)
    bodies = [c.payload["digest"] for c in store.changes() if c.kind == "blob.put"]
    assert len(bodies) == 2 * len(set(bodies)) > 0
    store.close()
    test_an_upgraded_store_can_be_repaired(old)


@pytest.mark.long
def test_a_backup_of_the_version_before_is_restored_with_its_counts(
    old: Path, tmp_path: Path
) -> None:
    """No server runs in between, which would take the counts over."""
    before = Store.open(old, StoreConfig())
    create_backup(before, BackupPlace(str(tmp_path / "backups")), tell_bytes)
    linked = before.statistics().old_links
    before.close()
    assert restore(str(tmp_path / "backups"), data=str(tmp_path / "new")) == 0
    store = Store.open(tmp_path / "new", StoreConfig(), may_upgrade=False)
    assert registry_of(store, tmp_path / "new").statistics().links == linked > 0
    assert verifying.findings(store) == []
    store.close()


def tell_bytes(done: int, total: int) -> None:
    return None


def test_commands_do_not_upgrade(old: Path) -> None:
    with pytest.raises(FormatUnknown, match="older dtrfast"):
        Store.open(old, StoreConfig(), may_upgrade=False)
    assert data_directory.read_features(Layout(old)) == Features()


def command(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "dtrfast", *arguments, "--data", str(data)]
    return subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)


def version_before(target: Path, origin: str) -> Path:
    """Unpack the program of the version before into `target`, with the kernels of this version."""
    target.mkdir()
    git = ["git", "-C", str(_ROOT), "archive", _BEFORE[origin], "dtrfast"]
    try:
        archive = subprocess.run(git, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the version before is not in this checkout's history: clone it whole")
    (target / "archive.tar").write_bytes(archive)
    unpack(target / "archive.tar", target)
    for kernels in Path(dtrfast.__file__).parent.glob("_core*.so"):
        shutil.copy(kernels, target / "dtrfast")
    shutil.copy(Path(old_store.__file__), target)
    return target


def run_before(target: Path, data: Path, facts: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(target / "old_store.py"), "check", str(data)],
        input=json.dumps(facts),
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("origin", _BEFORE)
def test_the_version_before_opens_it_after_a_rollback(
    tmp_path: Path, request: pytest.FixtureRequest, origin: str
) -> None:
    before = version_before(tmp_path / "before", origin)
    data = tmp_path / "new"
    if origin == "upgraded":
        data = request.getfixturevalue("old")
    store = Store.open(data, StoreConfig())
    registry = registry_of(store, data)
    facts: dict[str, Any] = {"tags": {}, "blobs": []}
    pushed = [(old_store.push(registry, body), len(body)) for body in old_store.bodies()]
    newest = old_store.put(registry, "newest", pushed)
    gone = old_store.put(registry, "gone", pushed[:1])
    registry.manifests.delete(old_store.NAME, gone, registry.author("x"))
    facts = {"tags": {"newest": str(newest)}, "blobs": [str(digest) for digest, _ in pushed]}
    keep_house(store)
    store.close()
    refused = run_before(before, data, facts)
    assert refused.returncode, "before the rollback it keeps away"
    assert "newer dtrfast" in refused.stderr
    done = command(data, "rollback")
    assert done.returncode == 0, done.stderr
    assert _EMPTIED[origin] in done.stdout
    opened = run_before(before, data, facts)
    assert opened.returncode == 0, opened.stderr
    store = Store.open(data, StoreConfig())
    old_store.check(registry_of(store, data), facts)
    assert registry_of(store, data).manifests.get(old_store.NAME, Tag("newest")).digest == newest
    keep_house(store)
    assert verifying.findings(store) == []
    store.close()


def test_a_sealed_store_has_no_way_back(tmp_path: Path) -> None:
    Store.open(tmp_path / "data", StoreConfig()).close()
    assert command(tmp_path / "data", "seal").returncode == 0
    refused = command(tmp_path / "data", "rollback")
    assert refused.returncode == 1
    assert "sealed" in refused.stderr
    Store.open(tmp_path / "data", StoreConfig()).close()


def test_unknown_features_keep_us_away_or_do_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Store.open(data, StoreConfig()).close()
    for kind, is_refused in (
        ("compatible", False),
        ("read_only_compatible", True),
        ("incompatible", True),
    ):
        document = json.loads((data / "format").read_text())
        document["features"][kind].append("from-the-future")
        (data / "format").write_text(json.dumps(document))
        if is_refused:
            with pytest.raises(StartRefused, match="from-the-future"):
                Store.open(data, StoreConfig())
        else:
            Store.open(data, StoreConfig()).close()
        document["features"][kind].remove("from-the-future")
        (data / "format").write_text(json.dumps(document))


def test_features_say_who_may_open() -> None:
    assert Features().is_older
    assert not ALL.is_older
    assert Features().upgraded().rolled_back() == Features()
    assert ALL.sealed().rolled_back().incompatible == ALL.incompatible
