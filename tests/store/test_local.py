"""The embedded store passes the contract of blob stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.store.local import LocalBlobs
from dtrfast.store.store import Store
from tests.fakes.clock import Clock
from tests.store.blob_contract import BlobContract
from tests.store.fill_contract import FillContract
from tests.two_environments import TwoEnvironments


@pytest.fixture
def blobs(store: Store) -> LocalBlobs:
    assert isinstance(store.blobs, LocalBlobs)
    return store.blobs


class TestLocalBlobs(BlobContract, FillContract):
    pass


@pytest.mark.long
class TestTwoEnvironments(BlobContract):
    """The contract over an index whose shared tables are in another environment."""

    @pytest.fixture
    def store(self, tmp_path: Path, clock: Clock) -> Iterator[Store]:
        config = StoreConfig()
        store = Store.open(tmp_path / "data", config, open_index=TwoEnvironments, clock=clock)
        yield store
        store.close()


def test_a_part_of_a_second_is_not_none(tmp_path: Path) -> None:
    """Times are whole seconds, and a grace of 0 would mean something else."""
    store = Store.open(tmp_path, StoreConfig(upload_expiry_seconds=0.4, grace_seconds=0.4))
    context = store._context
    store.close()
    assert (context.upload_expiry_seconds, context.grace_seconds) == (1, 1)
