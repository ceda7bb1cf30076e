"""One slapd for all tests of the directory. Each test must leave its data unchanged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.identity.ldap.slapd import Slapd, running


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    with (
        tempfile.TemporaryDirectory(prefix="dtrfast-slapd-") as folder,
        running(Path(folder) / "slapd") as server,
    ):
        yield server
