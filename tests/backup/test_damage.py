"""Damage of every kind to every file of a backup is reported and affects nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dtrfast.backup import maintenance, segments, snapshot
from dtrfast.backup.create import create_backup, read_segment
from dtrfast.backup.directory import MARKER
from dtrfast.backup.place import BackupPlace
from dtrfast.backup.restore import restore_backup
from dtrfast.cli import backup as commands
from dtrfast.cli.exit_status import DAMAGED
from dtrfast.errors import BackupFailed, Corrupt, DtrfastError, Unreadable
from dtrfast.store.records import LOOSE_FILE
from tests.backup.town import APP, Town, quiet

_NAME = "2026-01-31T12:00:00.000Z-0123abcd.json"


def _flip(path: Path, position: float, mask: int) -> None:
    data = bytearray(path.read_bytes())
    data[int(position * (len(data) - 1))] ^= mask
    path.write_bytes(data)


def _replace(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _make_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


# A zstd frame whose stated content size is 2**62 bytes.
_HUGE = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 62) + b"\x01\x00\x00"

DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "empty": lambda path: _replace(path, b""),
    "zeros": lambda path: _replace(path, bytes(path.stat().st_size)),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut by one": lambda path: os.truncate(path, path.stat().st_size - 1),
    "longer": lambda path: _replace(path, path.read_bytes() + b"x"),
    "no text": lambda path: _flip(path, 0.6, 0x80),
    "one bit": lambda path: _flip(path, 0.4, 0x01),
    "first bit": lambda path: _flip(path, 0, 0x01),
    "nested": lambda path: _replace(path, b'{"x":' + b"[" * 100_000),
    "huge": lambda path: _replace(path, _HUGE),
    "other JSON": lambda path: _replace(path, b"[1, null]"),
    "a directory": _make_directory,
    "a link": _make_link,
    "a pipe": _make_pipe,
}


def _kinds(root: Path) -> dict[str, Path]:
    """A file of each kind."""
    document = json.loads(max((root / "snapshots").iterdir()).read_bytes())
    files = [path for path in sorted((root / "files").rglob("*")) if path.is_file()]
    logs = {log["name"].partition("/")[0]: log["sha256"] for log in document["logs"]}

    def rows(name: str) -> Path:
        return root / "rows" / name[:2] / name

    return {
        "marker": root / MARKER,
        "snapshot": max((root / "snapshots").iterdir()),
        "rows of tags": rows(document["tables"]["tags"][0]),
        "rows of files": rows(document["files"][0]),
        "file": files[0],
        "change log": root / "logs" / logs["log"],
        "audit log": root / "logs" / logs["audit"],
    }


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder, in memory if possible: on a disk most of the time would go to syncs."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def made(base: Path) -> Iterator[tuple[Town, Path]]:
    """A store, and two complete backups of it."""
    town = Town(base / "data")
    town.push(APP, "v", 1)
    town.keep_house()
    (town.data / "audit").mkdir()
    (town.data / "audit" / "00000001.jsonl").write_text("{}\n")
    place = BackupPlace(str(base / "backups"))
    create_backup(town.store, place, quiet)
    town.push(APP, "v", 2)
    town.keep_house()
    create_backup(town.store, place, quiet)
    yield town, base / "backups"
    town.store.close()


@pytest.fixture(autouse=True)
def without_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncs, since no test here is about power cuts."""
    monkeypatch.setattr(os, "sync", lambda: None)


def _outcome(work: Callable[[], object]) -> str:
    """Return the error of `work` if it is one of dtrfast. Other exceptions fail the test."""
    try:
        work()
    except DtrfastError as error:
        return str(error) or "an error without a message"
    return ""


def _restored(place: BackupPlace, data: Path) -> list[str]:
    """Return the sentences of a restore, or its error."""
    shutil.rmtree(data, ignore_errors=True)
    said: list[str] = []
    error = _outcome(lambda: restore_backup(place, data, quiet, said.append))
    return [*said, error] if error else said


