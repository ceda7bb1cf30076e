"""Manifests: opaque bytes with a digest, whose content the repository must hold when they come.

A put is one transaction. It looks for the content and writes bytes, tags, references and the
subject's list; if content is missing, it writes nothing. The same bytes under digests of two
algorithms are two manifests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dtrfast.errors import (
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
)
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, number_key
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.manifests import Manifest, parse_manifest
from dtrfast.oci.media_types import KINDS
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import (
    catalog,
    deleted,
    keys,
    links,
    outlines,
    pulls,
    referrers,
    repositories,
    statistics,
    tags,
    untagged,
)
from dtrfast.registry.holdings import (
    ChangeRequest,
    FoundManifest,
    Holdings,
    Lookup,
    MissingContent,
    Push,
    PushResult,
    manifest_in,
)
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, TargetRepository

# Referrers of a deleted manifest that are noted for the policy on untagged manifests.
_REFERRERS_NOTED_MAX = 1000


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """A manifest that a client pushed, as the registry stored it."""

    digest: Digest
    media_type: str
    subject: Digest | None


@dataclass(frozen=True, slots=True)
class Rules:
    """The content that a repository must hold before it accepts a manifest: the manifest's blobs,
    and the children of an index.
    """

    require_blobs: bool
    require_children: bool


class Manifests:
    """The manifests of a registry's repositories, for one caller."""

    def __init__(self, holdings: Holdings, permits: Permits) -> None:
        self._holdings = holdings
        self._permits = permits

    def get(self, name: RepositoryName, reference: Reference) -> FoundManifest:
        """Return a manifest by tag or digest. Raises `ManifestUnknown`."""
        lookup = Lookup(self._permits, name, reference)
        return manifest_in(self._holdings.resolve_waiting((lookup,)))

    def peek(self, name: RepositoryName, reference: Reference) -> FoundManifest | None:
        """Return the same at once; None if the answer takes longer: then call `get`."""
        results = self._holdings.resolve((Lookup(self._permits, name, reference),))
        return None if results is None else manifest_in(results)

    def put(  # noqa: PLR0913 - the fields of a push
        self,
        name: RepositoryName,
        reference: Reference,
        body: bytes,
        content_type: str | None,
        *,
        extra_tags: tuple[Tag, ...] = (),
        author: Author,
        conditions: Conditions = UNCONDITIONAL,
    ) -> PushedManifest:
        """Store a manifest under a digest or a tag, and `extra_tags`, all at once.

        Raises `DigestInvalid` if the body has another digest, `ManifestInvalid`,
        `ManifestBlobUnknown`, `PreconditionFailed`. Then nothing is stored.
        """
        # Parsing the body costs much more than this check. The transaction checks again.
        self._holdings.check(self._permits, Action.PUSH, name)
        manifest = parse_manifest(body, content_type)
        if isinstance(reference, Tag):
            digest, names = Digest.of_bytes(body), (reference, *extra_tags)
        else:
            digest, names = Digest.of_bytes(body, reference.algorithm), extra_tags
            if digest != reference:
                message = f"the manifest has the digest {digest}, not {reference}"
                raise DigestInvalid(message, detail=str(reference))
        unique = tuple(dict.fromkeys(names))
        push = Push(
            self._permits, name, reference, digest, unique, manifest, body, author, conditions
        )
        done = self._holdings.put_manifest(push)
        if isinstance(done, MissingContent):
            raise ManifestBlobUnknown(tuple(map(str, done.digests)))
        subject = None if manifest.subject is None else manifest.subject.digest
        return PushedManifest(digest, done.media_type, subject)

    def delete(
        self,
        name: RepositoryName,
        digest: Digest,
        author: Author,
        conditions: Conditions = UNCONDITIONAL,
    ) -> tuple[str, ...]:
        """Put a manifest and its tags into the trash. Returns the tags. Raises `ManifestUnknown`,
        `PreconditionFailed`.
        """
        change = ChangeRequest(self._permits, name, author, conditions)
        return self._holdings.delete_manifest(change, digest)


