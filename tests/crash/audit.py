"""Checks a store, found after a crash, against the facts that its clients may count on."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from dtrfast.config import StoreConfig
from dtrfast.errors import BlobUnknown, ManifestUnknown, UploadUnknown
from dtrfast.index.tables import (
    CHUNK_HASHES,
    CHUNKS,
    COMMITS,
    CONTENTS,
    FILES,
    FILES_UNOWNED,
    LAYERS,
    LINKS,
    MANIFESTS,
    PACKS,
    RECIPES,
    REPLAY_CONTENTS,
    REPLAY_SEGMENTS,
    REPLAYS,
    REPLAYS_UNFINISHED,
    REPOSITORY_NAMES,
    TAGS,
    number_key,
    number_of,
)
from dtrfast.jobs.tasks import content_tasks, empty_trash
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import parse_manifest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.keys import RepositoryId
from dtrfast.store import change_log, recipe_rows
from dtrfast.store.records import Chunk
from dtrfast.store.store import Store
from dtrfast.store.upload_state import DOUBTED_MAGIC
from tests import verifying
from tests.crash import workload
from tests.crash.facts import ENDED, Facts, Key, Value
from tests.fakes.clock import Clock
from tests.two_environments import ENGINES

_AGAIN = RepositoryName.parse("after/the-crash")
# A round of the sweep is bounded. So few files need one round, and a second one to see the end.
_ROUNDS = 4
_YEAR_SECONDS = 31_536_000


make_body = cache(workload.make_body)


class Audit:
    """Opens a store, over the engine of the workload, and checks everything.

    `boot_id` is None in the boot of the workload.
    """

    def __init__(
        self, data: Path, facts: Facts, seed: int, boot_id: str | None, engine: str = "one"
    ) -> None:
        self._clock = Clock(int(time.time()))
        self._data = data
        self._facts = facts
        self._seed = seed
        self._chance = random.Random(seed)
        self._rebooted = boot_id is not None
        self._store = Store.open(
            data, StoreConfig(), open_index=ENGINES[engine], boot_id=boot_id, clock=self._clock
        )
        self._registry = workload.open_registry(self._store, data, self._clock)

    def run(self) -> None:
        """Run all checks, in an order in which none spoils the next."""
        try:
            for kind, look in self._looks().items():
                self._check_known(kind, look)
            self._check_nothing_else()
            self._check_uploads()
            self._check_known("blob", self._blob)
            self._check_verify()
            self._check_pushes_work()
            self._check_housekeeping()
            self._check_deleting_frees()
        finally:
            self._store.close()

    # ---- reads of facts ----

    def _looks(self) -> dict[str, Callable[[Key], Value]]:
        return {"blob": self._blob, "manifest": self._manifest, "tag": self._tag}

    def _check_known(self, kind: str, look: Callable[[Key], Value]) -> None:
        for key, possible in self._facts.of_kind(kind):
            found = look(key)
            assert found in possible, f"{kind} {key}: found {found!r}, possible is {possible}"

    def _blob(self, key: Key) -> Value:
        """Return the name of the pushed body that the blob equals; None for a missing blob."""
        repository, digest = key
        try:
            body = self._pull(RepositoryName.parse(repository), Digest.parse(digest))
        except BlobUnknown:
            return None
        names = [v for v in self._facts.possible("blob", key) if isinstance(v, str)]
        same = [name for name in names if make_body(self._seed, name) == body]
        assert same, f"the blob {key} has {len(body)} bytes that no client pushed"
        return same[0]

    def _manifest(self, key: Key) -> Value:
        repository, digest = key
        try:
            name = RepositoryName.parse(repository)
            return self._registry.manifests.get(name, Digest.parse(digest)).body.decode()
        except ManifestUnknown:
            return None

    def _tag(self, key: Key) -> Value:
        repository, tag = key
        try:
            name = RepositoryName.parse(repository)
            return str(self._registry.manifests.get(name, Tag.parse(tag)).digest)
        except ManifestUnknown:
            return None

    def _check_nothing_else(self) -> None:
        """Check that each row that makes something visible belongs to a fact."""
        for repository, digest in self._links():
            name = self._repository_name(repository)
            assert self._facts.possible("blob", (name, str(digest))) != [None]
        for table, kind in ((MANIFESTS, "manifest"), (TAGS, "tag")):
            known = {key for key, _ in self._facts.of_kind(kind)}
            assert len(self._keys(table)) <= len(known), kind

    # ---- operations after the crash ----

    def _check_uploads(self) -> None:
        for key, possible in self._facts.of_kind("upload"):
            repository, upload_id, name = key
            doubted = self._is_doubted(upload_id)
            found = self._end(RepositoryName.parse(repository), upload_id, name)
            if self._rebooted:
                assert found == ENDED, f"{key} outlived the boot"
            elif doubted:
                assert found == ENDED, f"{key} outlived a sync of unknown outcome"
            else:
                assert found in possible, f"{key} went on at {found}, possible is {possible}"

    def _is_doubted(self, upload_id: str) -> bool:
        """Return True if a sync of the upload failed, or the program ended inside one."""
        path = self._data / "uploads" / f"{upload_id}.state"
        return path.exists() and path.read_bytes().startswith(DOUBTED_MAGIC)

    def _end(self, repository: RepositoryName, upload_id: str, name: str) -> int:
        """Complete or cancel an upload; returns its offset, or ENDED if it was gone."""
        try:
            upload = self._registry.uploads.resume(repository, upload_id)
        except UploadUnknown:
            return ENDED
        offset = upload.offset
        if self._chance.random() < 0.3:
            upload.cancel()
            return offset
        body = make_body(self._seed, name)
        upload.append(body[offset:])
        digest = Digest.of_bytes(body)
        self._registry.uploads.finish(upload, _AGAIN, digest, self._registry.author())
        assert self._pull(_AGAIN, digest) == body, f"{name} resumed at {offset}"
        return offset

    def _check_pushes_work(self) -> None:
        names = {key[2] for key, _ in self._facts.of_kind("upload")}
        for name in sorted(names):
            body = make_body(self._seed, name)
            digest = Digest.of_bytes(body)
            upload = self._registry.uploads.begin(_AGAIN)
            upload.append(body)
            self._registry.uploads.finish(upload, _AGAIN, digest, self._registry.author())
            assert self._pull(_AGAIN, digest) == body, name

    # ---- leftovers ----

    def _check_housekeeping(self) -> None:
        """Check that a year later only manifests and their blobs are left, and that these are
        whole.
        """
        self._clock.advance(_YEAR_SECONDS)
        self._keep_house()
        self._check_files()
        self._check_recipes()
        self._check_verify()
        sum(self._store.check_contents())
        assert self._store.statistics().damaged_blobs == 0
        for repository, name, body in self._manifests():
            for digest in parse_manifest(body, None).referenced_blobs():
                assert self._pull(name, digest), f"{name} lacks {digest}"
                assert self._has_link(repository, digest)
        sequences = [change.sequence for change in change_log.read(self._data / "log")]
        assert sequences == list(range(1, len(sequences) + 1)), "the change log has holes"

    def _check_verify(self) -> None:
        """Finish the sweep of the boot, then check that index and files are consistent."""
        for task in self._store.tasks(self._registry.holdings.are_held):
            if task.name == "sweep after a power cut":
                while task.run():
                    pass
        findings = verifying.findings(self._store)
        assert not findings, findings

    def _check_deleting_frees(self) -> None:
        for _, name, body in self._manifests():
            digest = Digest.of_bytes(body)
            self._registry.manifests.delete(name, digest, self._registry.author())
        self._clock.advance(_YEAR_SECONDS)
        self._keep_house()
        self._check_files()
        assert self._links() == []
        assert not self._keys(CONTENTS)
        assert not list(self._data.glob("[bp]*/*/*")), "data files outlived their blobs"
        tier = (REPLAYS, REPLAY_SEGMENTS, REPLAY_CONTENTS, REPLAYS_UNFINISHED, LAYERS)
        for table in (PACKS, CHUNKS, CHUNK_HASHES, RECIPES, FILES_UNOWNED, *tier):
            assert not self._keys(table), f"{table.name} has rows without an owner"
        statistics, counts = self._store.statistics(), self._registry.statistics()
        assert (counts.links, counts.linked_bytes, statistics.blobs) == (0, 0, 0)
        assert (statistics.chunks, statistics.packs, statistics.pack_bytes) == (0, 0, 0)

    def _keep_house(self) -> None:
        tasks = content_tasks(self._store, self._registry.holdings)
        for _ in range(_ROUNDS):
            for task in tasks:
                task.run()
            while empty_trash(self._store.engine, self._registry.holdings, self._clock()):
                pass

    def _check_files(self) -> None:
        """Check that each file has an owner, and each owner its file."""
        found = {path.name for path in self._data.glob("[bp]*/*/*")}
        owned = {key.hex() for key in self._keys(FILES)}
        assert found == owned, f"left over: {found - owned}, missing: {owned - found}"
        assert os.listdir(self._data / "uploads") == []

    def _check_recipes(self) -> None:
        """Check that recipes have contents, and that chunks count the references of all recipes."""
        references: Counter[bytes] = Counter()
        with self._store.engine.read() as transaction:
            rows = list(transaction.scan(RECIPES))
            chunks = list(transaction.scan(CHUNKS))
            owners = {key for key, _ in transaction.scan(CONTENTS)}
            owners |= {key for key, _ in transaction.scan(REPLAY_CONTENTS)}
        for key, row in rows:
            assert key[:8] in owners, f"a recipe without a content: {key.hex()}"
            references.update(number_key(chunk) for chunk in recipe_rows.chunk_ids(row))
        assert self._keys(COMMITS) == []
        counted = {key: Chunk.decode(value).references for key, value in chunks}
        assert references == Counter({key: count for key, count in counted.items() if count})

    # ---- reading ----

    def _pull(self, name: RepositoryName, digest: Digest) -> bytes:
        with self._registry.blobs.open_range(name, digest) as reader:
            return b"".join(
                segment
                if isinstance(segment, bytes)
                else os.pread(segment.descriptor, segment.length, segment.offset)
                for segment in reader
            )

    def _keys(self, table: object) -> list[bytes]:
        with self._store.engine.read() as transaction:
            return [key for key, _ in transaction.scan(table)]  # type: ignore[arg-type]

    def _links(self) -> list[tuple[RepositoryId, Digest]]:
        keys = self._keys(LINKS)
        return [(RepositoryId(number_of(key)), Digest.from_key(key[8:])) for key in keys]

    def _has_link(self, repository: RepositoryId, digest: Digest) -> bool:
        return (repository, digest) in self._links()

    def _manifests(self) -> list[tuple[RepositoryId, RepositoryName, bytes]]:
        found = []
        for key in self._keys(MANIFESTS):
            repository, digest = RepositoryId(number_of(key)), Digest.from_key(key[8:])
            name = RepositoryName.parse(self._repository_name(repository))
            found.append((repository, name, self._registry.manifests.get(name, digest).body))
        return found

    def _repository_name(self, repository: RepositoryId) -> str:
        with self._store.engine.read() as transaction:
            name = transaction.get(REPOSITORY_NAMES, number_key(repository))
        assert name is not None, f"repository {repository} has no name"
        return name.decode()
