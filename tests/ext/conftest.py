"""A choice of tests for the sanitized core, which is ten times slower."""

from __future__ import annotations

import os

import pytest

# Of so many golden streams of encoders, one runs under sanitizers.
_STREAMS_PER_RUN = 8


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under sanitizers, keep every eighth test of the encoders, and all others."""
    if os.environ.get("CORE_SANITIZE") != "1":
        return
    encoders = [item for item in items if item.path.name.startswith("test_replay")]
    dropped = {item for number, item in enumerate(encoders) if number % _STREAMS_PER_RUN}
    config.hook.pytest_deselected(items=sorted(dropped, key=lambda item: item.nodeid))
    items[:] = [item for item in items if item not in dropped]
