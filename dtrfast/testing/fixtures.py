"""Fixtures for pytest. In a `conftest.py`: `pytest_plugins = ["dtrfast.testing.fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dtrfast import testing


@pytest.fixture(scope="session")
def registry() -> Iterator[testing.Registry]:
    """A registry without accounts. All tests of a process share it: use `new_repository`."""
    with testing.registry() as running:
        yield running


@pytest.fixture(scope="session")
def registry_with_accounts() -> Iterator[testing.Registry]:
    """A registry whose callers sign in; `admin` has the administrator's credentials."""
    with testing.registry(accounts=True) as running:
        yield running
