"""The store's figures come from the engine of the local tables: the shared one has none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.index.tables import TABLES
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, damage
from dtrfast.store.store import Store
from tests.api.managed.town import Town
from tests.fakes.clock import Clock
from tests.fakes.hop import ThreadHop
from tests.two_environments import TwoEnvironments


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "data", StoreConfig(), open_index=TwoEnvironments, clock=Clock())
    yield store
    store.close()


@pytest.fixture
def town(store: Store) -> Iterator[Town]:
    """A town whose API and registry use only the shared tables."""
    both, hop = cast("TwoEnvironments", store.engine), ThreadHop()
    shared, local = both.half("shared"), both.half("local")
    config = Config(store=StoreConfig(data=store.layout.data))
    with asyncio.Runner() as runner:
        town = Town(shared, store.blobs, Clock(), hop, runner, config, local=local)
        yield town
        town.client.close()
    hop.close()


@pytest.mark.long
def test_pages_of_the_store(town: Town, store: Store) -> None:
    layer = Digest.parse(town.push("acme/app", b"layer" * 9000, tag="large"))
    with store.engine.read() as transaction:
        content = contents.find(transaction, layer)
    assert content is not None
    damage.mark_content(store._context, content.number, "a test")

    (damaged,) = town.api("admin", "GET", "admin/damages")["damages"]
    assert damaged["subject"] == str(layer)
    storage = town.api("admin", "GET", "admin/storage", params={"trash": "true"})
    assert storage["damagedBlobs"] == 1
    assert storage["blobs"] == store.statistics().blobs > storage["repositories"] == 3
    assert town.api("owen", "GET", "repositories/acme/app/usage")["blobs"] == 3

    bundle = town.api("admin", "GET", "admin/diagnostics")["store"]
    assert [one["subject"] for one in bundle["damages"]] == [str(layer)]
    assert list(bundle["tables"]) == [table.name for table in TABLES]
    assert (bundle["tables"]["damages"], bundle["tables"]["tags"]) == ("1 rows", "4 rows")
    assert not any("cannot" in one for one in bundle["tables"].values())
