"""Getting back what is in the trash: a manifest, a tag, a repository, all that one run deleted."""

from __future__ import annotations

import msgspec

from dtrfast.errors import (
    Conflict,
    ManifestBlobUnknown,
    ManifestUnknown,
    RepositoryUnknown,
    SettingsInvalid,
)
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, NUMBER_SIZE, TRASH, number_of
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import deleted, history, keys, links, manifests, repositories, tags
from dtrfast.registry.holdings import Change, Holdings, Restored
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.ownership import ALL, Claim
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.writing import Author, Place

# Rows of the trash that are looked at in one transaction, and the work that one request does: a row
# is a step, a KiB of its manifest too, and restoring one is some sixty, and one for each reference.
_RUN_ROWS_MAX = 100
_RUN_STEPS_MAX = 10_000
# Steps of a deletion's kind that restoring one thing takes, without its blobs.
RESTORE_STEPS = 60


class RunRestored(msgspec.Struct, frozen=True):
    """The number of manifests that are back, and the place to go on; empty where all was done."""

    count: int
    next_start: str


class Trash:
    """The trash of a registry's repositories, for one caller."""

    def __init__(self, engine: Engine, holdings: Holdings, permits: Permits) -> None:
        self._engine = engine
        self._holdings = holdings
        self._permits = permits

    def restore_manifest(self, name: RepositoryName, digest: Digest, author: Author) -> Restored:
        """Bring a manifest back, with those of its tags that are free. Raises `ManifestUnknown`,
        `ManifestBlobUnknown`, `Conflict`.
        """
        return self._holdings.restore_manifest(Change(self._permits, name, author), digest)

    def restore_tag(
        self, name: RepositoryName, tag: Tag, author: Author, digest: Digest | None = None
    ) -> Digest:
        """Point a tag at what it last pointed at before, or at an earlier `digest`; its manifest
        comes back if need be. Returns the digest. Raises `ManifestUnknown`, `ManifestBlobUnknown`.
        """
        return self._holdings.restore_tag(Change(self._permits, name, author), tag, digest)

    def restore_run(self, run: str, author: Author, start: str = "") -> RunRestored:
        """Bring back manifests that one run deleted, as many as one request may. `start` is where
        an earlier call stopped. Raises `SettingsInvalid` for one that never was.
        """
        count, steps_left = 0, _RUN_STEPS_MAX
        after = _decode_start(start)
        while True:
            with self._engine.read() as transaction:
                rows = [key for key, _ in transaction.scan(TRASH, after=after, limit=_RUN_ROWS_MAX)]
            for key in rows:
                if steps_left <= 0:
                    return RunRestored(count, after.hex())
                is_back, steps = self._restore_of_run(run, key, author)
                count, steps_left, after = count + is_back, steps_left - steps, key
            if len(rows) < _RUN_ROWS_MAX:
                return RunRestored(count, "")

    def _restore_of_run(self, run: str, row: bytes, author: Author) -> tuple[bool, int]:
        """Restore the manifest of a row of the trash if it is of the run: is it back, in what
        steps.
        """
        key = row[NUMBER_SIZE + 1 :]
        if row[NUMBER_SIZE : NUMBER_SIZE + 1] != b"m":
            return False, 1
        repository, digest = RepositoryId(number_of(key)), Digest.from_key(key[NUMBER_SIZE:])
        with self._engine.read() as transaction:
            record = deleted.get(transaction, repository, digest)
            name = repositories.name_of(transaction, repository)
        if record is None:
            return False, 1
        steps = 1 + (len(record.stored) >> 10)
        if record.run != run:
            return False, steps
        restored = None if name is None else self._restored(name, digest, author)
        return restored is not None, steps + RESTORE_STEPS + (restored.parts if restored else 0)

    def _restored(self, name: RepositoryName, digest: Digest, author: Author) -> Restored | None:
        try:
            return self.restore_manifest(name, digest, author)
        except (Conflict, ManifestUnknown, ManifestBlobUnknown, RepositoryUnknown):
            return None  # it is back by now, or cannot be


def _decode_start(start: str) -> bytes:
    try:
        return bytes.fromhex(start)
    except ValueError as error:
        raise SettingsInvalid("start must be a nextStart of an answer before") from error


# ---- over a transaction ------------------------------------------------------------------------
def restore_manifest(transaction: WriteTransaction, change: Change, digest: Digest) -> Restored:
    """See `Holdings.restore_manifest`."""
    place = _place(transaction, change)
    return enter(transaction, place, digest, change.permits.claim(transaction, change.name))


def restore_tag(
    transaction: WriteTransaction, change: Change, tag: Tag, digest: Digest | None
) -> Digest:
    """See `Holdings.restore_tag`."""
    place = _place(transaction, change)
    claim = change.permits.claim(transaction, change.name)
    wanted = _past(transaction, place, tag, claim) if digest is None else digest
    if transaction.get(MANIFESTS, keys.manifest_key(place.id, wanted)) is None:
        enter(transaction, place, wanted, claim, with_tags=False)
    tags.put(transaction, place, tag, wanted)
    return wanted


def _place(transaction: ReadTransaction, change: Change) -> Place:
    change.permits.check(transaction, Action.PUSH, change.name)
    repository = repositories.get(transaction, change.name)
    return Place(repository, change.name, change.author)


def _past(transaction: ReadTransaction, place: Place, tag: Tag, claim: Claim) -> Digest:
    for past in history.of_tag(transaction, place.id, tag, 1, claim):
        return past.digest
    raise ManifestUnknown(f"nothing is known of an earlier {tag} in {place.name}")


def enter(
    transaction: WriteTransaction,
    place: Place,
    digest: Digest,
    claim: Claim = ALL,
    *,
    with_tags: bool = True,
) -> Restored:
    """Bring a manifest back into its repository. Raises what `Holdings.restore_manifest` does."""
    record = deleted.get(transaction, place.id, digest, claim)
    if record is None:
        there = transaction.get(MANIFESTS, keys.manifest_key(place.id, digest)) is not None
        if there:
            raise Conflict(f"{digest} is in {place.name}, not in its trash")
        raise ManifestUnknown(f"there is no {digest} in the trash of {place.name}")
    stored = record.manifest
    manifest = read_manifest(stored.body, stored.media_type)
    missing = links.missing(transaction, place.id, manifest.required_blobs())
    if missing:
        raise ManifestBlobUnknown(tuple(map(str, missing)))
    manifests.enter(transaction, place, digest, stored, manifest)
    parts = len(manifests.references(manifest))
    if not with_tags:
        return Restored(digest, (), (), parts)
    free = [t for t in record.tags if tags.resolve(transaction, place.id, Tag(t)) is None]
    for text in free:
        tags.put(transaction, place, Tag(text), digest)
    taken = tuple(text for text in record.tags if text not in free)
    return Restored(digest, tuple(free), taken, parts)
