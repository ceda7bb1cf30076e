"""The trash of repositories as users manage it: history of tags, lists, and restores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from dtrfast.errors import (
    Conflict,
    ManifestBlobUnknown,
    ManifestUnknown,
    RepositoryUnknown,
    SettingsInvalid,
)
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import TRASH
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import (
    deleted,
    deletion,
    families,
    keys,
    listing,
    policies,
    repositories,
    tag_history,
    tags,
    trash,
)
from dtrfast.registry.deleted import DeletedManifest
from dtrfast.registry.holdings import ChangeRequest, Holdings, RestoredManifest
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.ownership import Claim
from dtrfast.registry.pages import BoundedScan
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import NamedTag, TagRecord
from dtrfast.registry.restoring import RESTORE_STEPS, Restoration
from dtrfast.registry.tag_history import TagState
from dtrfast.registry.writing import Author

# Rows of the trash that one transaction reads, and steps that one request does. A row is a step,
# and so is a KiB of its manifest. A restore takes `RESTORE_STEPS`, and one for each blob.
_RUN_ROWS_MAX = 100
_RUN_STEPS_MAX = 10_000
_STATES_MAX = 100


@dataclass(frozen=True, slots=True)
class PastState:
    """A state of a tag that ended. `trash_until` is the time at which it is forgotten, in seconds
    since the epoch.
    """

    past: TagState
    trash_until: int
    is_restorable: bool


@dataclass(frozen=True, slots=True)
class TagHistory:
    """The present record of a tag, if the tag exists, and its past states, the latest first."""

    present: TagRecord | None
    past: tuple[PastState, ...]


@dataclass(frozen=True, slots=True)
class TrashedManifest:
    """A manifest in the trash. `trash_until` is in seconds since the epoch."""

    digest: Digest
    record: DeletedManifest
    trash_until: int


@dataclass(frozen=True, slots=True)
class TrashedTag:
    """A tag in the trash. `trash_until` and `deleted_at` are in seconds since the epoch."""

    name: str
    past: TagState
    trash_until: int

    @property
    def deleted_at(self) -> int:
        return self.past.ended_at

    @property
    def deleted_by(self) -> str:
        return self.past.ended_by


@dataclass(frozen=True, slots=True)
class TrashPage:
    """One page of a repository's trash. `next_start` belongs to the requested kind, else to the
    manifests: a list of both kinds has tags on its first page only.
    """

    manifests: Listing[TrashedManifest]
    tags: Listing[TrashedTag]
    next_start: str


@dataclass(frozen=True, slots=True)
class TrashReference:
    """A manifest in the trash; or with a tag, the state of the tag that had this digest."""

    digest: Digest
    tag: Tag | None = None

    @classmethod
    def parse(cls, text: str) -> TrashReference:
        """Parse `DIGEST` or `TAG@DIGEST`. Raises `DigestInvalid`, `TagInvalid`."""
        before, at, digest = text.rpartition("@")
        tag = Tag.parse(before) if at else None
        return cls(Digest.parse(digest), tag)

    def __str__(self) -> str:
        return str(self.digest) if self.tag is None else f"{self.tag}@{self.digest}"


class RunRestoration(msgspec.Struct, frozen=True, rename="camel"):
    """The number of manifests that came back. One request restores only so much: request the rest
    with `nextStart`, which is empty at the end.
    """

    count: int
    next_start: str


_MANIFESTS: Columns[tuple[Digest, DeletedManifest]] = {
    "text": lambda row: " ".join((str(row[0]), *row[1].tags)),
    "name": lambda row: str(row[0]),
    "deleted": lambda row: row[1].deleted_at,
}
_TAGS: Columns[tuple[str, TagState]] = {
    "text": lambda row: f"{row[0]} {row[1].digest}",
    "name": lambda row: row[0],
    "deleted": lambda row: row[1].ended_at,
}


class Trash:
    """The trash of a registry's repositories, for one caller.

    `now` gives seconds since the epoch. Methods that take a repository raise what `Permits.check`
    does. A caller gets its own part of a repository's trash and history (`Permits.claim`).
    """

    def __init__(
        self, engine: Engine, holdings: Holdings, permits: Permits, now: Callable[[], int]
    ) -> None:
        self._engine = engine
        self._holdings = holdings
        self._permits = permits
        self._now = now

    # ---- lists -------------------------------------------------------------------------------
    def history(self, name: RepositoryName, tag: Tag) -> TagHistory:
        """Return the present state and up to 100 past states of a tag, which need not exist."""
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PUSH)
            claim = self._permits.claim(transaction, name)
            seconds = policies.trash_seconds(transaction)
            states = tag_history.of_tag(transaction, number, tag, _STATES_MAX, claim)
            digests = {past.digest for past in states}
            restorable = families.present(transaction, number, digests)
            restorable |= {
                digest
                for digest in digests - restorable
                if deleted.get(transaction, number, digest, claim) is not None
            }
            present = tags.resolve(transaction, number, tag)
        past = (PastState(one, one.ended_at + seconds, one.digest in restorable) for one in states)
        return TagHistory(present, tuple(past))

    def page(
        self, name: RepositoryName, request: ListRequest, kind: Literal["", "manifests", "tags"]
    ) -> TrashPage:
        """Return a page of the manifests, or of the tags, in a repository's trash. Without a kind,
        the first page has both, and the next pages have manifests. Raises `DigestInvalid`.
        """
        found: Listing[tuple[Digest, DeletedManifest]] = Listing()
        found_tags: Listing[tuple[str, TagState]] = Listing()
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PUSH)
            claim = self._permits.claim(transaction, name)
            seconds = policies.trash_seconds(transaction)
            if kind == "tags" or (not kind and not request.start):
                rows = _deleted_tags(transaction, number, claim)
                found_tags = listing.whole(rows, request, _TAGS)
            if kind != "tags":
                is_inside = request.start and request.is_by_name
                first = Digest.parse(request.start) if is_inside else None
                manifests = deleted.of_repository(transaction, number, first, claim)
                found = listing.by_name(manifests, request, _MANIFESTS)
        return TrashPage(
            found.map(lambda row: TrashedManifest(*row, row[1].deleted_at + seconds)),
            found_tags.map(lambda row: TrashedTag(*row, row[1].ended_at + seconds)),
            found_tags.next_start if kind == "tags" else found.next_start,
        )

    # ---- restores ----------------------------------------------------------------------------
    def restore_manifest(self, name: RepositoryName, digest: Digest) -> RestoredManifest:
        """Restore a manifest, with those of its tags that do not exist again. Raises
        `ManifestUnknown`, `ManifestBlobUnknown`, `Conflict`.
        """
        return self._holdings.restore_manifest(self._change(name), digest)

    def restore_tag(self, name: RepositoryName, tag: Tag, digest: Digest | None = None) -> NamedTag:
        """Point a tag at its last manifest, or at an earlier `digest`. If the manifest is in the
        trash, it is restored. Raises `ManifestUnknown`, `ManifestBlobUnknown`.
        """
        change = self._change(name)
        found = self._holdings.restore_tag(change, tag, digest)
        return NamedTag(tag.text, TagRecord(found, change.author.now, change.author.actor))

    def restore(
        self,
        name: RepositoryName,
        references: Sequence[TrashReference],
        tell: Callable[[TrashReference], None],
    ) -> Restoration:
        """Restore tags and manifests, as many as one request may. `tell` gets each once it is
        durable. Raises what `restore_tag` and `restore_manifest` do, at the first that fails.
        """
        total = Restoration()
        steps_left = deletion.DELETION_STEPS_MAX
        for one in references:
            if steps_left <= 0:
                total += Restoration(left=(str(one),))
                continue
            steps_left -= RESTORE_STEPS
            if one.tag is not None:
                total += Restoration(tags=(self.restore_tag(name, one.tag, one.digest).name,))
            else:
                found = self.restore_manifest(name, one.digest)
                total += Restoration(1, found.tags, found.tags_taken)
                steps_left -= found.parts
            tell(one)
        return total

    # ---- runs of policies --------------------------------------------------------------------
    def restore_run(self, run: str, start: str = "") -> RunRestoration:
        """Restore manifests that one run deleted, as many as one request may. `start` is the
        `next_start` of an earlier call. Raises `SettingsInvalid` for another text, and
        `AccessRefused` for callers who are not system administrators.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
        count, steps_left = 0, _RUN_STEPS_MAX
        try:
            after = bytes.fromhex(start)
        except ValueError as error:
            raise SettingsInvalid("start must be the nextStart of an earlier answer") from error
        while True:
            with self._engine.read() as transaction:
                rows = [key for key, _ in transaction.scan(TRASH, after=after, limit=_RUN_ROWS_MAX)]
            for key in rows:
                if steps_left <= 0:
                    return RunRestoration(count, after.hex())
                is_back, steps = self._restore_of_run(run, key)
                count, steps_left, after = count + is_back, steps_left - steps, key
            if len(rows) < _RUN_ROWS_MAX:
                return RunRestoration(count, "")

    def _restore_of_run(self, run: str, row: bytes) -> tuple[bool, int]:
        """Restore the manifest of a row of the trash if the run deleted it. Returns True if it is
        back, and the steps that it took.
        """
        trashed = trash.parse(row)
        if trashed.kind != "manifest":
            return False, 1
        repository, digest = keys.manifest_in(trashed.key)
        with self._engine.read() as transaction:
            record = deleted.get(transaction, repository, digest)
            name = repositories.name_of(transaction, repository)
        if record is None:
            return False, 1
        steps = 1 + (len(record.stored) >> 10)
        if record.run != run:
            return False, steps
        restored = None if name is None else self._restored(name, digest)
        return restored is not None, steps + RESTORE_STEPS + (restored.parts if restored else 0)

    def _restored(self, name: RepositoryName, digest: Digest) -> RestoredManifest | None:
        try:
            return self.restore_manifest(name, digest)
        except (Conflict, ManifestUnknown, ManifestBlobUnknown, RepositoryUnknown):
            return None  # it was restored meanwhile, or cannot be restored

    def _change(self, name: RepositoryName) -> ChangeRequest:
        return ChangeRequest(self._permits, name, Author(self._permits.actor, self._now()))


def _deleted_tags(
    transaction: ReadTransaction, repository: RepositoryId, claim: Claim
) -> list[tuple[str, TagState]]:
    """Return states that ended with a deletion, unless the tag points at the same digest again."""
    states = list(BoundedScan(tag_history.deleted_tags(transaction, repository, claim)))
    present = tags.records(transaction, repository, {tag for tag, _ in states})
    return [
        (tag, past)
        for tag, past in states
        if tag not in present or present[tag].digest != past.digest
    ]
