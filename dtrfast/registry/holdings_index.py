"""The holdings over the index. Each use case writes in one transaction."""

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
    keys,
    links,
    manifests,
    referrers,
    removal,
    repositories,
    restoring,
    tag_history,
    tags,
    trash,
    unheld,
)
from dtrfast.registry.holdings import (
    ChangeRequest,
    FoundBlob,
    FoundManifest,
    Lookup,
    LookupResult,
    MissingContent,
    Push,
    PushResult,
    ReferrersPage,
    RestoredManifest,
)
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.manifests import Rules
from dtrfast.registry.pages import Page, cut
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.writing import TargetRepository
from dtrfast.store.blobs import BlobStat, BlobStore, Placement

# Holders of a blob that a mount without `from` looks at, to find one that the caller may read.
_HOLDERS_MAX = 100
# A blob that clients request again and again is renewed so many times in its grace at the most.
_RENEWALS_IN_GRACE = 10
# Functions that remove a thing from the trash for good.
_PURGES: dict[trash.Kind, trash.Purge] = {
    "manifest": deleted.purge,
    "tag": tag_history.purge,
    "repository": removal.purge,
}

# Commits a change of the local tables and a change of the shared tables together.
WriteBoth = Callable[
    [Callable[[WriteTransaction], object], Callable[[WriteTransaction], object]], object
]


class IndexHoldings:
    """See `Holdings`. `write_both` is None if no commit can cover both content and holdings."""

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

    # ---- lookups -----------------------------------------------------------------------------
    def resolve(self, lookups: Sequence[Lookup]) -> list[LookupResult]:
        results: list[LookupResult] = []
        with self._engine.read() as transaction:
            for lookup in lookups:
                try:
                    lookup.permits.check(transaction, lookup.action, lookup.name)
                    results.append(self._find(transaction, lookup))
                except DtrfastError as error:
                    results.append(error)
        return results

    resolve_waiting = resolve

    def _find(self, transaction: ReadTransaction, lookup: Lookup) -> FoundManifest | FoundBlob:
        digest = lookup.reference
        if not lookup.is_blob:
            return manifests.find(transaction, lookup.name, digest)
        assert isinstance(digest, Digest)
        repository = repositories.find(transaction, lookup.name)
        link = None if repository is None else links.get(transaction, repository, digest)
        if repository is None or link is None:
            raise BlobUnknown(f"there is no blob {digest} in {lookup.name}", detail=str(digest))
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
    def put_manifest(self, push: Push) -> PushResult | MissingContent:
        return self._engine.write(partial(manifests.put, push=push, rules=self._rules))

    def commit_blob(self, change: ChangeRequest, placed: Placement) -> None:
        link = partial(_link, change=change, stat=placed.stat, inline=placed.inline)
        pending = placed.pending
        if pending is not None and self._write_both is not None:
            self._write_both(pending, link)
        else:
            # In this order, so that a durable link has durable content. Content whose link never
            # comes is in a list of the store, which asks for its holders.
            placed.settle()
            self._engine.write(link)

    def mount(self, change: ChangeRequest, stat: BlobStat, source: RepositoryName | None) -> bool:
        with self._engine.read() as transaction:
            change.permits.check(transaction, Action.PUSH, change.name)
            # Checked first, so that a mount of a missing blob takes no write transaction.
            if _source(transaction, change.permits, stat.digest, source) is None:
                return False
        return self._engine.write(partial(_mount, change=change, stat=stat, source=source))

    def unlink(self, change: ChangeRequest, digest: Digest) -> None:
        with self._engine.read() as transaction:
            repository = repositories.find(transaction, change.name)
            link = None if repository is None else links.get(transaction, repository, digest)
        # A link that an older version wrote has no size.
        is_old = link is not None and link.size is None
        size = self._blobs.sizes([digest]).get(digest) if is_old else None
        self._engine.write(partial(_unlink, change=change, digest=digest, size=size))

    def delete_manifest(self, change: ChangeRequest, digest: Digest) -> tuple[str, ...]:
        return self._engine.write(partial(manifests.delete, change=change, digest=digest))

    def delete_tag(self, change: ChangeRequest, tag: Tag) -> None:
        self._engine.write(partial(tags.delete, change=change, tag=tag))

    def restore_manifest(self, change: ChangeRequest, digest: Digest) -> RestoredManifest:
        return self._engine.write(partial(restoring.restore_manifest, change=change, digest=digest))

    def restore_tag(self, change: ChangeRequest, tag: Tag, digest: Digest | None = None) -> Digest:
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


# ---- blobs -------------------------------------------------------------------------------------
def _renew(transaction: WriteTransaction, name: RepositoryName, digest: Digest, now: int) -> None:
    repository = repositories.find(transaction, name)
    if repository is not None:
        links.renew(transaction, repository, digest, now)


def _ensure_target(transaction: WriteTransaction, change: ChangeRequest) -> TargetRepository:
    """Return the repository that the caller pushes to. Creates it if it does not exist."""
    change.permits.check(transaction, Action.PUSH, change.name)
    repository = repositories.ensure(transaction, change.name, change.author, change.permits)
    return TargetRepository(repository, change.name, change.author)


def _link(
    transaction: WriteTransaction, change: ChangeRequest, stat: BlobStat, inline: bytes | None
) -> None:
    target = _ensure_target(transaction, change)
    if inline is not None:
        # A repair needs content that only the store's index has, so the change log has it, too.
        target.record(transaction, "blob.put", {"digest": str(stat.digest), "body": inline})
    links.put(transaction, target, stat.digest, stat.size)


def _mount(
    transaction: WriteTransaction,
    change: ChangeRequest,
    stat: BlobStat,
    source: RepositoryName | None,
) -> bool:
    change.permits.check(transaction, Action.PUSH, change.name)
    # The source may be gone since the first check. Then no repository is created either.
    if _source(transaction, change.permits, stat.digest, source) is None:
        return False
    links.put(transaction, _ensure_target(transaction, change), stat.digest, stat.size)
    return True


def _source(
    transaction: ReadTransaction, permits: Permits, digest: Digest, source: RepositoryName | None
) -> RepositoryId | None:
    """Return a repository that holds the blob and that the caller may pull from: `source`, or
    without it any.
    """
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


def _unlink(
    transaction: WriteTransaction, change: ChangeRequest, digest: Digest, size: int | None
) -> None:
    change.permits.check(transaction, Action.DELETE, change.name)
    repository = repositories.find(transaction, change.name)
    if repository is None:
        raise BlobUnknown(f"there is no blob {digest} in {change.name}", detail=str(digest))
    links.remove(
        transaction, TargetRepository(repository, change.name, change.author), digest, size
    )


def index_holdings(
    engine: Engine, blobs: BlobStore, config: Config, clock: Callable[[], int]
) -> IndexHoldings:
    """Return the holdings with this server's settings. `clock` gives seconds since the epoch."""
    rules = Rules(config.registry.require_blobs, config.registry.require_children)
    grace_seconds = math.ceil(config.store.grace_seconds)
    write_both = engine.write_both if engine.is_joint else None
    return IndexHoldings(engine, blobs, rules, clock, grace_seconds, write_both)
