"""Short system calls are completed, and errors of the disk name the next step."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from dtrfast.errors import Corrupt, DtrfastError, StorageFailed, StorageFull
from dtrfast.index.tables import SETTINGS
from dtrfast.machine import disk
from dtrfast.registry import policies
from dtrfast.store.limits import StoreLimits
from dtrfast.store.store import Store


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """A file with ten digits."""
    descriptor = disk.create(tmp_path / "file")
    disk.write_at(descriptor, [b"0123456789"], 0)
    yield descriptor
    os.close(descriptor)


def test_a_short_read_is_completed(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, length, offset: pread(file, 3, offset))
    assert disk.read_at(descriptor, 8, 1) == b"12345678"


def test_a_file_that_ends_early_is_corrupt(descriptor: int) -> None:
    with pytest.raises(Corrupt, match="a data file ends at 10, before 12"):
        disk.read_at(descriptor, 4, 8)


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, StorageFull, "the disk is full: free some space, then try again"),
        (errno.EDQUOT, StorageFull, "the disk is full: free some space, then try again"),
        (errno.EIO, StorageFailed, r"disk operation failed: Input/output error \(data file\)"),
    ],
)
def test_an_error_of_the_disk_has_a_message_with_the_next_step(
    number: int, kind: type[DtrfastError], message: str
) -> None:
    with pytest.raises(kind, match=message), disk.reported():
        raise OSError(number, os.strerror(number))


def test_a_file_that_is_not_there_is_told_from_one_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        disk.open_existing(tmp_path / "none")
    with pytest.raises(StorageFailed, match=r"Not a directory \(.*/file/below\)"):
        disk.open_existing(tmp_path / "file" / "below")
    assert disk.size_of(tmp_path / "none") == 0
    disk.remove(tmp_path / "none")


# ---- space -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("free", "files_free", "refusal"),
    [
        (1 << 30, 100_000, ""),
        (1 << 20, 100_000, "delete something and empty the trash"),
        (1 << 30, 999, "more inodes"),
    ],
    ids=["enough", "less than the reserve", "few files"],
)
def test_a_push_needs_room_beyond_the_reserve(
    store: Store, monkeypatch: pytest.MonkeyPatch, free: int, files_free: int, refusal: str
) -> None:
    status = SimpleNamespace(
        f_blocks=1 << 40,
        f_bfree=free,
        f_bavail=free,
        f_frsize=1,
        f_files=1 << 20,
        f_favail=files_free,
    )
    store.set_limits(lambda: StoreLimits(reserve_bytes=2_097_152))
    monkeypatch.setattr(os, "statvfs", lambda path: status)
    if not refusal:
        store.blobs.begin("some/name").cancel()
        return
    with pytest.raises(StorageFull, match=refusal):
        store.blobs.begin("some/name")


def test_settings_that_cannot_be_read_are_corrupt(store: Store) -> None:
    store.engine.write(lambda transaction: transaction.put(SETTINGS, policies.NAME, b"{"))
    store.set_limits(partial(policies.read_limits, store.engine))
    with pytest.raises(Corrupt, match="the settings 'storage' cannot be read"):
        store.blobs.begin("some/name")
