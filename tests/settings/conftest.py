"""Fixtures that proofs share: programs that start slowly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.identity.issuer import LocalIssuer, running
from tests.identity.ldap.conftest import slapd

__all__ = ["local_issuer", "slapd"]


@pytest.fixture(scope="session")
def local_issuer() -> Iterator[LocalIssuer]:
    with running() as issuer:
        yield issuer