# ---- over a transaction ----------------------------------------------------------------------
def find(transaction: ReadTransaction, name: RepositoryName, reference: Reference) -> FoundManifest:
    """Return a manifest by tag or digest. Raises `ManifestUnknown`."""
    repository = repositories.find(transaction, name)
    if repository is not None:
        digest: Digest | None
        if isinstance(reference, Digest):
            digest = reference
        else:
            record = tags.resolve(transaction, repository, reference)
            digest = None if record is None else record.digest
        stored = None if digest is None else stored_manifest(transaction, repository, digest)
        if digest is not None and stored is not None:
            return FoundManifest(digest, stored.media_type, stored.body)
    raise ManifestUnknown(f"there is no manifest {reference} in {name}", detail=str(reference))


def stored_manifest(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest
) -> StoredManifest | None:
    """Return the record of a manifest; None if it is not in the repository."""
    data = transaction.get(MANIFESTS, keys.manifest_key(repository, digest))
    return None if data is None else StoredManifest.decode(data)


def stored_from(
    transaction: ReadTransaction, repository: RepositoryId, first: Digest | None
) -> Iterator[tuple[Digest, StoredManifest]]:
    """Yield the manifests of a repository from `first` on, in the order of their digests' keys."""
    prefix = number_key(repository)
    after = None if first is None else keys.before_manifest(repository, first)
    for key, data in transaction.scan(MANIFESTS, prefix, after=after):
        yield keys.digest_in(key), StoredManifest.decode(data)


def put(transaction: WriteTransaction, push: Push, rules: Rules) -> PushResult | MissingContent:
    """See `Holdings.put_manifest`."""
    push.permits.check(transaction, Action.PUSH, push.name)
    if push.conditions != UNCONDITIONAL:
        push.conditions.check_change(_present(transaction, push))
    missing = _missing(transaction, push, rules)
    if missing:
        return MissingContent(tuple(missing))
    push = _with_stored_type(transaction, push)
    _check_type(transaction, push)
    repository = repositories.ensure(transaction, push.name, push.author, push.permits)
    target = TargetRepository(repository, push.name, push.author)
    _store(transaction, target, push)
    for tag in push.tags:
        tags.put(transaction, target, tag, push.digest)
    return PushResult(push.manifest.media_type)


def _present(transaction: ReadTransaction, push: Push) -> Digest | None:
    """Return the digest of the manifest that the push replaces, for its conditions."""
    try:
        return find(transaction, push.name, push.reference).digest
    except ManifestUnknown:
        return None


def _missing(transaction: ReadTransaction, push: Push, rules: Rules) -> list[Digest]:
    """Return the content that the manifest needs and the repository does not hold."""
    blobs = push.manifest.required_blobs() if rules.require_blobs else ()
    children = push.manifest.children() if rules.require_children else ()
    repository = repositories.find(transaction, push.name)
    if repository is None:
        return [*blobs, *children]
    # Old build caches are indexes of layers: a child may be a blob.
    strangers = [
        child
        for child in children
        if transaction.get(MANIFESTS, keys.manifest_key(repository, child)) is None
    ]
    return links.missing(transaction, repository, [*blobs, *strangers])


def _with_stored_type(transaction: ReadTransaction, push: Push) -> Push:
    """Return the push. If its media type is a guess and the repository has the same bytes with
    another type of the same kind, the push gets that type.
    """
    repository = repositories.find(transaction, push.name)
    if repository is None or not push.manifest.is_type_guessed:
        return push
    old = stored_manifest(transaction, repository, push.digest)
    if old is None or KINDS.get(old.media_type) != push.manifest.kind:
        return push
    return replace(push, manifest=replace(push.manifest, media_type=old.media_type))


def _check_type(transaction: ReadTransaction, push: Push) -> None:
    """Refuse another media type for a manifest that exists, unless the push has all of its tags.

    A manifest has one type, which holds for all its names: its tags, its digest, and the indexes
    that name it. So only a push of all its tags may correct the type, and only if no index names
    it. A manifest without tags keeps its type. Raises `ManifestInvalid`.
    """
    repository = repositories.find(transaction, push.name)
    old = None if repository is None else stored_manifest(transaction, repository, push.digest)
    if repository is None or old is None or old.media_type == push.manifest.media_type:
        return
    names = set(tags.tags_of(transaction, repository, push.digest))
    is_listed = links.is_referenced(transaction, repository, push.digest)
    if not names or not names.issubset(push.tags) or is_listed:
        raise ManifestInvalid(
            f"{push.digest} is in {push.name} as {old.media_type}, and its other names are served"
            " with that type: push it with this Content-Type, or delete the manifest first",
            detail=str(push.digest),
        )


