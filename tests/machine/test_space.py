"""Space of a file system, and the reserve."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dtrfast.machine import space
from dtrfast.machine.space import DiskSpace


def test_room_is_as_df_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A hundred blocks; thirty of the free ones are reserved for root.
    status = SimpleNamespace(
        f_blocks=100, f_bfree=60, f_bavail=30, f_frsize=4096, f_files=9, f_favail=5
    )
    monkeypatch.setattr(os, "statvfs", lambda path: status)
    found = space.measure(tmp_path)
    assert found == DiskSpace(100 * 4096, 40 * 4096, 30 * 4096, 5)
    assert found.usable_bytes == 70 * 4096
    assert found.fullness == 40 / 70
    status.f_files = 0  # as btrfs reports it
    assert space.measure(tmp_path).files_free is None


def test_a_directory_that_is_gone_has_no_room(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        space.measure(tmp_path / "gone")
    found = space.measure_or_zero(tmp_path / "gone")
    assert (found.usable_bytes, found.free_bytes, found.fullness) == (0, 0, 0.0)
    assert found.reserve_bytes(1 << 30) == 0


def test_a_small_file_system_keeps_a_twentieth_of_itself() -> None:
    assert DiskSpace(1 << 40, 0, 0, None).reserve_bytes(1 << 30) == 1 << 30
    assert DiskSpace(1 << 30, 0, 0, None).reserve_bytes(1 << 30) == (1 << 30) // 20
