"""The holdings over the index: each use case is one transaction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from dtrfast.config import Config
from dtrfast.errors import (
    BlobUnknown,
    DtrfastError,
    RepositoryUnknown,
)
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import REPOSITORY_NAMES, TAGS, number_key
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import (
    catalog,
    deleted,
    history,
    keys,
    links,
    manifests,
    referrers,
    removal,
    repositories,
    restoring,
    tags,
    trash,
    unheld,
)
from dtrfast.registry.holdings import (
    Answer,
    Change,
    FoundBlob,
    FoundManifest,
    Missing,
    Push,
    Question,
    ReferrersPage,
    Restored,
    Stored,
)
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.manifests import Rules
from dtrfast.registry.pages import Page, cut
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.writing import Place
from dtrfast.store.blobs import BlobStat, BlobStore, Placed

# Where a mount without `from` looks for a repository that the caller may read.
_HOLDERS_MAX = 100
# A blob that is asked for again and again is renewed no more often than this part of its grace.
_RENEWALS_IN_GRACE = 10
# How things leave the trash for good.
_PURGES: dict[trash.Kind, trash.Purge] = {
    "manifest": deleted.purge,
    "tag": history.purge,
    "repository": removal.purge,
}

# Commits a change of the local tables and one of the shared tables together.
WriteBoth = Callable[
    [Callable[[WriteTransaction], object], Callable[[WriteTransaction], object]], object
]


class IndexHoldings:
    """See `Holdings`. `write_both` is None where no commit covers both content and holdings."""

    def __init__(
        self,
        engine: Engine,
        blobs: BlobStore,
        rules: Rules,
        clock: Callable[[], int],
        grace_seconds: int,
        write_both: WriteBoth | None = None,
    ) -> None:
        self._engine = engine
        self._blobs = blobs
        self._rules = rules
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._write_both = write_both

    # ---- questions -----------------------------------------------------------------------------
    def resolve(self, questions: Sequence[Question]) -> list[Answer]:
        answers: list[Answer] = []
        with self._engine.read() as transaction:
            for question in questions:
                try:
                    question.permits.check(transaction, question.action, question.name)
                    answers.append(self._find(transaction, question))
                except DtrfastError as error:
                    answers.append(error)
        return answers

    resolve_waiting = resolve

    def _find(self, transaction: ReadTransaction, question: Question) -> FoundManifest | FoundBlob:
        digest = question.reference
        if not question.is_blob:
            return manifests.find(transaction, question.name, digest)
        assert isinstance(digest, Digest)
        repository = repositories.find(transaction, question.name)
        link = None if repository is None else links.get(transaction, repository, digest)
        if repository is None or link is None:
            raise BlobUnknown(f"there is no blob {digest} in {question.name}", detail=str(digest))
        age = self._clock() - link.unreferenced_since
        is_old = age * _RENEWALS_IN_GRACE > self._grace_seconds
        is_due = is_old and not links.is_referenced(transaction, repository, digest)
        return FoundBlob(digest, is_due)

    def check(self, permits: Permits, action: Action, name: RepositoryName) -> None:
        with self._engine.read() as transaction:
            permits.check(transaction, action, name)

    def renew(self, name: RepositoryName, digest: Digest) -> None:
        self._engine.write(partial(_renew, name=name, digest=digest, now=self._clock()))

    # ---- changes -------------------------------------------------------------------------------
    def put_manifest(self, push: Push) -> Stored | Missing:
        return self._engine.write(partial(manifests.put, push=push, rules=self._rules))

    def commit_blob(self, change: Change, placed: Placed) -> None:
        link = partial(_link, change=change, stat=placed.stat, inline=placed.inline)
        pending = placed.pending
        if pending is not None and self._write_both is not None:
            self._write_both(pending, link)
        else:
            # In this order: a link that is durable has its content. Content whose link never comes
            # is in a list of the store's, which asks for its holders.
            placed.settle()
            self._engine.write(link)

    def mount(self, change: Change, stat: BlobStat, source: RepositoryName | None) -> bool:
        with self._engine.read() as transaction:
            change.permits.check(transaction, Action.PUSH, change.name)
            # Asked first, so that a mount of nothing writes nothing.
            if _source(transaction, change.permits, stat.digest, source) is None:
                return False
        return self._engine.write(partial(_mount, change=change, stat=stat, source=source))

    def unlink(self, change: Change, digest: Digest) -> None:
        with self._engine.read() as transaction:
            is_old = _is_without_size(transaction, change.name, digest)
        size = self._blobs.sizes([digest]).get(digest) if is_old else None
        self._engine.write(partial(_unlink, change=change, digest=digest, size=size))

    def delete_manifest(self, change: Change, digest: Digest) -> tuple[str, ...]:
        return self._engine.write(partial(manifests.delete, change=change, digest=digest))

    def delete_tag(self, change: Change, tag: Tag) -> None:
        self._engine.write(partial(tags.delete, change=change, tag=tag))

    def restore_manifest(self, change: Change, digest: Digest) -> Restored:
        return self._engine.write(partial(restoring.restore_manifest, change=change, digest=digest))

    def restore_tag(self, change: Change, tag: Tag, digest: Digest | None = None) -> Digest:
        restore = partial(restoring.restore_tag, change=change, tag=tag, digest=digest)
        return self._engine.write(restore)

    # ---- pages ---------------------------------------------------------------------------------
    def tags(self, permits: Permits, name: RepositoryName, count: int, last: str = "") -> Page[str]:
        with self._engine.read() as transaction:
            permits.check(transaction, Action.PULL, name)
            repository = repositories.get(transaction, name)
            if not catalog.holds_something(transaction, repository):
                raise RepositoryUnknown(f"there is no repository {name}")
            after = keys.after_tag(repository, last)
            rows = transaction.scan(TAGS, number_key(repository), after=after, limit=count + 1)
            return cut((keys.tag_of(key) for key, _ in rows), count)

    def referrers(
        self,
        permits: Permits,
        name: RepositoryName,
        subject: Digest,
        artifact_type: str | None = None,
        last: Digest | None = None,
    ) -> ReferrersPage:
        with self._engine.read() as transaction:
            permits.check(transaction, Action.PULL, name)
            repository = repositories.find(transaction, name)
            if repository is None:
                return ReferrersPage([], None)
            return referrers.page(transaction, repository, subject, artifact_type, last)

    def catalog(self, permits: Permits, count: int, last: str = "") -> Page[str]:
        with self._engine.read() as transaction:
            names = permits.visible(transaction, keys.after_name(last))
            return cut((name.decode() for name in names), count)

    # ---- housekeeping --------------------------------------------------------------------------
    def drop_deleted(self, before: int, limit: int) -> int:
        return trash.purge(self._engine, _PURGES, before, limit)

    def drop_unheld(self, limit: int) -> int:
        now = self._clock()
        dropped = unheld.drop_links(self._engine, self._blobs, now, self._grace_seconds, limit)
        return dropped + unheld.release(self._engine, self._blobs, limit)

    def are_held(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        return unheld.are_held(self._engine, contents)


# ---- questions ---------------------------------------------------------------------------------
def _renew(transaction: WriteTransaction, name: RepositoryName, digest: Digest, now: int) -> None:
    repository = repositories.find(transaction, name)
    if repository is not None:
        links.renew(transaction, repository, digest, now)


# ---- blobs -------------------------------------------------------------------------------------
def _pushed_to(transaction: WriteTransaction, change: Change) -> Place:
    """The repository that the caller pushes to; it is made if it is not there."""
    change.permits.check(transaction, Action.PUSH, change.name)
    repository = repositories.ensure(transaction, change.name, change.author, change.permits)
    return Place(repository, change.name, change.author)


def _link(
    transaction: WriteTransaction, change: Change, stat: BlobStat, inline: bytes | None
) -> None:
    place = _pushed_to(transaction, change)
    if inline is not None:
        # What lies in the store's index alone is in the change log as well, for a repair.
        place.record(transaction, "blob.put", {"digest": str(stat.digest), "body": inline})
    links.put(transaction, place, stat.digest, stat.size)


def _mount(
    transaction: WriteTransaction, change: Change, stat: BlobStat, source: RepositoryName | None
) -> bool:
    change.permits.check(transaction, Action.PUSH, change.name)
    # Its source may have gone since it was looked at: then no repository is made either.
    if _source(transaction, change.permits, stat.digest, source) is None:
        return False
    links.put(transaction, _pushed_to(transaction, change), stat.digest, stat.size)
    return True


def _source(
    transaction: ReadTransaction, permits: Permits, digest: Digest, source: RepositoryName | None
) -> RepositoryId | None:
    """A repository that has the blob and that the caller may pull from: this one, or any."""
    if source is not None:
        if not permits.may(transaction, Action.PULL, source):
            return None
        repository = repositories.find(transaction, source)
        is_there = repository is not None and links.get(transaction, repository, digest) is not None
        return repository if is_there else None
    for holder in links.holders(transaction, digest, _HOLDERS_MAX):
        name = transaction.get(REPOSITORY_NAMES, number_key(holder))
        if name is not None and permits.may(
            transaction, Action.PULL, RepositoryName(name.decode())
        ):
            return holder
    return None


def _is_without_size(transaction: ReadTransaction, name: RepositoryName, digest: Digest) -> bool:
    """True for a link of an older version."""
    repository = repositories.find(transaction, name)
    link = None if repository is None else links.get(transaction, repository, digest)
    return link is not None and link.size is None


def _unlink(
    transaction: WriteTransaction, change: Change, digest: Digest, size: int | None
) -> None:
    change.permits.check(transaction, Action.DELETE, change.name)
    repository = repositories.find(transaction, change.name)
    if repository is None:
        raise BlobUnknown(f"there is no blob {digest} in {change.name}", detail=str(digest))
    links.remove(transaction, Place(repository, change.name, change.author), digest, size)


def index_holdings(
    engine: Engine, blobs: BlobStore, config: Config, clock: Callable[[], int]
) -> IndexHoldings:
    """The holdings by the settings of this server."""
    rules = Rules(config.registry.require_blobs, config.registry.require_children)
    grace_seconds = math.ceil(config.store.grace_seconds)
    write_both = engine.write_both if engine.is_joint else None
    return IndexHoldings(engine, blobs, rules, clock, grace_seconds, write_both)
