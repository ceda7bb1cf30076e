"""Backups of a store in use, and stores that are restored from them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dtrfast.backup import leases, maintenance, snapshot
from dtrfast.backup.create import BackupResult, create_backup
from dtrfast.backup.place import BackupPlace
from dtrfast.backup.restore import restore_backup
from dtrfast.config import StoreConfig
from dtrfast.errors import BackupFailed, Corrupt, FormatUnknown
from dtrfast.identity import accounts
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.names import AccountName
from dtrfast.index.engine import ReadTransaction, Table, WriteTransaction
from dtrfast.index.tables import CONTENTS, TABLES
from dtrfast.machine.paths import Layout
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import repositories
from dtrfast.store import data_directory, pins
from dtrfast.store.store import Store
from tests.backup.town import APP, Town, quiet
from tests.server.conftest import eventually

OTHER = RepositoryName.parse("acme/other")


def restored(place: BackupPlace, data: Path, until: float | None = None) -> Town:
    said: list[str] = []
    restore_backup(place, data, quiet, said.append, until=until)
    assert said == []
    return Town(data)


def test_what_was_backed_up_comes_back(town: Town, place: BackupPlace, tmp_path: Path) -> None:
    digests = {f"v{n}": town.push(APP, f"v{n}", n) for n in range(5)}
    town.keep_house()
    made = create_backup(town.store, place, quiet)
    assert made.files == made.files_copied == 10
    again = restored(place, tmp_path / "again")
    for tag, digest in digests.items():
        again.check(APP, tag, digest)
    assert again.findings() == []
    assert sum(again.store.check_contents()) > 0
    assert again.store.statistics().damaged_blobs == 0
    for table in TABLES:
        if table.name not in ("store", "changes", "meta"):
            assert rows(again, table) == rows(town, table), table.name
    again.push(APP, "new", 99)
    again.keep_house(2)
    sequences = [change.sequence for change in again.store.changes()]
    assert sequences == list(range(1, len(sequences) + 1)), "the log goes on where it ended"
    again.store.close()
    assert list(maintenance.verify(place, quiet)) == []


def rows(town: Town, table: Table) -> list[tuple[bytes, bytes]]:
    with town.store.engine.read() as transaction:
        return list(transaction.scan(table))


def delete_blobs(town: Town, tag: str) -> None:
    document = json.loads(town.registry.manifests.get(APP, Tag(tag)).body)
    for part in (document["config"], *document["layers"]):
        town.registry.blobs.delete(APP, Digest.parse(part["digest"]), town.registry.author())


def test_content_that_goes_and_comes_while_the_index_is_dumped(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image is deleted and another pushed between the two snapshots of the index."""
    place = BackupPlace(str(tmp_path / "backups"))
    digest = town.push(APP, "v", 1)
    read = town.store.engine.read
    reads = 0

    def read_later() -> AbstractContextManager[ReadTransaction]:
        nonlocal reads
        reads += 1
        if reads == 2:
            delete_blobs(town, "v")
            town.keep_house(3)
            town.push(OTHER, "new", 2)
        return read()

    with monkeypatch.context() as patch:
        patch.setattr(town.store.engine, "read", read_later)
        create_backup(town.store, place, quiet)
    assert reads > 2
    again = restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.keep_house(3)
    assert again.findings() == []
    contents = rows(again, CONTENTS)
    assert len(contents) == 3
    again.store.close()


def test_ids_of_after_a_backup_are_not_given_out_again(
    town: Town, place: BackupPlace, tmp_path: Path
) -> None:
    """The backup has the signing keys, so tokens for later ids are still valid."""

    def make(town: Town, name: str) -> int:
        author, new = town.registry.author("admin"), NewAccount(AccountName(name))
        return town.store.engine.write(lambda t: accounts.create(t, author, new)).id

    def end_sign_ins(town: Town) -> int:
        author = town.registry.author("admin")

        def change(transaction: WriteTransaction) -> int:
            account = accounts.get(transaction, "alice")
            accounts.set_password(transaction, author, account, "hash")
            return accounts.get(transaction, "alice").generation

        return town.store.engine.write(change)

    make(town, "alice")
    create_backup(town.store, place, quiet)
    later = make(town, "bob")
    ended = end_sign_ins(town)
    again = restored(place, tmp_path / "again")
    assert make(again, "carol") > later
    assert end_sign_ins(again) > ended, "a sign-in of before the restore stays ended"
    again.push(RepositoryName("acme/new"), "v1", 1)
    with again.store.engine.read() as transaction:
        assert repositories.get(transaction, RepositoryName("acme/new")) > 1000
    again.store.close()


