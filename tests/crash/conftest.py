"""Fixtures of the crash tests: the recorder, and the seed of all their random choices."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.crash.recording import build_recorder, compiler


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorder's library."""
    if compiler() is None:
        pytest.skip("no C compiler to build the recorder with")
    return build_recorder(tmp_path_factory.mktemp("recorder"))


@pytest.fixture(scope="session")
def seed() -> int:
    """A new seed in each run, reported with each failure. POWERCUT_SEED repeats a run."""
    given = os.environ.get("POWERCUT_SEED")
    return int(given) if given else random.SystemRandom().randrange(1 << 32)
