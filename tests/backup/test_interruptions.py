"""Long and killed backups: leases, and unfinished files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dtrfast.backup import create as creating
from dtrfast.backup import leases, maintenance, snapshot
from dtrfast.backup import place as places
from dtrfast.backup.create import create_backup
from dtrfast.backup.directory import MARKER
from dtrfast.backup.place import BackupPlace
from dtrfast.backup.restore import restore_backup
from dtrfast.cli.ending import ends_cleanly
from dtrfast.errors import BackupFailed
from tests.backup.town import APP, Town, quiet
from tests.server.conftest import eventually

_DAY = 86_400


@pytest.fixture(autouse=True)
def without_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncs, since no test here is about power cuts."""
    monkeypatch.setattr(os, "sync", lambda: None)


def _unfinished(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if "#" in path.name]


def _age(root: Path, seconds: float) -> None:
    """Make all files below a folder older by some seconds."""
    for path in root.rglob("*"):
        moment = path.stat().st_mtime - seconds
        os.utime(path, (moment, moment))


def _restored(place: BackupPlace, data: Path) -> Town:
    said: list[str] = []
    restore_backup(place, data, quiet, said.append)
    assert said == []
    return Town(data)


@pytest.mark.parametrize("speedup", [40_000, pytest.param(1200, marks=pytest.mark.long)])
def test_a_backup_of_half_an_hour(
    town: Town, place: BackupPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speedup: int
) -> None:
    """One file takes half an hour. The lease is renewed meanwhile, so no prune begins."""
    digest = town.push(APP, "v", 1)
    size = sum(path.stat().st_size for path in town.data.glob("[bp][la]*/*/*"))
    monkeypatch.setattr(leases, "_RENEWED_SECONDS", leases._RENEWED_SECONDS / speedup)
    if speedup < 2000:  # otherwise the delays of this machine would count as hours
        monkeypatch.setattr(leases, "_STALE_SECONDS", leases._STALE_SECONDS / speedup)
    monkeypatch.setattr(creating, "_READ_SIZE", size // 30)
    half_hour = 1800 / speedup
    began = time.monotonic()
    renewals: list[float] = []
    refusals: list[str] = []
    put = BackupPlace.put

    def note(self: BackupPlace, name: str, content: bytes) -> None:
        if name.startswith("leases/backup"):
            renewals.append(time.monotonic())
        put(self, name, content)

    def progress(done: int, total: int) -> None:
        if time.monotonic() - began > 0.8 * half_hour and not refusals:
            with pytest.raises(BackupFailed, match="a backup is running") as refusal:
                maintenance.prune(place, keep_last=1, keep_days=0)
            refusals.append(str(refusal.value))

    monkeypatch.setattr(BackupPlace, "put", note)
    create_backup(town.store, place, progress, rate=int(size / half_hour))
    assert time.monotonic() - began > 0.9 * half_hour
    assert len(renewals) >= 3
    assert refusals
    assert list(place.found("leases/")) == []
    again = _restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()


def test_a_lease_that_was_lost_ends_its_backup(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept for an hour, so a prune may have run."""
    place = BackupPlace(str(tmp_path / "backups"))
    town.push(APP, "v", 1)
    late, now = 0.0, leases._now

    def sleep(done: int, total: int) -> None:
        nonlocal late
        late = 3700.0

    monkeypatch.setattr(leases, "_now", lambda: now() + late)
    with pytest.raises(BackupFailed, match="run the same command again"):
        create_backup(town.store, place, sleep)
    assert snapshot.names(place) == []
    late = 0.0
    with leases.held(place, "prune") as lease:
        lease.check()
        late = 3700.0
        with pytest.raises(BackupFailed, match="could not be renewed"):
            lease.check()
        late = 0.0
        with pytest.raises(BackupFailed):
            lease.check()


def test_a_renewal_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    monkeypatch.setattr(leases, "_RENEWED_SECONDS", 0.005)
    tries: list[str] = []
    put = BackupPlace.put

    def fail_twice(self: BackupPlace, name: str, content: bytes) -> None:
        tries.append(name)
        if 1 < len(tries) < 4:
            raise BackupFailed("the network is away")
        put(self, name, content)

    monkeypatch.setattr(BackupPlace, "put", fail_twice)
    with leases.held(place, "backup") as lease:
        deadline = time.monotonic() + 10
        while len(tries) < 5 and time.monotonic() < deadline:
            time.sleep(0.005)
        lease.check()
    assert len(tries) >= 5


@pytest.mark.parametrize("work", ["a backup", "a prune"])
def test_what_a_killed_backup_left_is_removed_after_an_hour(
    town: Town, tmp_path: Path, work: str
) -> None:
    root = tmp_path / "backups"
    place = BackupPlace(str(root))
    town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    # As older versions wrote it, and as this version does.
    names = (
        "files/aa/" + "a" * 32 + "#1",
        "rows/b#2",
        "snapshots/x.json#" + "3" * 39,
        f"{MARKER}#1",
    )
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"half")
    (root / "leases" / f"backup-{uuid.uuid4()}").write_bytes(b"{}")
    run: Callable[[], object] = (
        (lambda: create_backup(town.store, place, quiet))
        if work == "a backup"
        else (lambda: maintenance.prune(place, keep_last=1, keep_days=0))
    )
    if work == "a backup":
        run()
        assert len(_unfinished(root)) == 4, "it may still be at work"
    (root / "report#7").write_bytes(b"of another program")
    _age(root, 3700)
    run()
    assert [path.name for path in _unfinished(root)] == ["report#7"]
    assert list((root / "leases").iterdir()) == []
    assert list(maintenance.verify(place, quiet)) == []


def test_a_backup_that_is_interrupted_leaves_nothing_half_written(
    town: Town, tmp_path: Path
) -> None:
    root = tmp_path / "backups"
    town.push(APP, "v", 1)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_backup(town.store, BackupPlace(str(root)), interrupt)
    assert _unfinished(root) == []
    assert list((root / "leases").iterdir()) == []
    assert os.listdir(town.data / "pins") == []


def test_files_of_a_backup_are_of_its_owner_alone(town: Town, tmp_path: Path) -> None:
    town.push(APP, "v", 1)
    create_backup(town.store, BackupPlace(str(tmp_path / "backups")), quiet)
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "backups").rglob("*") if p.is_file()}
    assert modes == {0o600}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_asked_to_stop_unwinds(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    unwound = []

    @ends_cleanly()
    def stop() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            unwound.append(signal.getsignal(number))

    with pytest.raises(SystemExit) as ending:
        stop()
    assert ending.value.code == 128 + number
    assert unwound == [signal.SIG_IGN], "a second one does not cut off the cleaning"
    assert signal.getsignal(number) == before


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_backup_that_is_killed(town: Town, tmp_path: Path, number: int) -> None:
    root = tmp_path / "backups"
    place = BackupPlace(str(root))
    digest = town.push(APP, "v", 1)
    command = [sys.executable, "-m", "dtrfast", "backup", "--rate", "1000", place.text]
    with subprocess.Popen([*command, "--data", str(town.data)]) as process:
        try:
            eventually(lambda: any((town.data / "pins").glob("*.spool")))
            eventually(lambda: bool(_unfinished(root)))
            process.send_signal(number)
            assert process.wait(20) == (143 if number == signal.SIGTERM else -number)
        finally:
            process.kill()
    if number == signal.SIGTERM:
        assert list(place.found("leases/")) == []
        assert os.listdir(town.data / "pins") == []
        assert _unfinished(root) == []
    create_backup(town.store, place, quiet)
    _age(root, 3 * _DAY)
    maintenance.prune(place, keep_last=1, keep_days=0)
    assert _unfinished(root) == []
    assert list(place.found("leases/")) == []
    again = _restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()


@pytest.mark.long
def test_large_files_are_pieces_in_a_bucket(
    town: Town, bucket: BackupPlace, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file needs a multipart upload, which would stay open after a kill."""
    place = bucket
    monkeypatch.setattr(places, "PIECE_SIZE", 20_000)
    digest = town.push(APP, "v", 1)
    count = 0

    def interrupt(done: int, total: int) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(creating, "_READ_SIZE", 50_000)
    with pytest.raises(KeyboardInterrupt):
        create_backup(town.store, place, interrupt)
    with urllib.request.urlopen(f"{endpoint}/backups?uploads", timeout=10) as answer:
        assert b"<Upload>" not in answer.read()
    made = create_backup(town.store, place, quiet)
    assert made.files_copied == 2
    names = [entry.name for entry in place.found("files/")]
    assert len(names) > 10
    assert all(places.whole_name(name) != name for name in names)
    (text,) = snapshot.names(place)
    assert snapshot.read(place, text).format == snapshot.FORMAT_PIECES
    assert create_backup(town.store, place, quiet).files_copied == 0
    assert list(maintenance.verify(place, quiet)) == []
    place.put("files/aa/" + "a" * 32 + ".00000", b"of one that was cut off")
    maintenance.prune(place, keep_last=1, keep_days=0, now=time.time() + 3 * _DAY)
    assert sorted(entry.name for entry in place.found("files/")) == sorted(names)
    again = _restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()
    _check_copy(place, town, tmp_path)
    place.delete([names[-1]])
    assert len(list(maintenance.verify(place, quiet))) == 1
    assert create_backup(town.store, place, quiet).files_copied == 1
    assert list(maintenance.verify(place, quiet)) == []


def _check_copy(place: BackupPlace, town: Town, tmp_path: Path) -> None:
    """Check that a directory with a copy of a bucket is a place for backups too."""
    copy = BackupPlace(str(tmp_path / "copy"))
    for prefix in ("files/", "rows/", "logs/", "snapshots/"):
        for entry in place.found(prefix):
            copy.put(entry.name, place.read(entry.name, entry.size) or b"")
    copy.put(MARKER, place.read(MARKER, 1000) or b"")
    assert list(maintenance.verify(copy, quiet)) == []
    assert create_backup(town.store, copy, quiet).files_copied == 0
    formats = {snapshot.read(copy, name).format for name in snapshot.names(copy)}
    assert formats == {snapshot.FORMAT_PIECES}


def test_pieces_are_cut_and_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PIECE_SIZE", 10)
    cases = {b"": [], b"a" * 10: [10], b"ab" * 12: [10, 10, 4]}
    for data, sizes in cases.items():
        for step in (1, 7, 100):
            parts: Iterator[bytes] = (data[n : n + step] for n in range(0, len(data), step))
            pieces = list(places._in_pieces(parts))
            assert [len(piece) for piece in pieces] == sizes, (data, step)
            assert b"".join(pieces) == data


def test_files_that_are_no_leases_stop_nothing(tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    for name in ("junk", ".DS_Store", "backup-1", "prune-x"):
        place.put(f"leases/{name}", b"")
    with leases.held(place, "prune"):
        assert place.read("leases/junk", 0) == b"", "it is not ours to delete"
    place.put(f"leases/check-{uuid.uuid4()}", b"{}")
    with pytest.raises(BackupFailed, match="a check is running"), leases.held(place, "backup"):
        pass
