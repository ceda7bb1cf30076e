"""The embedded store passes the contract of blob stores."""

from __future__ import annotations

import pytest

from dtrfast.store.local import LocalBlobs
from dtrfast.store.store import Store
from tests.store.blob_contract import BlobContract
from tests.store.fill_contract import FillContract


@pytest.fixture
def blobs(store: Store) -> LocalBlobs:
    return store.blobs


class TestLocalBlobs(BlobContract, FillContract):
    pass
