"""A registry with two repositories and one content, and the operations that could lose it.

Clients were told of each link. So each link must find its bytes, whatever ran beside its push.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import BlobUnknown, DtrfastError, ManifestUnknown
from dtrfast.index.engine import Table
from dtrfast.index.tables import (
    BLOBS,
    BLOBS_UNHELD,
    CHUNKS,
    COMMITS,
    CONTENTS,
    CONTENTS_UNLINKED,
    DAMAGES,
    FILES,
    FILES_UNOWNED,
    LINKS,
    MANIFESTS,
    PACKS,
    RECIPES,
    number_of,
)
from dtrfast.jobs.tasks import content_tasks, empty_trash
from dtrfast.oci.digests import Algorithm, Digest
from dtrfast.oci.media_types import OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.holdings import Lookup, blob_in
from dtrfast.registry.holdings_index import IndexHoldings
from dtrfast.registry.permits import EVERYBODY
from dtrfast.registry.registry import Registry
from dtrfast.store import damage
from dtrfast.store.store import Store
from tests import verifying
from tests.fakes.client import image_manifest
from tests.fakes.clock import Clock
from tests.store.conftest import read_all

ONE, OTHER = RepositoryName("team/one"), RepositoryName("team/other")
KINDS = ("inline", "loose", "chunked")
_DAY_SECONDS = 86_400
_TASKS = ("unreferenced blobs", "unlinked contents", "sparse packs", "expired uploads")
_YEAR_SECONDS = 365 * _DAY_SECONDS
_NOTHING: tuple[Table, ...] = (
    LINKS,
    MANIFESTS,
    BLOBS,
    BLOBS_UNHELD,
    CONTENTS,
    CONTENTS_UNLINKED,
    RECIPES,
    CHUNKS,
    PACKS,
    COMMITS,
    DAMAGES,
    FILES,
    FILES_UNOWNED,
)


class World:
    """A store, its registry, and the content that all operations push.

    Each round has another content.
    """

    def __init__(self, data: Path, *, is_together: bool, boot_id: str | None = None) -> None:
        """`is_together`: one commit writes a content and its link."""
        self._began = int(time.time())
        self.clock = Clock(self._began)
        self.config = StoreConfig(data=data, grace_seconds=_DAY_SECONDS)
        self.store = Store.open(data, self.config, clock=self.clock, boot_id=boot_id)
        config = Config(store=self.config)
        store = self.store
        self.registry = Registry(
            store.engine, store.blobs, config, clock=self.clock, fullness=lambda: 0.0
        )
        assert isinstance(self.registry.holdings, IndexHoldings)
        if not is_together:
            self.registry.holdings._write_both = None
        self.tasks = {t.name: t for t in content_tasks(store, self.registry.holdings)}
        self.round("inline", "")

    def round(self, kind: str, name: str) -> None:
        """Start a round with another content."""
        self.clock.now = self._began
        chance = random.Random(f"{kind} {name}")
        size = 50 if kind == "inline" else 20_000
        self.body = (b"\x1f\x8b" if kind == "loose" else b"") + chance.randbytes(size)
        self.manifest = image_manifest(config=self.body)
        self.left = ""
        self.is_deleted = False
        # Links that a client was told of. They may go after a deletion, or after their grace.
        self.acknowledged: set[tuple[RepositoryName, Digest]] = set()
        self.may_go = False

    def digest(self, algorithm: Algorithm = "sha256") -> Digest:
        return Digest.of_bytes(self.body, algorithm)

    # ---- operations --------------------------------------------------------------------------
    def push(self, name: RepositoryName = ONE, algorithm: Algorithm = "sha256") -> None:
        upload = self.registry.uploads.begin(name)
        self.left = upload.id if name == ONE else self.left
        upload.append(self.body)
        try:
            digest, author = self.digest(algorithm), self.registry.author()
            self.registry.uploads.finish(upload, name, digest, author)
            self.acknowledged.add((name, digest))
        finally:
            upload.release()

    def settle(self) -> None:
        """Place the content, and give up before the link is written."""
        upload = self.registry.uploads.begin(ONE)
        self.left = upload.id
        upload.append(self.body)
        try:
            with self.store.blobs.commit(upload, self.digest()) as placed:
                placed.settle()
        finally:
            upload.release()

    def push_again(self) -> None:
        """The closing PUT of the upload that was left."""
        uploads, session = self.registry.uploads, self.registry.uploads._label(ONE)
        upload = self.store.blobs.resume(session, self.left, wait_seconds=0)
        try:
            if upload.offset == 0:
                upload.append(self.body)
            uploads.finish(upload, ONE, self.digest(), self.registry.author())
            self.acknowledged.add((ONE, self.digest()))
        finally:
            upload.release()

    def mount(self) -> None:
        author = self.registry.author()
        if self.registry.blobs.mount(OTHER, self.digest(), ONE, author) is not None:
            self.acknowledged.add((OTHER, self.digest()))

    def unlink(self) -> None:
        self.is_deleted = self.may_go = True
        self.registry.blobs.delete(ONE, self.digest(), self.registry.author())

    def come_and_go(self) -> None:
        """Push and delete the content.

        A look before and a look after see the same, with new rows.
        """
        self.push()
        self.unlink()

    def tag(self) -> None:
        author = self.registry.author()
        self.registry.manifests.put(ONE, Tag("t"), self.manifest, OCI_MANIFEST, author=author)

    def untag(self) -> None:
        digest = Digest.of_bytes(self.manifest)
        self.registry.manifests.delete(ONE, digest, self.registry.author())

    def restore(self) -> None:
        self.registry.trash.restore_manifest(ONE, Digest.of_bytes(self.manifest))

    def empty_trash(self) -> None:
        holdings = self.registry.holdings
        empty_trash(self.store.engine, holdings, self.clock(), all_of_it=True)

    def release(self) -> None:
        self.tasks["unreferenced blobs"].run()

    def end_graces(self) -> None:
        self.may_go = True
        self.clock.advance(2 * _DAY_SECONDS)
        self.release()

    def reclaim(self) -> None:
        self.tasks["unlinked contents"].run()

    def compact(self) -> None:
        self.tasks["sparse packs"].run()

    def mark_damaged(self) -> None:
        with self.store.engine.read() as transaction:
            number = transaction.get(BLOBS, self.digest().key())
        if number is not None:
            damage.mark_content(self.store._context, number_of(number), "a test says so")

    # ---- what must hold ----------------------------------------------------------------------
    def check_links(self) -> None:
        """Check that each link finds the bytes, unless they are known to be damaged."""
        for digest in {Digest.from_key(key[8:]) for key, _ in self.rows(LINKS)}:
            if not self._is_damaged(digest):
                with self.store.blobs.open_range(digest) as reader:
                    assert read_all(reader) == self.body

    def check_acknowledged(self) -> None:
        """Check that the links that clients were told of exist."""
        for name, digest in () if self.may_go else self.acknowledged:
            question = Lookup(EVERYBODY, name, digest, is_blob=True)
            blob_in(self.registry.holdings.resolve_waiting([question]))

    def check_manifests(self) -> None:
        """Check that each manifest finds its blob in its repository, unless the blob was deleted.

        An explicit DELETE of a blob takes precedence over manifests.
        """
        if self.is_deleted:
            return
        links = {key for key, _ in self.rows(LINKS)}
        for key, _ in self.rows(MANIFESTS):
            assert key[:8] + self.digest().key() in links, "a manifest lacks its blob"

    def check_nothing_stays(self) -> None:
        """Delete everything in both repositories, and check that nothing is left."""
        for name in (ONE, OTHER):
            for algorithm in ("sha256", "sha512"):
                with suppress(BlobUnknown):
                    author = self.registry.author()
                    self.registry.blobs.delete(name, self.digest(algorithm), author)
        with suppress(ManifestUnknown):
            self.untag()
        self.keep_house()
        for table in _NOTHING:
            assert self.rows(table) == [], table.name
        data = self.config.data
        assert [p.name for p in (data / "uploads").iterdir()] == []
        assert [p.name for d in ("blobs", "packs") for p in (data / d).glob("*/*")] == []
        statistics = self.store.statistics()
        assert (statistics.blobs, statistics.stored_bytes, statistics.damaged_blobs) == (0, 0, 0)

    def check_all_that_stays(self) -> None:
        """Run the housekeeping, and check that it keeps all held content and frees all other
        content.
        """
        self.keep_house()
        self.check_links()
        self.check_manifests()
        held = bool(self.rows(LINKS))
        assert len(self.rows(CONTENTS)) == held, "content that no repository holds"

    def verify(self) -> None:
        assert verifying.findings(self.store) == []

    def keep_house(self) -> None:
        """Run all tasks after a long time, twice.

        The second run frees what the first one unlinked.
        """
        for _ in range(2):
            self.clock.advance(_YEAR_SECONDS)
            self.empty_trash()
            for name in (
                "unreferenced blobs",
                "unlinked contents",
                "sparse packs",
                "expired uploads",
            ):
                while self.tasks[name].run() and name != "expired uploads":
                    pass
            self.tasks["sweep after a power cut"].run()

    def rows(self, table: Table) -> list[tuple[bytes, bytes]]:
        with self.store.engine.read() as transaction:
            return list(transaction.scan(table))

    def _is_damaged(self, digest: Digest) -> bool:
        try:
            self.store.blobs.stat(digest)
        except BlobUnknown as error:
            return "damaged" in str(error)
        return False


Action = Callable[[World], None]

ACTIONS: dict[str, Action] = {
    "push": World.push,
    "push as sha512": partial(World.push, name=OTHER, algorithm="sha512"),
    "settle": World.settle,
    "push again": World.push_again,
    "mount": World.mount,
    "unlink": World.unlink,
    "come and go": World.come_and_go,
    "tag": World.tag,
    "untag": World.untag,
    "restore": World.restore,
    "empty the trash": World.empty_trash,
    "release": World.release,
    "end graces": World.end_graces,
    "reclaim": World.reclaim,
    "compact": World.compact,
    "mark damaged": World.mark_damaged,
}

# One process runs these, one at a time.
HOUSEKEEPING = {"empty the trash", "release", "end graces", "reclaim", "compact"}

# Operations that ran before the two, by name.
PASTS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "held": ("push",),
    "in an image": ("push", "tag"),
    "in the trash": ("push", "tag", "untag"),
    "held by none": ("push", "unlink"),
    "damaged": ("push", "tag", "mark damaged"),
    "without a link": ("settle",),
    "reclaimed by half": ("settle", "reclaim"),
}


def do(world: World, name: str) -> None:
    """Run an operation. An error such as a missing blob is a valid answer."""
    with suppress(DtrfastError):
        ACTIONS[name](world)
