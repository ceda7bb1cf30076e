"""The embedded store passes the contract of blob stores."""

from __future__ import annotations

import pytest

from dtrfast.store.local import LocalBlobs
from dtrfast.store.store import Store
from tests.store.blob_contract import BlobContract


@pytest.fixture
def blobs(store: Store) -> LocalBlobs:
    return store.blobs


class TestLocalBlobs(BlobContract):
    pass