KINDS = ("marker", "snapshot", "rows of tags", "rows of files", "file", "change log", "audit log")
_NO_FILE = ("a directory", "a link", "a pipe")


@contextmanager
def _damaged(path: Path, name: str) -> Iterator[None]:
    whole = path.read_bytes()
    DAMAGES[name](path)
    try:
        yield
    finally:
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "kind",
    [
        "snapshot",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS if kind != "snapshot"),
    ],
)
def test_damage_is_listed_and_found(
    made: tuple[Town, Path], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    root = made[1]
    path, place = _kinds(root)[kind], BackupPlace(str(root))
    for name in DAMAGES:
        with _damaged(path, name):
            commands.list_backups(str(root))
            findings = list(maintenance.verify(place, quiet))
        is_hidden = kind == "snapshot" and name == "gone"  # no other file names the snapshot
        assert bool(findings) != is_hidden, name
        shown = "".join(capsys.readouterr())
        if kind in ("marker", "snapshot") and not is_hidden:
            assert findings[0].partition(" (")[0] in shown, name
    assert list(maintenance.verify(place, quiet)) == []


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told_by_restore_and_the_next_backup_goes_on(
    made: tuple[Town, Path], base: Path, kind: str
) -> None:
    town, root = made
    path, place, again = _kinds(root)[kind], BackupPlace(str(root)), base / "again"
    for name in DAMAGES:
        with _damaged(path, name):
            said = _restored(place, again)
            assert bool(said) != (kind == "snapshot" and name == "gone"), name
            before = set(snapshot.names(place))
            failure = _outcome(lambda: create_backup(town.store, place, quiet))
            if kind == "marker" and name != "gone":
                assert MARKER in failure, name
            elif name != "a directory" or kind in ("snapshot", "marker"):
                assert failure == "", name
            if not failure and kind != "file" and "log" not in kind:
                strays = 1 if kind == "snapshot" and name in _NO_FILE else 0
                assert len(_restored(place, again)) == strays, (name, "the new one is whole")
            snapshot.delete(place, sorted(set(snapshot.names(place)) - before))


class Shelf:
    """A place with one object."""

    text = "a shelf"

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, name: str, size_max: int) -> bytes:
        return self.data


def _read(data: bytes) -> snapshot.Snapshot:
    return snapshot.read(Shelf(data), _NAME)  # type: ignore[arg-type]


def test_every_flipped_bit_of_a_snapshot_is_found(made: tuple[Town, Path]) -> None:
    data = _kinds(made[1])["snapshot"].read_bytes()
    assert _read(data).file_count > 0
    for position in range(0, len(data), 3):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(Corrupt):
            _read(bytes(changed))
        with pytest.raises(Corrupt):
            _read(data[:position])


def _summed(document: dict[str, object]) -> bytes:
    """Return a snapshot with a valid checksum, as an attacker would write it."""
    text = json.dumps({**document, "sum": ""}, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).hexdigest().encode()
    return text[:-2] + digest + text[-2:]


def _unsummed(document: dict[str, object]) -> bytes:
    """Return a snapshot as older versions wrote it."""
    left = {name: value for name, value in document.items() if name != "sum"}
    return json.dumps({**left, "missing": []}, separators=(",", ":")).encode()


