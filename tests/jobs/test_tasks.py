"""Tasks of the housekeeper: their names, and their results."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import msgspec

from dtrfast.config import AuthConfig, Config, StoreConfig
from dtrfast.console.pages import settings
from dtrfast.identity.events import EventFilter, EventReader
from dtrfast.index.tables import SETTINGS
from dtrfast.jobs.board import Board
from dtrfast.jobs.rollback import give_back
from dtrfast.jobs.tasks import housekeeping, registry_tasks
from dtrfast.machine.paths import Layout
from dtrfast.registry import job_records, ownership, repositories
from dtrfast.registry.policies import NAME, StorageSettings
from dtrfast.store.tasks import Task
from tests.jobs.test_freed import APP, DAY, Shelf, noise


def test_the_console_shows_tasks_that_there_are(tmp_path: Path) -> None:
    """Users know the tasks by these names."""
    shelf = Shelf(tmp_path)
    with ExitStack() as stack:
        config = Config(store=StoreConfig(data=tmp_path))
        names = {task.name for task in housekeeping(shelf.store, config, stack)}
    shelf.store.close()
    assert names >= settings._FREEING


def test_a_rollback_forgets_the_tasks_of_this_version(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    Board(shelf.store.engine, []).begin([Task("tidy index", 60.0, lambda: 0)])
    config = Config(store=StoreConfig(data=tmp_path), auth=AuthConfig(mode="none"))
    give_back(shelf.store, config, with_trash=True)
    with shelf.store.engine.read() as transaction:
        assert job_records.tasks(transaction) == []
    shelf.store.close()


def test_deletions_by_a_policy_and_the_end_of_the_trash_are_events(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.store.engine.write(
        lambda transaction: transaction.put(
            SETTINGS, NAME, msgspec.json.encode(StorageSettings(untagged_days=1))
        )
    )
    shelf.push(noise(1, 100))
    shelf.push(noise(2, 100))
    shelf.push(noise(3, 100), tag="stays")
    config = Config(store=StoreConfig(data=tmp_path), auth=AuthConfig(mode="managed"))
    with ExitStack() as stack:
        holdings = shelf.registry.holdings
        tasks = registry_tasks(shelf.store, holdings, config, stack, clock=shelf.clock)
        for _ in range(3):
            shelf.clock.advance(16 * DAY)
            for task in tasks:
                if task.name in ("trash", "untagged manifests"):
                    task.run()
    with shelf.store.engine.read() as transaction:
        place = repositories.get(transaction, APP), ownership.owner_of(transaction, APP)
    shelf.store.close()
    purged, deleted = EventReader(Layout(tmp_path).audit).page(EventFilter())[0]
    assert (deleted.kind, deleted.actor, deleted.subject) == ("delete", "policy", "acme/app")
    assert deleted.detail["count"] == 2
    assert str(deleted.detail["run"]).startswith("untagged 20")
    assert (deleted.repository, deleted.owner) == place
    assert (purged.kind, purged.detail) == ("trash.purge", {"count": 2})
