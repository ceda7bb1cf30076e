"""File modes: other users of the machine cannot read a data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.machine import disk, locks
from dtrfast.machine.paths import Layout
from dtrfast.machine.privacy import exposures
from dtrfast.store.data_directory import begin_restore, prepare


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture(autouse=True)
def _wide_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_new_data_directory_is_for_its_user_alone(tmp_path: Path) -> None:
    prepare(Layout(tmp_path / "deep" / "data"))
    begin_restore(Layout(tmp_path / "restored"))
    os.close(locks.take_server(tmp_path / "locked"))
    for name in ("deep/data", "restored", "locked"):
        assert mode_of(tmp_path / name) == 0o700, name


def test_a_wide_one_is_narrowed(tmp_path: Path) -> None:
    for mode, narrow in ((0o755, 0o700), (0o2770, 0o2700), (0o777, 0o700), (0o500, 0o500)):
        data = tmp_path / f"{mode:o}"
        prepare(Layout(data))
        data.chmod(mode)
        prepare(Layout(data))
        assert mode_of(data) == narrow, oct(mode)
        assert exposures(data) == []


def test_a_directory_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(Exception, match="holds other files"):
        prepare(Layout(tmp_path))
    assert mode_of(tmp_path) == 0o755


def test_a_directory_that_cannot_be_narrowed_is_an_open_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to another user, or its file system has no modes."""
    layout = Layout(tmp_path / "data")
    prepare(layout)
    layout.data.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        prepare(layout)
    assert mode_of(layout.data) == 0o755
    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", lambda *_: None)
        prepare(layout)
    (problem,) = exposures(layout.data)
    assert f"{layout.data} (mode 755, owner {os.getuid()}): run `chmod 700`" in problem


def test_a_directory_that_users_share_is_left_to_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    prepare(layout)
    layout.data.chmod(0o1777)
    prepare(layout)
    assert mode_of(layout.data) == 0o1777
    assert len(exposures(layout.data)) == 1


def test_a_link_in_it_counts_by_its_own_mode(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    prepare(layout)
    layout.blobs.rename(tmp_path / "elsewhere")
    layout.blobs.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o755)
    assert "blobs" in exposures(layout.data)[0]
    prepare(layout)
    assert mode_of(tmp_path / "elsewhere") == 0o700
    assert exposures(layout.data) == []


def test_locks_and_files_are_for_their_user_alone(tmp_path: Path) -> None:
    Layout(tmp_path).housekeeper_lock.touch(0o644)
    descriptors = [locks.take_server(tmp_path), locks.take_number(tmp_path)[1]]
    housekeeper = locks.try_housekeeper(tmp_path)
    assert housekeeper is not None
    descriptors += [housekeeper, disk.create(tmp_path / "x"), disk.open_or_create(tmp_path / "y")]
    for descriptor in descriptors:
        os.close(descriptor)
    assert {path.name: mode_of(path) for path in tmp_path.iterdir() if mode_of(path) != 0o600} == {}