@pytest.mark.parametrize("write", [_summed, _unsummed])
def test_fields_that_paths_are_made_of_are_checked(
    made: tuple[Town, Path], tmp_path: Path, write: Callable[[dict[str, object]], bytes]
) -> None:
    whole = made[1]
    document = json.loads(_kinds(whole)["snapshot"].read_bytes())
    log = document["logs"][0]
    assert _read(write(document)).file_count == document["file_count"]
    changes: list[dict[str, object]] = [
        {"logs": [{**log, "name": name}]}
        for name in (
            "../1",
            "../1.log",
            "log/../1.log",
            "audit/../../1.jsonl",
            "/tmp/1.log",
            "log//1.log",
            "log/1.jsonl",
            "log/1.log\n",
            "log/\u00b2.log",
            "log/.log",
            "index/data.mdb",
            "..",
            "",
        )
    ]
    changes += [{"logs": [{**log, "sha256": "../" + log["sha256"]}]}]
    changes += [{"files": [name]} for name in ("../../x", "a" * 63, "A" * 64, "a" * 64 + "\n")]
    changes += [{"tables": {**document["tables"], "tags": ["../x"]}}]
    changes += [{"store": store} for store in ("../x", "", 7)]
    changes += [{"made_at": moment} for moment in (-1, 1e17, 1e300)]
    changes += [{"file_bytes": -1}, {"change_number": 0.5}, {"format": 0}]
    for change in changes:
        with pytest.raises(Corrupt):
            _read(write({**document, **change}))
    root = tmp_path / "backups"
    shutil.copytree(whole, root)
    shutil.rmtree(root / "snapshots")
    (root / "snapshots").mkdir()
    (root / "snapshots" / _NAME).write_bytes(
        write({**document, "logs": [{**log, "name": "../20261129"}]})
    )
    with pytest.raises(BackupFailed, match="no snapshot"):
        restore_backup(
            BackupPlace.existing(str(root)), tmp_path / "deep" / "data", quiet, lambda text: None
        )
    assert not (tmp_path / "deep").exists()


def test_a_newer_snapshot_is_not_taken_for_damage(made: tuple[Town, Path]) -> None:
    document = json.loads(_kinds(made[1])["snapshot"].read_bytes())
    with pytest.raises(BackupFailed, match="newer dtrfast"):
        _read(_summed({**document, "format": 4, "files": {"other": "shape"}}))
    with pytest.raises(Corrupt):
        _read(_unsummed({**document, "format": 4}))


def test_rows_that_no_index_takes_are_damage() -> None:
    """The segment has the right name for its content."""
    long = segments.cut([(b"k" * 600, b"v")])
    with pytest.raises(Corrupt):
        list(segments.rows_of(next(long)))
    with pytest.raises(Corrupt):
        snapshot.DataFile.of_row(b"../../../etc/x12", b"x" * 25)
    assert snapshot.DataFile.of_row(b"i" * 16, LOOSE_FILE + bytes(24)).object_name


def test_prune_deletes_nothing_if_no_snapshot_can_be_read(
    made: tuple[Town, Path], tmp_path: Path
) -> None:
    root = tmp_path / "backups"
    shutil.copytree(made[1], root)
    before = sum(1 for _ in root.rglob("*"))
    for path in (root / "snapshots").iterdir():
        path.write_bytes(b"\xff")
    with pytest.raises(BackupFailed, match="nothing is deleted"):
        maintenance.prune(BackupPlace(str(root)), keep_last=1, keep_days=0, now=9e9)
    assert sum(1 for _ in root.rglob("*")) == before


@pytest.fixture
def copied(made: tuple[Town, Path], tmp_path: Path) -> Path:
    """A copy of both backups, to damage."""
    root = tmp_path / "backups"
    shutil.copytree(made[1], root)
    return root


