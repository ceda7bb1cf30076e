"""Content is made once, and removed if there is too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.content.workshop import Workshop

SIZE = 1 << 20


def thing(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(bytes([1]) * SIZE)
    return path


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_equal_things_are_made_once(workshop: Workshop) -> None:
    first = workshop.get(thing, "a")
    assert workshop.get(thing, "a") is first
    assert workshop.get(thing, name="a") != first
    assert workshop.get(thing, "b").parent != first.parent


def test_what_was_used_last_stays(workshop: Workshop) -> None:
    first, second = workshop.get(thing, "a"), workshop.get(thing, "b")
    workshop.get(thing, "a")
    workshop.trim(SIZE + SIZE // 2)
    assert first.exists()
    assert not second.exists()


def test_what_was_thrown_away_is_made_again(workshop: Workshop) -> None:
    first = workshop.get(thing, "a")
    workshop.trim(0)
    assert not first.exists()
    assert workshop.get(thing, "a").exists()
