"""The page of the seams lists the methods that the contracts have."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.registry.holdings import Holdings
from dtrfast.store.blobs import BlobReader, BlobStore, Placed, Upload

_PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
_CONTRACTS = [
    Engine,
    ReadTransaction,
    WriteTransaction,
    Holdings,
    BlobStore,
    Upload,
    Placed,
    BlobReader,
]


def listed(contract: str) -> set[str]:
    """The methods that the page has behind the name of a contract."""
    text = " ".join(_PAGE.read_text().split())
    found = re.search(rf"`{contract}`(?:, besides)?: ((?:`\w+` ?)+)", text)
    assert found, f"docs/architecture.md lists no methods of {contract}"
    return set(re.findall(r"`(\w+)`", found[1]))


def methods(contract: type) -> set[str]:
    """Those of the contract itself: not of one that it goes on from."""
    return {
        name
        for name, value in vars(contract).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }


@pytest.mark.parametrize("contract", _CONTRACTS, ids=lambda contract: contract.__name__)
def test_the_page_lists_the_methods(contract: type) -> None:
    assert listed(contract.__name__) == methods(contract)
