"""File systems by path and by device."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtrfast.errors import FileSystemUnsupported
from dtrfast.machine import mounts
from dtrfast.machine.paths import Layout
from dtrfast.store.data_directory import prepare


def mount(monkeypatch: pytest.MonkeyPatch, table: Path, place: Path, kind: str) -> None:
    name = str(place).replace(" ", "\\040")
    lines = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw",
        f"22 21 0:40 / {place.parent} rw shared:2 - tmpfs none rw",
        f"23 22 0:41 / {name} rw shared:3 master:1 - {kind} host:/export rw",
    )
    table.write_text("\n".join(lines))
    monkeypatch.setattr(mounts, "_MOUNTS", table)


def test_the_innermost_mount_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path.resolve() / "a bläck disk"
    mount(monkeypatch, tmp_path / "mounts", place, "xfs")
    assert mounts.kind_of(place / "data") == "xfs"
    assert mounts.kind_of(place.parent / "a") == "tmpfs"
    assert mounts.kind_of(Path("/")) == "ext4"
    assert [mounts.kind_of_device(name) for name in ("8:1", "0:41", "0:99")] == ["ext4", "xfs", ""]


def test_the_kernel_is_read(tmp_path: Path) -> None:
    assert mounts.kind_of(Path("/proc/self")) == "proc"
    assert mounts.kind_of(tmp_path) not in ("", "proc")


def test_where_the_kernel_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "none")
    assert mounts.kind_of(tmp_path) == ""
    mounts.require_local(tmp_path)


@pytest.mark.parametrize("kind", ["nfs4", "cifs"])
def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mount(monkeypatch, tmp_path / "mounts", tmp_path.resolve() / "far", kind)
    with pytest.raises(FileSystemUnsupported, match=f"{kind}.*local disk"):
        prepare(Layout(tmp_path / "far"))
