"""Each change of the index runs twice in these tests."""

from __future__ import annotations

import pytest

from tests import twice


@pytest.fixture(autouse=True)
def _each_change_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    twice.install(monkeypatch)
