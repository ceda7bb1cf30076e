"""A lost index is rebuilt from the other files on the disk."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import BlobUnknown, Corrupt, StartRefused
from dtrfast.identity import accounts, grants, teams, tokens
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.teams import NewTeam
from dtrfast.identity.tokens import NewToken
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import CHANGES, TABLES
from dtrfast.jobs.repair import RepairResult, repair_index
from dtrfast.jobs.tasks import content_tasks
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import removal, repositories
from dtrfast.registry.records import RepositoryChange
from dtrfast.registry.registry import Registry
from dtrfast.registry.writing import Author
from dtrfast.store.store import Store
from tests import verifying
from tests.fakes.clock import Clock

APP = RepositoryName.parse("acme/app")
OTHER = RepositoryName.parse("acme/other")
# Tables that a repair does not restore, or fills anew. All other tables must be equal, row by row.
UNEQUAL = {
    "store",  # counters
    "blobs",  # its keys are numbers, which are new
    "contents",
    "recipes",
    "chunks",
    "chunk_hashes",
    "chunks_unreferenced",
    "packs",
    "packs_sparse",
    "files",
    "files_unowned",
    "contents_unlinked",
    "commits",
    "damages",
    "uploads_finished",
    "replays",
    "replay_segments",
    "replay_contents",
    "replays_unfinished",
    "layers",
    "meta",
    "changes",
    "passwords",
    "sessions",
    "signing_keys",
    "token_uses",
    "usages",
    "links",  # the grace of some blobs begins at another time
    "links_unreferenced",
    "manifests_untagged",
}


class Busy:
    """A store with a history, and the content that must be in it."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self.data, self.clock = data, clock
        self.store = Store.open(data, StoreConfig(), clock=clock)
        config = Config(store=StoreConfig(data=data))
        self.registry = Registry(
            self.store.engine, self.store.blobs, config, clock=clock, fullness=lambda: 0.0
        )
        self.bodies: dict[tuple[RepositoryName, Digest], bytes] = {}

    def push_blob(self, name: RepositoryName, body: bytes, algorithm: str = "sha256") -> Digest:
        digest = Digest.of_bytes(body, algorithm)  # type: ignore[arg-type]
        upload = self.registry.uploads.begin(name)
        upload.append(body)
        self.registry.uploads.finish(upload, name, digest, self.registry.author("pusher"))
        self.bodies[name, digest] = body
        return digest

    def push_image(self, name: RepositoryName, tag: str, *layers: bytes) -> Digest:
        self.clock.advance(10)
        parts = []
        for kind, body in [(OCI_CONFIG, b"{}" + tag.encode()), *((OCI_LAYER, x) for x in layers)]:
            digest = self.push_blob(name, body)
            parts.append({"mediaType": kind, "digest": str(digest), "size": len(body)})
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        manifest = json.dumps({**document, "config": parts[0], "layers": parts[1:]}).encode()
        author = self.registry.author("pusher")
        put = self.registry.manifests.put(name, Tag(tag), manifest, OCI_MANIFEST, author=author)
        return put.digest

    def keep_house(self) -> None:
        for _ in range(3):
            for task in content_tasks(self.store, self.registry.holdings):
                task.run()

    def rows(self) -> dict[str, list[tuple[bytes, bytes]]]:
        with self.store.engine.read() as transaction:
            return {t.name: list(transaction.scan(t)) for t in TABLES if t.name not in UNEQUAL}


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    busy = Busy(tmp_path / "data", Clock())
    big = noise(1, 900_000)
    busy.push_image(APP, "v1", big, b"\x1f\x8b" + noise(2, 50_000))
    busy.push_image(APP, "v2", big[:500_000] + noise(3, 300_000))
    first = busy.push_image(APP, "v1", b"text " * 40_000)
    busy.push_image(OTHER, "latest", big[-400_000:] + big[:400_000])
    gone = busy.push_image(OTHER, "gone", noise(4, 60_000))
    registry, author = busy.registry, busy.registry.author("deleter")
    registry.manifests.delete(OTHER, gone, author)
    registry.tags.delete(APP, Tag("v2"), author)
    registry.blobs.mount(OTHER, Digest.of_bytes(big), APP, author)
    busy.bodies[OTHER, Digest.of_bytes(big)] = big
    busy.push_blob(APP, b"named by another digest" * 1000, "sha512")
    registry.manifests.put(
        APP,
        first,
        registry.manifests.get(APP, first).body,
        OCI_MANIFEST,
        extra_tags=(Tag("extra"),),
        author=author,
    )
    busy.store.engine.write(_people)
    busy.keep_house()
    yield busy
    busy.store.close()


