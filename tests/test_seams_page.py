"""The page of the seams lists exactly the methods of the contracts."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.registry.holdings import Holdings
from dtrfast.store.blobs import BlobReader, BlobStore, Placement, Upload

_PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
_CONTRACTS = [
    Engine,
    ReadTransaction,
    WriteTransaction,
    Holdings,
    BlobStore,
    Upload,
    Placement,
    BlobReader,
]


def listed(contract: str) -> set[str]:
    """Return the methods that the page lists for the contract of this name."""
    text = " ".join(_PAGE.read_text().split())
    found = re.search(rf"`{contract}`(?:, besides)?: ((?:`\w+` ?)+)", text)
    assert found, f"docs/architecture.md lists no methods of {contract}"
    return set(re.findall(r"`(\w+)`", found[1]))


def methods(contract: type) -> set[str]:
    """Return the contract's own methods, without inherited ones."""
    return {
        name
        for name, value in vars(contract).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }


@pytest.mark.parametrize("contract", _CONTRACTS, ids=lambda contract: contract.__name__)
def test_the_page_lists_the_methods(contract: type) -> None:
    assert listed(contract.__name__) == methods(contract)
