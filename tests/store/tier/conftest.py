"""A tier whose segments are small, and that takes layers of any size."""

from __future__ import annotations

import pytest

from dtrfast.store.tier import candidates, encoding

SEGMENT_SIZE = 48 << 10


@pytest.fixture(autouse=True)
def _layers_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of some hundred kilobytes have several segments."""
    monkeypatch.setattr(encoding, "SEGMENT_SIZE", SEGMENT_SIZE)
    monkeypatch.setattr(candidates, "SIZE_MIN", 0)