def _people(transaction: WriteTransaction) -> None:
    author = Author("system", 5)
    acme = accounts.create(
        transaction, author, NewAccount(AccountName("acme"), kind="organization")
    )
    user = accounts.create(transaction, author, NewAccount(AccountName("rita"), is_admin=True))
    team = teams.create(transaction, author, acme, NewTeam(TeamName("readers")))
    teams.add_member(transaction, author, acme, team, user)
    repository = repositories.get(transaction, APP)
    place = grants.repository_place(repository)
    grants.put(transaction, author, place, team.id, grants.Level.READ_WRITE)
    kept = NewToken(kind="personal", name="kept", text="dtrp_kept", expires_at=0, bounds=())
    tokens.create(transaction, author, user, kept)
    lost = NewToken(kind="personal", name="lost", text="dtrp_lost", expires_at=0, bounds=())
    tokens.remove(transaction, author, tokens.create(transaction, author, user, lost))
    change = RepositoryChange(readme="hello", is_public=True)
    repositories.update(transaction, APP, author, change)


def lose_index(busy: Busy) -> None:
    busy.store.close()
    shutil.rmtree(busy.data / "index")
    (busy.data / "index").mkdir()


def repaired(busy: Busy) -> tuple[RepairResult, list[str]]:
    said: list[str] = []
    store = Store.begin_repair(busy.data, StoreConfig(), clock=busy.clock)
    found = repair_index(store, said.append, lambda count: None)
    store.close()
    bodies = busy.bodies
    busy.__init__(busy.data, busy.clock)  # type: ignore[misc]
    busy.bodies = bodies
    return found, said


def pulled(busy: Busy, name: RepositoryName, digest: Digest) -> bytes:
    with busy.registry.blobs.open_range(name, digest) as reader:
        return b"".join(
            s if isinstance(s, bytes) else os.pread(s.descriptor, s.length, s.offset)
            for s in reader
        )


def findings(busy: Busy) -> list[str]:
    return verifying.findings(busy.store)


def test_all_of_it_comes_back(busy: Busy) -> None:
    before = busy.rows()
    lose_index(busy)
    with pytest.raises(Corrupt, match="dtrfast repair"):
        Store.open(busy.data, StoreConfig())
    found, said = repaired(busy)
    assert (found.lost, found.changes_failed, found.damaged_blobs, said) == ((), 0, 0, [])
    after = busy.rows()
    for table, rows in before.items():
        assert after[table] == rows, table
    for (name, digest), body in busy.bodies.items():
        assert pulled(busy, name, digest) == body
    assert findings(busy) == []


def test_a_blob_in_its_grace_stays_in_it_under_either_name(busy: Busy) -> None:
    """SHA-512 names are found last, after all changes were applied again."""
    lose_index(busy)
    repaired(busy)
    busy.keep_house()
    for (name, digest), body in busy.bodies.items():
        assert pulled(busy, name, digest) == body


def test_it_goes_on_as_before(busy: Busy) -> None:
    lose_index(busy)
    repaired(busy)
    busy.push_image(APP, "new", noise(9, 700_000))
    with busy.store.engine.read() as transaction:
        newest = max(key for key, _ in transaction.scan(CHANGES))
    last = [change.sequence for change in busy.store.changes()][-1]
    assert int.from_bytes(newest, "big") > last
    busy.clock.advance(100 * 86_400)
    for name in (APP, OTHER):
        with busy.store.engine.read() as transaction:
            repositories.get(transaction, name)
    busy.keep_house()
    assert findings(busy) == []


