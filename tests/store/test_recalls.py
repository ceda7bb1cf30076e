"""The number of recalls: it lies in a mapped file without holes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dtrfast.errors import StorageFull
from dtrfast.store.recalls import Recalls


def test_processes_share_the_number(tmp_path: Path) -> None:
    path = tmp_path / "recalls"
    one = Recalls.open(path)
    before = one.number
    one.change()
    assert Recalls.open(path).number != before
    assert path.stat().st_blocks > 0


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageFull):
        Recalls.open(tmp_path / "recalls")
