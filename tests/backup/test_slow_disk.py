"""Backups and restores write back early, and notice a disk that lost written data."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dtrfast.backup.directory import BackupDirectory
from dtrfast.errors import BackupFailed, StorageFailed
from dtrfast.machine import bytes_in_flight, disk
from dtrfast.machine.bytes_in_flight import LIMIT_MIN, BytesInFlight


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> BytesInFlight:
    """The account of a slow disk."""
    account = BytesInFlight(None)
    monkeypatch.setattr(bytes_in_flight, "RATE_MAX", 1)
    monkeypatch.setattr(bytes_in_flight, "RATE_UNKNOWN", 1)
    monkeypatch.setattr(bytes_in_flight, "of_device", lambda device: account)
    return account


def test_little_of_an_object_is_on_its_way(
    tmp_path: Path, account: BytesInFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, most = disk.finish_write_back, []

    def note(descriptor: int, offset: int, size: int) -> bool:
        most.append(account.in_flight)
        return finish(descriptor, offset, size)

    monkeypatch.setattr(disk, "finish_write_back", note)
    place = BackupDirectory(tmp_path / "place")
    place.make()
    place.put("files/one", [b"x" * (LIMIT_MIN // 4)] * 16)
    assert most, "nothing was waited for"
    assert max(most) <= LIMIT_MIN
    assert account.in_flight == 0


def test_a_failed_write_back_fails_the_backup(
    tmp_path: Path, account: BytesInFlight, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> bool:
        with disk.reported():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk, "finish_write_back", fail)
    place = BackupDirectory(tmp_path / "place")
    place.make()
    with pytest.raises(BackupFailed, match="files/one: Input/output error"):
        place.put("files/one", [b"x" * (LIMIT_MIN // 4)] * 16)
    assert list((tmp_path / "place" / "files").iterdir()) == []


def test_errors_of_the_file_system_are_told_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Libc:
        @staticmethod
        def syncfs(descriptor: int) -> int:
            disk.ctypes.set_errno(errno.EIO)  # type: ignore[attr-defined]
            return -1

    monkeypatch.setattr(disk, "_libc", Libc)
    with pytest.raises(StorageFailed, match="Input/output error"), disk.synced(tmp_path):
        pass
    place = BackupDirectory(tmp_path)
    with pytest.raises(BackupFailed, match="Input/output error"), place.synced():
        pass