def test_a_deleted_repository_stays_in_the_trash(busy: Busy) -> None:
    author = busy.registry.author("deleter")
    busy.store.engine.write(lambda transaction: removal.delete(transaction, OTHER, author))
    busy.keep_house()
    with busy.store.engine.read() as transaction:
        (before,) = removal.trashed(transaction)
    lose_index(busy)
    found, _ = repaired(busy)
    assert found.lost == ()
    with busy.store.engine.read() as transaction:
        (gone,) = removal.trashed(transaction)
    assert gone == before
    assert gone.owner > 0

    def restore(transaction: WriteTransaction) -> None:
        removal.restore(transaction, gone.id, OTHER, author)

    busy.store.engine.write(restore)
    for (name, digest), body in busy.bodies.items():
        assert pulled(busy, name, digest) == body


def test_a_repository_that_came_back_from_the_trash_has_all_names(busy: Busy) -> None:
    body = b"named by another digest as well" * 1000
    busy.push_blob(OTHER, body, "sha512")
    author = busy.registry.author("deleter")
    with busy.store.engine.read() as transaction:
        number = repositories.get(transaction, OTHER)
    busy.store.engine.write(lambda transaction: removal.delete(transaction, OTHER, author))
    busy.store.engine.write(lambda transaction: removal.restore(transaction, number, OTHER, author))
    busy.keep_house()
    lose_index(busy)
    repaired(busy)
    busy.keep_house()
    for (name, digest), content in busy.bodies.items():
        assert pulled(busy, name, digest) == content


def test_damage_of_others_does_not_keep_from_finding_names(busy: Busy) -> None:
    """A compressed chunk with wrong bytes cannot be read at all."""
    named = busy.push_blob(APP, b"\x1f\x8b" + noise(8, 20_000), "sha512")
    busy.keep_house()
    for path in busy.data.glob("packs/*/*"):
        data = path.read_bytes()
        at = data.find(b"\x28\xb5\x2f\xfd")  # the magic number of a zstd frame
        if at > 0:
            path.write_bytes(data[: at + 4] + bytes(8) + data[at + 12 :])
    lose_index(busy)
    found, _ = repaired(busy)
    assert found.damaged_blobs >= 1
    assert pulled(busy, APP, named) == busy.bodies[APP, named]


def test_what_is_lost_or_damaged_is_told(busy: Busy) -> None:
    loose = next(path for path in busy.data.glob("blobs/*/*"))
    loose.unlink()
    largest = max(busy.data.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(100_000)
        file.write(b"damage")
    lose_index(busy)
    found, _ = repaired(busy)
    body = b"\x1f\x8b" + noise(2, 50_000)
    assert (APP.text, str(Digest.of_bytes(body))) in found.lost
    assert found.damaged_blobs >= 1
    with pytest.raises(BlobUnknown):
        pulled(busy, APP, Digest.of_bytes(body))
    busy.push_blob(APP, body)
    assert pulled(busy, APP, Digest.of_bytes(body)) == body


def test_a_torn_pack_gives_what_is_whole_of_it(busy: Busy) -> None:
    largest = max(busy.data.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size - 10)
    lose_index(busy)
    _, said = repaired(busy)
    assert any("torn" in line for line in said)
    assert findings(busy) == []


def test_an_index_that_is_there_is_left_alone(busy: Busy) -> None:
    busy.store.close()
    with pytest.raises(StartRefused, match="there is an index"):
        Store.begin_repair(busy.data, StoreConfig())


def test_a_repair_that_was_cut_off_is_begun_again(
    busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_index(busy)
    store = Store.begin_repair(busy.data, StoreConfig(), clock=busy.clock)
    real, count = LmdbEngine.write, 0

    def fail(self: LmdbEngine, change: object) -> object:
        nonlocal count
        count += 1
        if count > 8:
            raise KeyboardInterrupt
        return real(self, change)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(LmdbEngine, "write", fail)
        with pytest.raises(KeyboardInterrupt):
            repair_index(store, print, lambda size: None)
    store.close()
    with pytest.raises(Corrupt):
        Store.open(busy.data, StoreConfig())
    found, _ = repaired(busy)
    assert found.lost == ()
    assert findings(busy) == []
