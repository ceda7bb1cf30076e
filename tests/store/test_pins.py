"""Pins of running programs keep files. Pins of dead programs are removed."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from dtrfast.store import pins


def test_no_pin_is_held_where_none_was_ever_taken(tmp_path: Path) -> None:
    assert not pins.is_held(tmp_path)


def test_a_pin_that_was_taken_for_a_dead_programs_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process checks pins between the creation of one and its lock."""
    lock = fcntl.flock
    removed: list[Path] = []

    def remove_first(descriptor: int, operation: int) -> None:
        if not removed:
            (path,) = (tmp_path / "pins").iterdir()
            path.unlink()
            removed.append(path)
        lock(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", remove_first)
        with pins.hold(tmp_path) as path:
            patch.undo()
            assert path != removed[0]
            assert pins.is_held(tmp_path)
    assert not pins.is_held(tmp_path)


def test_the_spool_of_a_dead_program_goes_and_that_of_a_live_one_stays(tmp_path: Path) -> None:
    with pins.hold(tmp_path) as path:
        mine = path.with_suffix(pins.SPOOL)
        left = path.with_name("dead" + pins.SPOOL)
        for spool in (mine, left):
            spool.mkdir()
            (spool / "part").write_bytes(b"x")
        assert pins.is_held(tmp_path)
        assert mine.exists()
        assert not left.exists()


def test_a_pin_that_ends_while_pins_are_looked_at_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pins").mkdir()
    monkeypatch.setattr("os.listdir", lambda path: ["ended-meanwhile"])
    assert not pins.is_held(tmp_path)