def _store(transaction: WriteTransaction, target: TargetRepository, push: Push) -> None:
    """Write the manifest's rows. Does nothing for one that exists with the same media type."""
    old = stored_manifest(transaction, target.id, push.digest)
    media_type = push.manifest.media_type
    if old is not None and old.media_type == media_type:
        return
    stored = StoredManifest(media_type, push.body, target.author.now)
    enter(transaction, target, push.digest, stored, push.manifest, is_new=old is None)
    if old is None and not push.tags:
        untagged.note(transaction, target, push.digest)


def enter(
    transaction: WriteTransaction,
    target: TargetRepository,
    digest: Digest,
    stored: StoredManifest,
    manifest: Manifest,
    *,
    is_new: bool = True,
) -> None:
    """Write the rows of a manifest that is pushed, or comes back from the trash."""
    transaction.put(MANIFESTS, keys.manifest_key(target.id, digest), stored.encode())
    was_deleted = deleted.is_there(transaction, target.id, digest)
    links.add_references(
        transaction, target.id, digest, references(manifest), was_deleted=was_deleted
    )
    referrers.put(transaction, target.id, digest, manifest, len(stored.body))
    outlines.put(transaction, target.id, digest, manifest, len(stored.body))
    if is_new:
        deleted.forget(transaction, target.id, digest)
        catalog.enter(transaction, target.id)
        statistics.add(transaction, manifests=1, manifest_bytes=len(stored.body))
    target.record(
        transaction,
        "manifest.put",
        {"digest": str(digest), "media_type": stored.media_type, "body": stored.body},
    )


def references(manifest: Manifest) -> tuple[Digest, ...]:
    """Return the digests that the manifest keeps: its blobs, and the entries of an index."""
    return (*manifest.referenced_blobs(), *manifest.children())


def delete(transaction: WriteTransaction, change: ChangeRequest, digest: Digest) -> tuple[str, ...]:
    """See `Holdings.delete_manifest`."""
    change.permits.check(transaction, Action.DELETE, change.name)
    repository = repositories.find(transaction, change.name)
    stored = None if repository is None else stored_manifest(transaction, repository, digest)
    if repository is None or stored is None:
        message = f"there is no manifest {digest} in {change.name}"
        raise ManifestUnknown(message, detail=str(digest))
    change.conditions.check_change(digest)
    names = tuple(tag.text for tag in tags.tags_of(transaction, repository, digest))
    remove(transaction, TargetRepository(repository, change.name, change.author), digest, stored)
    return names


def remove(
    transaction: WriteTransaction,
    target: TargetRepository,
    digest: Digest,
    stored: StoredManifest,
    run: str = "",
) -> int:
    """Put a manifest of the repository into the trash, with its tags. `run` names the deletion that
    takes it with others; empty for it alone. Returns the number of blobs and manifests that it
    names.
    """
    repository, now = target.id, target.author.now
    its_tags = list(tags.tags_of(transaction, repository, digest))
    for tag in its_tags:
        tags.remove(transaction, target, tag, run)
    outline = outlines.of(transaction, repository, digest, stored)
    children = [Digest.from_key(key) for key in outlines.split(outline.children)]
    needs = [*map(Digest.from_key, outlines.split(outline.blobs)), *children]
    links.remove_references(transaction, repository, digest, needs, now)
    referrers.remove(transaction, repository, digest, outline.subject_digest)
    transaction.delete(MANIFESTS, keys.manifest_key(repository, digest))
    outlines.remove(transaction, repository, digest)
    pulls.forget_manifest(transaction, repository, digest)
    catalog.leave_if_empty(transaction, repository)
    statistics.add(transaction, manifests=-1, manifest_bytes=-len(stored.body))
    names = " ".join(tag.text for tag in its_tags)
    payload: dict[str, str | int | bytes | None] = {
        "digest": str(digest),
        "tags": names,
        "run": run,
    }
    target.record(transaction, "manifest.delete", payload)
    deleted.put(transaction, target, digest, stored, its_tags, run)
    about = referrers.digests_of(transaction, repository, digest, _REFERRERS_NOTED_MAX)
    untagged.note_all(transaction, target, [*children, *about])
    return len(needs)
