"""A short storm. `python -m tests.crash.storm` runs a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.storm import storm


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "kills"),
    [
        ("one", 3),
        pytest.param("one", 15, marks=pytest.mark.long),
        pytest.param("two", 6, marks=pytest.mark.long),
    ],
)
def test_kills_lose_nothing(tmp_path: Path, seed: int, engine: str, kills: int) -> None:
    figures = storm(tmp_path / "data", seed, kills, pause_seconds=0.3, engine=engine)
    assert figures.problems == [], f"POWERCUT_SEED={seed}"
    assert figures.counts["lost"] == figures.counts["wrong"] == 0
    assert figures.counts["checked"] > kills