def test_the_second_copies_what_is_new(town: Town, place: BackupPlace) -> None:
    for n in range(20):
        town.push(APP, f"v{n}", n)
    first = create_backup(town.store, place, quiet)
    town.push(APP, "one-more", 100)
    second = create_backup(town.store, place, quiet)
    assert second.files == first.files + 2
    assert second.files_copied == 2
    assert second.bytes_copied < first.bytes_copied / 4
    third = create_backup(town.store, place, quiet)
    assert (third.files_copied, third.segments_copied) == (0, 0)


def test_one_that_was_cut_off_is_gone_on_with(
    town: Town, place: BackupPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = town.push(APP, "v", 1)
    for n in range(6):
        town.push(APP, f"v{n}", n)
    put, count = BackupPlace.put_stream, 0

    def fail_later(self: BackupPlace, name: str, pieces: Iterator[bytes], size: int) -> None:
        nonlocal count
        count += 1
        if count > 5:
            raise KeyboardInterrupt
        put(self, name, pieces, size)

    with monkeypatch.context() as patch:
        patch.setattr(BackupPlace, "put_stream", fail_later)
        with pytest.raises(KeyboardInterrupt):
            create_backup(town.store, place, quiet)
    assert snapshot.names(place) == []
    assert os.listdir(town.data / "pins") == []
    made = create_backup(town.store, place, quiet)
    assert made.files_copied == made.files - 5
    again = restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()


def test_a_restore_that_was_cut_off_is_gone_on_with(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    digest = town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    stream = BackupPlace.stream

    def fail(self: BackupPlace, name: str, size_max: int | None) -> Iterator[bytes]:
        yield from stream(self, name, size_max)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BackupPlace, "stream", fail)
        with pytest.raises(KeyboardInterrupt):
            restore_backup(place, tmp_path / "again", quiet, print)
    with pytest.raises(FormatUnknown, match="restored in part"):
        Store.open(tmp_path / "again", StoreConfig())
    again = restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()
    with pytest.raises(BackupFailed, match="is not empty"):
        restore_backup(place, tmp_path / "again", quiet, print)


def test_an_earlier_time_is_restored(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    old = town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    time.sleep(1.1)
    between = time.time()
    time.sleep(1.1)
    new = town.push(APP, "v", 2)
    create_backup(town.store, place, quiet)
    for until, digest in ((between, old), (None, new)):
        again = restored(place, tmp_path / f"again {until}", until)
        again.check(APP, "v", digest)
        again.store.close()
    with pytest.raises(BackupFailed, match="there is no snapshot of"):
        restore_backup(place, tmp_path / "never", quiet, print, until=1000.0)


def test_damage_and_loss_are_found(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    for directory in ("files", "rows"):
        paths = sorted(p for p in (tmp_path / "backups" / directory).rglob("*") if p.is_file())
        path = max(paths, key=lambda p: p.stat().st_size)
        path.write_bytes(b"x" + path.read_bytes()[1:])
    assert len(list(maintenance.verify(place, quiet))) == 2
    next(p for p in (tmp_path / "backups" / "files").rglob("*") if p.is_file()).unlink()
    assert len(list(maintenance.verify(place, quiet))) in (2, 3)


def test_prune_keeps_what_the_others_need(town: Town, place: BackupPlace, tmp_path: Path) -> None:
    digest = town.push(APP, "kept", 1)
    made: list[BackupResult] = []
    for n in range(4):
        town.push(APP, "v", 10 + n)
        made.append(create_backup(town.store, place, quiet))
    later = time.time() + 3 * 86_400
    gone, freed = maintenance.prune(place, keep_last=2, keep_days=0, now=later)
    assert gone == [one.name for one in made[:2]]
    assert freed > 0
    assert snapshot.names(place) == [one.name for one in made[2:]]
    assert list(maintenance.verify(place, quiet)) == []
    again = restored(place, tmp_path / "again")
    again.check(APP, "kept", digest)
    again.store.close()
    assert maintenance.prune(place, keep_last=0, keep_days=0, now=later)[0] == [made[2].name]


def test_prune_leaves_what_a_running_backup_has_copied(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    place.put("files/aa/" + "aa" * 16, b"not named yet")
    maintenance.prune(place, keep_last=1, keep_days=0)
    assert place.read("files/aa/" + "aa" * 16, 1000) is not None


def test_prune_and_backup_wait_for_each_other(town: Town, place: BackupPlace) -> None:
    town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    with leases.held(place, "backup"):
        with pytest.raises(BackupFailed, match="a backup is running"):
            maintenance.prune(place, keep_last=1, keep_days=0)
        create_backup(town.store, place, quiet)
    with leases.held(place, "prune"), pytest.raises(BackupFailed, match="a prune is running"):
        create_backup(town.store, place, quiet)
    maintenance.prune(place, keep_last=1, keep_days=0)


def test_torn_objects_of_one_that_was_cut_off_are_not_relied_on(town: Town, tmp_path: Path) -> None:
    """After a power cut such objects have the right names and wrong bytes."""
    place = BackupPlace(str(tmp_path / "backups"))
    digest = town.push(APP, "v", 1)
    first = create_backup(town.store, place, quiet)
    snapshot.delete(place, [first.name])
    for path in [p for d in ("files", "rows") for p in (tmp_path / "backups" / d).rglob("*")]:
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    create_backup(town.store, place, quiet)
    assert list(maintenance.verify(place, quiet)) == []
    again = restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()


def test_a_damaged_snapshot_is_passed_over(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    digest = town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    last = create_backup(town.store, place, quiet)
    (tmp_path / "backups" / "snapshots" / last.name).write_bytes(b"{")
    assert len(list(maintenance.verify(place, quiet))) == 1
    said: list[str] = []
    restore_backup(place, tmp_path / "again", quiet, said.append)
    assert len(said) == 1
    again = Town(tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()
    create_backup(town.store, place, quiet)
    assert maintenance.prune(place, keep_last=5, keep_days=0)[0] == [last.name]


def test_what_the_disk_does_not_give_is_told_and_the_rest_is_backed_up(
    town: Town, tmp_path: Path
) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    town.push(APP, "kept", 1)
    create_backup(town.store, place, quiet)
    files = sorted(town.data.glob("[bp][la]*/*/*"))
    files[0].unlink()
    os.truncate(files[1], 100)
    made = create_backup(town.store, place, quiet)
    assert sorted(made.missing) == sorted(path.name for path in files[:2])
    said: list[str] = []
    gone = next(p for p in (tmp_path / "backups" / "files").rglob("*") if p.is_file())
    gone.unlink()
    restore_backup(place, tmp_path / "again", quiet, said.append)
    assert len(said) == 1, "one file is gone from the backup, the others come back"


def test_a_place_below_the_data_directory_is_refused(town: Town) -> None:
    with pytest.raises(BackupFailed, match="inside the data directory"):
        create_backup(town.store, BackupPlace(str(town.data / "backups")), quiet)


def test_nobody_else_may_read_what_is_copied(town: Town, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir(mode=0o755)
    place = BackupPlace(str(tmp_path / "backups"))
    create_backup(town.store, place, quiet)
    for folder in (tmp_path / "backups").iterdir():
        assert not folder.is_dir() or folder.stat().st_mode & 0o077 == 0
    assert (town.data / "pins").stat().st_mode & 0o077 == 0


def test_a_rate_is_kept(town: Town, tmp_path: Path) -> None:
    for n in range(4):
        town.push(APP, f"v{n}", n)
    began = time.monotonic()
    made = create_backup(town.store, BackupPlace(str(tmp_path / "backups")), quiet, rate=500_000)
    assert time.monotonic() - began > 0.8 * made.bytes_copied / 500_000


def test_another_stores_place_is_refused(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    create_backup(town.store, place, quiet)
    other = Town(tmp_path / "other")
    with pytest.raises(BackupFailed, match="another store"):
        create_backup(other.store, place, quiet)
    other.store.close()


def test_a_hostile_backup_writes_nowhere_else(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    (name,) = snapshot.names(place)
    path = tmp_path / "backups" / "snapshots" / name
    text = path.read_text()
    document = json.loads(text)
    for change in (
        {"files": ["../../../etc/passwd"]},
        {"logs": [{"name": "log/../../x.log", "size": 1, "sha256": "0" * 64}]},
        {"tables": {**document["tables"], "links": ["x"]}},
    ):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises((Corrupt, BackupFailed)):
            restore_backup(place, tmp_path / "hostile", quiet, print)
    assert not (tmp_path / "hostile" / "format").exists()


def test_no_file_goes_while_a_backup_may_need_it(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is deleted and reclaimed between the snapshot and the first file."""
    place = BackupPlace(str(tmp_path / "backups"))
    digest = town.push(APP, "v", 1)
    put = BackupPlace.put_stream
    done = False

    def delete_first(self: BackupPlace, name: str, pieces: Iterator[bytes], size: int) -> None:
        nonlocal done
        if not done:
            done = True
            delete_blobs(town, "v")
            town.keep_house(3)
            assert pins.is_held(town.data)
        put(self, name, pieces, size)

    with monkeypatch.context() as patch:
        patch.setattr(BackupPlace, "put_stream", delete_first)
        made = create_backup(town.store, place, quiet)
    assert made.missing == []
    again = restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()
    town.keep_house(3)
    assert not list(town.data.glob("[bp][la]*/*/*"))


class Storm:
    """Clients that push and delete, and a housekeeper, which run until they are stopped."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._stop = threading.Event()
        self.known: dict[tuple[RepositoryName, str], Digest] = {}
        self.failures: list[BaseException] = []
        jobs: list[Callable[[], None]] = [town.keep_house]
        jobs += [Client(self, town, number).step for number in range(3)]
        self._threads = [threading.Thread(target=self._repeat, args=(job,)) for job in jobs]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, job: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                job()
        except BaseException as error:
            self.failures.append(error)


class Client:
    """Pushes one image after the other, and deletes every third."""

    def __init__(self, storm: Storm, town: Town, number: int) -> None:
        self._storm, self._town, self._number = storm, town, number
        self._name = RepositoryName.parse(f"team/client{number}")
        self._count = 0

    def step(self) -> None:
        known, tag = self._storm.known, f"v{self._count}"
        known[self._name, tag] = self._town.push(self._name, tag, self._number * 1000 + self._count)
        if self._count % 3 == 2:
            gone = known.pop((self._name, f"v{self._count - 1}"))
            registry = self._town.registry
            registry.manifests.delete(self._name, gone, registry.author("x"))
        self._count += 1


@pytest.mark.slow
def test_a_backup_under_a_push_storm(town: Town, place: BackupPlace, tmp_path: Path) -> None:
    storm = Storm(town)
    eventually(lambda: len(storm.known) > 20 or bool(storm.failures))
    before = dict(storm.known)
    create_backup(town.store, place, quiet)
    after = dict(storm.known)
    storm.end()
    assert storm.failures == []
    again = restored(place, tmp_path / "again")
    kept = [key for key, digest in before.items() if after.get(key) == digest]
    for name, tag in kept:
        again.check(name, tag, before[name, tag])
    assert len(kept) > 10
    assert again.findings() == []
    sum(again.store.check_contents())
    assert again.store.statistics().damaged_blobs == 0
    again.store.close()


def test_a_restored_store_is_as_private_as_a_live_one(town: Town, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        town.push(APP, "v", 1)
        (town.data / "audit").mkdir(mode=0o700)
        (town.data / "audit" / "00000001.jsonl").write_text("{}\n")
        town.keep_house()
        place = BackupPlace(str(tmp_path / "backups"))
        create_backup(town.store, place, quiet)
        again = restored(place, tmp_path / "again")
        again.store.close()
    finally:
        os.umask(before)
    data = tmp_path / "again"
    modes = {
        path.relative_to(data).parts[0]: path.stat().st_mode & 0o777
        for path in data.rglob("*")
        if path.is_file()
    }
    assert {name: modes[name] for name in ("blobs", "packs", "log", "audit")} == {
        "blobs": 0o600,
        "packs": 0o600,
        "log": 0o600,
        "audit": 0o600,
    }
    for name in ("index", "log", "audit"):
        assert (data / name).stat().st_mode & 0o777 == 0o700
    for name in ("blobs", "packs"):
        assert not (data / name).stat().st_mode & 0o007


def test_a_restore_leaves_nothing_of_one_that_was_killed(town: Town, tmp_path: Path) -> None:
    """The killed restore was of a later backup."""
    place = BackupPlace(str(tmp_path / "backups"))
    town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    data = tmp_path / "again"
    layout = Layout(data)
    data_directory.begin_restore(layout)
    (layout.log / "00000099.log").write_bytes(b"later changes")
    (layout.blobs / "a" / ".half").write_bytes(b"half a file")
    again = restored(place, data)
    assert not (layout.log / "00000099.log").exists()
    assert not (layout.blobs / "a" / ".half").exists()
    assert again.findings() == []
    again.store.close()


def test_a_log_that_cannot_be_read_is_told_and_the_rest_is_backed_up(
    town: Town, tmp_path: Path
) -> None:
    town.push(APP, "v", 1)
    town.keep_house()
    (town.data / "audit" / "00000001.jsonl").mkdir(parents=True)
    made = create_backup(town.store, BackupPlace(str(tmp_path / "backups")), quiet)
    assert made.missing == ["audit/00000001.jsonl"]
    assert made.files == 2


def test_the_next_backup_writes_a_damaged_segment_again(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    digest = town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    damaged = [path for path in (tmp_path / "backups" / "rows").rglob("*") if path.is_file()]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert create_backup(town.store, place, quiet).segments_copied > len(damaged) / 2
    again = restored(place, tmp_path / "again")
    again.check(APP, "v", digest)
    again.store.close()
