"""Deletions of tags and images together, previews of their effects, and the way back.

All things that one deletion puts into the trash have its *run* as a mark, so that one call restores
them. `families` finds the manifests that the deletion of an image takes along.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from dtrfast.errors import ManifestBlobUnknown, ManifestUnknown, OperationUnsupported
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import TRASH, number_key
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import (
    deleted,
    families,
    keys,
    manifests,
    outlines,
    repositories,
    restoring,
    tag_history,
    tags,
    trash,
    usage,
    usage_scopes,
)
from dtrfast.registry.budget import Budget
from dtrfast.registry.descriptions import USES_MAX, Descriptions, ImageUse
from dtrfast.registry.holdings import ChangeRequest, Holdings
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.ownership import Claim
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.restoring import Restoration
from dtrfast.registry.writing import Author, TargetRepository
from dtrfast.store.blobs import BlobStore

# Steps of deleting a tag, and a manifest without its blobs: about 5 µs each.
_TAG_STEPS = 40
_MANIFEST_STEPS = 60
# Steps that one request takes to delete: 150 usual images.
DELETION_STEPS_MAX = 12_000
# Rows of the index that a preview reads, beside those of the measurement.
_PREVIEW_STEPS = 6_000
# Rows of the trash that one transaction restores: some milliseconds, as pushes wait for it.
_STEP_MAX = 50


class DeletionChoice(msgspec.Struct, frozen=True, rename="camel"):
    """A tag or a digest that may be deleted, its image, and the other tags of the image."""

    reference: str
    digest: str
    kind: str
    size: int
    other_tags: tuple[str, ...]


class DeletionReferrer(msgspec.Struct, frozen=True, rename="camel"):
    """A signature, an SBOM … of an image that may be deleted. It stays, without a subject."""

    digest: str
    kind: str


class DeletionPreview(msgspec.Struct, frozen=True, rename="camel"):
    """The effects of deleting the `images` of the chosen references. `companions` is the number of
    images of their indexes that go with them, because nothing else names those. `usedBy` has
    indexes that stay and lose an image, `referrers` their signatures and the like: up to 20 of
    each. `freedBytes` are free once all of it has left the trash; with `isAtMost` it is an upper
    bound, since the caller may not see all repositories. `isExact` is false if something changed
    meanwhile, or if it is too much for one request: all numbers are then those of a part.
    """

    chosen: tuple[DeletionChoice, ...]
    images: tuple[str, ...]
    companions: int
    used_by: tuple[ImageUse, ...]
    referrers: tuple[DeletionReferrer, ...]
    freed_bytes: int
    is_at_most: bool
    is_exact: bool


@dataclass(frozen=True, slots=True)
class ReferenceDeletion:
    """The manifests and tags that the deletion of one reference put into the trash. `run` is empty
    for a deletion of one reference alone. `steps` is the work that it took.
    """

    reference: Reference
    run: str
    manifests: tuple[Digest, ...]
    tags: tuple[str, ...]
    steps: int = 0


class Deletion(msgspec.Struct, frozen=True, rename="camel"):
    """The deleted manifests and tags, and the run that brings them back. `missing` did not exist.
    `left` still exist, because one request deletes only so much: request them again.
    """

    run: str
    manifests: tuple[str, ...]
    tags: tuple[str, ...]
    missing: tuple[str, ...]
    left: tuple[str, ...]


class Deletions:
    """Deletes tags and images, for one caller. All methods raise what `Permits.check` does.

    With `is_allowed` False nothing is deleted: `delete` and `delete_one` raise
    `OperationUnsupported`. `now` gives seconds since the epoch.
    """

    def __init__(
        self,
        engine: Engine,
        store: BlobStore,
        holdings: Holdings,
        permits: Permits,
        now: Callable[[], int],
        *,
        is_allowed: bool,
    ) -> None:
        self._engine = engine
        self._store = store
        self._holdings = holdings
        self._permits = permits
        self._now = now
        self._is_allowed = is_allowed

    def preview(self, name: RepositoryName, references: Sequence[Reference]) -> DeletionPreview:
        """Return the effects of deleting the images of some references. Raises `ManifestUnknown`.

        Callers who are not system administrators get an upper bound of the bytes: repositories that
        they may not see count as if they did not exist.
        """
        budget = Budget(steps_left=_PREVIEW_STEPS)
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.PULL)
            is_admin = self._permits.is_admin(transaction)
            described = Descriptions(transaction, number, budget)
            chosen = [_choice(transaction, number, described, one) for one in references]
            digests = dict.fromkeys(Digest.parse(one.digest) for one in chosen)
            going = families.family(transaction, number, digests, budget)
            uses = _uses(transaction, number, described, digests, going)
            about = [one for digest in digests for one in described.attachments.of(digest)]
        find_scope = usage_scopes.of_deletion(name, digests, going)
        permits = None if is_admin else self._permits
        numbers = usage.measure(self._engine, self._store, find_scope, permits)
        staying = [one for one in about[:USES_MAX] if Digest.parse(one.digest) not in going]
        return DeletionPreview(
            chosen=tuple(chosen),
            images=tuple(map(str, digests)),
            companions=len(going) - len(digests),
            used_by=tuple(uses),
            referrers=tuple(DeletionReferrer(one.digest, one.kind) for one in staying),
            freed_bytes=numbers.freed_bytes,
            is_at_most=not is_admin,
            is_exact=numbers.is_exact and not budget.is_spent,
        )

    def delete_one(self, name: RepositoryName, reference: Reference) -> ReferenceDeletion:
        """Put a tag, or a manifest with all its tags, into the trash. Raises `ManifestUnknown`."""
        self._check_allowed()
        change = ChangeRequest(self._permits, name, self._author())
        if isinstance(reference, Tag):
            self._holdings.delete_tag(change, reference)
            return ReferenceDeletion(reference, "", (), (reference.text,))
        names = self._holdings.delete_manifest(change, reference)
        return ReferenceDeletion(reference, "", (reference,), names)

    def delete(
        self,
        name: RepositoryName,
        references: Sequence[Reference],
        tell: Callable[[ReferenceDeletion], None],
    ) -> Deletion:
        """Put tags, and images with what only they keep, into the trash, with one run. Each
        reference takes a transaction of its own; `tell` gets it once it is durable.

        Raises `ManifestUnknown` if all references are missing.
        """
        self._check_allowed()
        author = self._author()
        run = f"{author.now}-{secrets.token_hex(4)}"  # the trash is ordered by this time
        done: list[ReferenceDeletion] = []
        missing: list[str] = []
        left: list[str] = []
        steps_left = DELETION_STEPS_MAX
        for one in references:
            found = None
            # The first is deleted at any cost, so that repeated requests come to an end.
            most = steps_left if done else None
            try:
                if steps_left > 0:
                    found = delete(self._engine, self._permits, name, one, author, run, most)
            except ManifestUnknown:
                missing.append(str(one))
                continue
            if found is None:
                left.append(str(one))
                continue
            steps_left -= found.steps
            done.append(found)
            tell(found)
        if len(missing) == len(references):
            message = f"there is no {missing[0]} in {name} any more"
            raise ManifestUnknown(message, detail=missing[0])
        return _result(run, done, missing, left)

    def restore(self, name: RepositoryName, run: str) -> Restoration:
        """Restore the things that one deletion put into the trash and that are still there.

        Raises `ManifestUnknown` if none is.
        """
        author = self._author()
        with self._engine.read() as transaction:
            self._permits.check(transaction, Action.PUSH, name)
            number = repositories.get(transaction, name)
            claim = self._permits.claim(transaction, name)
            rows = list(_rows_of_run(transaction, number, run, claim))
        if not rows:
            raise ManifestUnknown("nothing of this deletion is in the trash any more")
        target = TargetRepository(number, name, author)
        total = Restoration()
        for first in range(0, len(rows), _STEP_MAX):
            some = rows[first : first + _STEP_MAX]
            total += self._engine.write(partial(_restore, target=target, rows=some))
        return total

    def _check_allowed(self) -> None:
        if not self._is_allowed:
            raise OperationUnsupported("deletes are switched off by registry.delete")

    def _author(self) -> Author:
        return Author(self._permits.actor, self._now())


def _result(
    run: str, done: list[ReferenceDeletion], missing: list[str], left: list[str]
) -> Deletion:
    return Deletion(
        run,
        tuple(str(digest) for one in done for digest in one.manifests),
        tuple(tag for one in done for tag in one.tags),
        tuple(missing),
        tuple(left),
    )


# ---- previews ----------------------------------------------------------------------------------
def _choice(
    transaction: ReadTransaction,
    repository: RepositoryId,
    described: Descriptions,
    reference: Reference,
) -> DeletionChoice:
    digest: Digest | None = reference if isinstance(reference, Digest) else None
    if isinstance(reference, Tag):
        record = tags.resolve(transaction, repository, reference)
        digest = None if record is None else record.digest
    summary = None if digest is None else described.summary(digest)
    if digest is None or summary is None:
        raise ManifestUnknown(f"there is no {reference} any more", detail=str(reference))
    others = tuple(tag for tag in described.tags(digest) if tag != str(reference))
    return DeletionChoice(str(reference), str(digest), summary.kind, summary.size, others)


def _uses(
    transaction: ReadTransaction,
    repository: RepositoryId,
    described: Descriptions,
    digests: dict[Digest, None],
    going: dict[Digest, None],
) -> list[ImageUse]:
    """Return indexes that stay and lose one of the images."""
    found: list[ImageUse] = []
    for digest in digests:
        users = families.users(transaction, repository, digest, USES_MAX + len(going))
        staying = [user for user in users if user not in going]
        found += [described.use(user, digest) for user in staying[: USES_MAX - len(found)]]
    return found


# ---- deleting ----------------------------------------------------------------------------------
def delete(  # noqa: PLR0913 - the fields of a deletion
    engine: Engine,
    permits: Permits,
    name: RepositoryName,
    reference: Reference,
    author: Author,
    run: str,
    steps_max: int | None = None,
) -> ReferenceDeletion | None:
    """Put a tag, or an image with all its tags and what only it keeps, into the trash. Nothing is
    done, and the result is None, if an image names more than `steps_max` things.

    Raises `ManifestUnknown`.
    """

    def change(transaction: WriteTransaction) -> ReferenceDeletion | None:
        permits.check(transaction, Action.DELETE, name)
        repository = repositories.find(transaction, name)
        if repository is None:
            raise ManifestUnknown(f"there is no {reference} in {name}", detail=str(reference))
        target = TargetRepository(repository, name, author)
        if isinstance(reference, Tag):
            if not tags.remove(transaction, target, reference, run):
                raise ManifestUnknown(f"there is no tag {reference} in {name}")
            return ReferenceDeletion(reference, run, (), (reference.text,), _TAG_STEPS)
        if steps_max is not None and _is_larger(transaction, target, reference, steps_max):
            return None
        return _delete_image(transaction, target, reference, run)

    return engine.write(change)


def _is_larger(
    transaction: ReadTransaction, target: TargetRepository, digest: Digest, parts_max: int
) -> bool:
    """Return True if a manifest names more than `parts_max` things; False if it is missing."""
    found = outlines.look(transaction, target.id, digest, Budget())
    if found is None:
        return False
    return found.outline is None or found.outline.parts > parts_max


def _delete_image(
    transaction: WriteTransaction, target: TargetRepository, digest: Digest, run: str
) -> ReferenceDeletion:
    going = families.family(transaction, target.id, [digest], Budget())
    if not going:
        raise ManifestUnknown(f"there is no {digest} in {target.name}", detail=str(digest))
    names: list[str] = []
    steps = 0
    for one in going:
        names += [tag.text for tag in tags.tags_of(transaction, target.id, one)]
        stored = manifests.stored_manifest(transaction, target.id, one)
        assert stored is not None  # it was found in this transaction
        steps += _MANIFEST_STEPS + manifests.remove(transaction, target, one, stored, run)
    steps += _TAG_STEPS * len(names)
    return ReferenceDeletion(digest, run, tuple(going), tuple(names), steps)


# ---- the way back ------------------------------------------------------------------------------
def _rows_of_run(
    transaction: ReadTransaction, repository: RepositoryId, run: str, claim: Claim
) -> Iterator[tuple[str, Digest]]:
    """Return the rows of a run: manifests with an empty tag, then tags with their digests."""
    text = run.partition("-")[0]
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(1 << 62)):
        return
    at, number = min(int(text), 1 << 62), number_key(repository)
    for key, _ in transaction.scan(TRASH, trash.row_key(at, "manifest", number)):
        _, digest = keys.manifest_in(trash.parse(key).key)
        record = deleted.get(transaction, repository, digest, claim)
        if record is not None and record.run == run:
            yield "", digest
    for key, _ in transaction.scan(TRASH, trash.row_key(at, "tag", number)):
        row = trash.parse(key)
        past = tag_history.get(transaction, row.key)
        is_of_run = past is not None and past.run == run
        if past is not None and is_of_run and claim.covers(past.owner, past.ended_at):
            yield tag_history.tag_in(row.key), past.digest


def _restore(
    transaction: WriteTransaction, target: TargetRepository, rows: list[tuple[str, Digest]]
) -> Restoration:
    count, names, taken = 0, [], []
    for tag, digest in rows:
        if not tag:
            with suppress(ManifestUnknown, ManifestBlobUnknown):
                restoring.enter(transaction, target, digest)
                count += 1
            continue
        present = tags.resolve(transaction, target.id, Tag(tag))
        if present is not None and present.digest != digest:
            taken.append(tag)
        elif families.is_there(transaction, target.id, digest):
            if present is None:
                tags.put(transaction, target, Tag(tag), digest)
            names.append(tag)
    return Restoration(count, tuple(names), tuple(taken))