def test_a_place_without_a_snapshot_is_not_whole(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (copied / "snapshots").iterdir():
        path.unlink()
    before = sum(1 for _ in copied.rglob("*"))
    assert commands.verify_backups(str(copied)) == DAMAGED
    commands.list_backups(str(copied))
    assert "".join(capsys.readouterr()).count("make a new backup") == 2
    with pytest.raises(BackupFailed, match="nothing is deleted"):
        maintenance.prune(BackupPlace(str(copied)), keep_last=1, keep_days=0, now=9e9)
    assert sum(1 for _ in copied.rglob("*")) == before


def _rename(path: Path) -> None:
    path.rename(path.with_name("zzz.json"))


@pytest.mark.parametrize("hide", [_make_directory, _make_link, _make_pipe, _rename])
def test_an_entry_that_is_no_snapshot_is_told(
    copied: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    hide: Callable[[Path], None],
) -> None:
    hide(_kinds(copied)["snapshot"])
    place = BackupPlace(str(copied))
    (finding,) = maintenance.verify(place, quiet)
    assert "does not have the name of a snapshot" in finding or "is not a snapshot" in finding
    commands.list_backups(str(copied))
    assert finding in capsys.readouterr().err
    notes: list[str] = []
    restore_backup(place, tmp_path / "again", quiet, pytest.fail, note=notes.append)
    assert notes == [finding]


def test_what_is_being_written_is_no_stray(copied: Path) -> None:
    (copied / "snapshots" / f"{_NAME}#123").write_bytes(b"half")
    assert list(maintenance.verify(BackupPlace(str(copied)), quiet)) == []


def _make_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _make_folder_a_file(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"")


def _make_large(path: Path) -> None:
    os.truncate(path, 400 << 20)


@pytest.mark.parametrize(
    "damage", [_make_pipe, _make_loop, _make_directory, _make_folder_a_file, _make_large]
)
def test_rows_that_cannot_be_read_let_the_older_snapshot_be_restored(
    copied: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    place = BackupPlace(str(copied))
    first, last = (snapshot.read(place, name) for name in snapshot.names(place))
    kept = {name[:2] for name in first.segments}  # everything in the folder is deleted with it
    new = next(n for n in sorted(last.segments - first.segments) if n[:2] not in kept)
    damage(copied / snapshot.segment_object(new))
    notes: list[str] = []
    found = restore_backup(place, tmp_path / "again", quiet, pytest.fail, note=notes.append)
    assert found == first
    assert len(notes) == 1
    assert "back up again" in notes[0] or "make a new backup" in notes[0]


def test_a_place_that_is_gone_is_no_damage(copied: Path) -> None:
    place = BackupPlace(str(copied))
    path = _kinds(copied)["rows of tags"]
    _make_pipe(path)
    with pytest.raises(Unreadable):
        list(read_segment(place, path.name))
    shutil.rmtree(copied / "snapshots")
    with pytest.raises(BackupFailed):
        list(read_segment(place, path.name))


def test_prune_keeps_a_snapshot_that_the_disk_does_not_give(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may give it again later."""
    newest, real = _kinds(copied)["snapshot"], os.open

    def refuse(path: Path, *arguments: int) -> int:
        if path == newest:
            raise OSError(5, "Input/output error")
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Unreadable, match="Input/output error"):
        maintenance.prune(BackupPlace(str(copied)), keep_last=1, keep_days=0, now=9e9)
    assert newest.exists()
    assert len(list(maintenance.verify(BackupPlace(str(copied)), quiet))) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_too_large_is_not_read(copied: Path, tmp_path: Path, kind: str) -> None:
    """The file is sparse, so it takes no disk space."""
    path, place = _kinds(copied)[kind], BackupPlace(str(copied))
    os.truncate(path, 400 << 20)
    tracemalloc.start()
    findings = list(maintenance.verify(place, quiet))
    said = _restored(place, tmp_path / "again")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(findings) == 1
    assert "419,430,400 bytes" in findings[0]
    assert said
    assert peak < 50 << 20


def test_a_snapshot_that_nobody_could_read_is_not_written(
    made: tuple[Town, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BackupPlace(str(made[1]))
    last = snapshot.newest(place)
    assert last is not None
    before = snapshot.names(place)
    monkeypatch.setattr(snapshot, "SIZE_MAX", 1000)
    with pytest.raises(BackupFailed, match="divide the store"):
        snapshot.write(place, last)
    assert snapshot.names(place) == before
