"""One slapd for all tests of the directory: they leave it as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.identity.ldap import slapd as servers
from tests.identity.ldap.slapd import Slapd


@pytest.fixture(scope="session")
def slapd() -> Iterator[Slapd]:
    with (
        tempfile.TemporaryDirectory(prefix="dtrfast-slapd-") as folder,
        servers.running(Path(folder) / "slapd") as server,
    ):
        yield server
