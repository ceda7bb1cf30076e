"""Manifests: opaque bytes with a digest, checked against what the repository holds when they come.

A put is one transaction: content is looked for, bytes, tags, references and the subject's list are
written, and nothing of that when something is missing. The same bytes pushed under digests of two
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
    Change,
    FoundManifest,
    Holdings,
    Missing,
    Push,
    Question,
    Stored,
    manifest_in,
)
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, Place

# Referrers of a deleted manifest that the policy for untagged ones looks at.
_REFERRERS_NOTED_MAX = 1000


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a manifest that was put."""

    digest: Digest
    media_type: str
    subject: Digest | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What must be in the repository before a manifest is."""

    require_blobs: bool
    require_children: bool


class Manifests:
    """The manifests of a registry's repositories, for one caller."""

    def __init__(self, holdings: Holdings, permits: Permits) -> None:
        self._holdings = holdings
        self._permits = permits

    def get(self, name: RepositoryName, reference: Reference) -> FoundManifest:
        """The manifest by tag or digest. Raises `ManifestUnknown`."""
        question = Question(self._permits, name, reference)
        return manifest_in(self._holdings.resolve_waiting((question,)))

    def peek(self, name: RepositoryName, reference: Reference) -> FoundManifest | None:
        """The same at once; None when the answer comes later: then `get` has it."""
        answers = self._holdings.resolve((Question(self._permits, name, reference),))
        return None if answers is None else manifest_in(answers)

    def put(  # noqa: PLR0913 - what a push says
        self,
        name: RepositoryName,
        reference: Reference,
        body: bytes,
        content_type: str | None,
        *,
        extra_tags: tuple[Tag, ...] = (),
        author: Author,
        conditions: Conditions = UNCONDITIONAL,
    ) -> Put:
        """Store a manifest under a digest or a tag, and `extra_tags`, all at once.

        Raises `DigestInvalid` when the digest is not the body's, `ManifestInvalid`,
        `ManifestBlobUnknown`, `PreconditionFailed`; then nothing is stored.
        """
        # Reading the body costs much more than looking up who may push. The transaction checks
        # again, with what it finds then.
        self._holdings.check(self._permits, Action.PUSH, name)
        manifest = parse_manifest(body, content_type)
        if isinstance(reference, Tag):
            digest, names = Digest.of_bytes(body), (reference, *extra_tags)
        else:
            digest, names = _checked_digest(reference, body), extra_tags
        unique = tuple(dict.fromkeys(names))
        push = Push(
            self._permits, name, reference, digest, unique, manifest, body, author, conditions
        )
        done = self._holdings.put_manifest(push)
        if isinstance(done, Missing):
            raise ManifestBlobUnknown(tuple(map(str, done.digests)))
        subject = None if manifest.subject is None else manifest.subject.digest
        return Put(digest, done.media_type, subject)

    def delete(
        self,
        name: RepositoryName,
        digest: Digest,
        author: Author,
        conditions: Conditions = UNCONDITIONAL,
    ) -> tuple[str, ...]:
        """Put a manifest into the trash with its tags, and name those. Raises `ManifestUnknown`,
        `PreconditionFailed`.
        """
        change = Change(self._permits, name, author, conditions)
        return self._holdings.delete_manifest(change, digest)


def _checked_digest(digest: Digest, body: bytes) -> Digest:
    actual = Digest.of_bytes(body, digest.algorithm)
    if actual != digest:
        raise DigestInvalid(
            f"the manifest has the digest {actual}, not {digest}", detail=str(digest)
        )
    return digest


# ---- over a transaction ----------------------------------------------------------------------
def find(transaction: ReadTransaction, name: RepositoryName, reference: Reference) -> FoundManifest:
    """Raises `ManifestUnknown`."""
    repository = repositories.find(transaction, name)
    digest = None if repository is None else _resolve(transaction, repository, reference)
    if repository is not None and digest is not None:
        stored = stored_manifest(transaction, repository, digest)
        if stored is not None:
            return FoundManifest(digest, stored.media_type, stored.body)
    raise ManifestUnknown(f"there is no manifest {reference} in {name}", detail=str(reference))


def _resolve(
    transaction: ReadTransaction, repository: RepositoryId, reference: Reference
) -> Digest | None:
    if isinstance(reference, Digest):
        return reference
    record = tags.resolve(transaction, repository, reference)
    return None if record is None else record.digest


def stored_manifest(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest
) -> StoredManifest | None:
    data = transaction.get(MANIFESTS, keys.manifest_key(repository, digest))
    return None if data is None else StoredManifest.decode(data)


def stored_from(
    transaction: ReadTransaction, repository: RepositoryId, first: Digest | None
) -> Iterator[tuple[Digest, StoredManifest]]:
    """The manifests of a repository by digest, from one on."""
    prefix = number_key(repository)
    after = None if first is None else keys.before_manifest(repository, first)
    for key, data in transaction.scan(MANIFESTS, prefix, after=after):
        yield Digest.from_key(key[len(prefix) :]), StoredManifest.decode(data)


def put(transaction: WriteTransaction, push: Push, rules: Rules) -> Stored | Missing:
    """See `Holdings.put_manifest`."""
    push.permits.check(transaction, Action.PUSH, push.name)
    if push.conditions != UNCONDITIONAL:
        push.conditions.check_change(_present(transaction, push))
    missing = _missing(transaction, push, rules)
    if missing:
        return Missing(tuple(missing))
    push = _with_stored_type(transaction, push)
    _check_type(transaction, push)
    repository = repositories.ensure(transaction, push.name, push.author, push.permits)
    place = Place(repository, push.name, push.author)
    _store(transaction, place, push)
    for tag in push.tags:
        tags.put(transaction, place, tag, push.digest)
    return Stored(push.manifest.media_type)


def _present(transaction: ReadTransaction, push: Push) -> Digest | None:
    """The digest of the content that a push replaces."""
    try:
        return find(transaction, push.name, push.reference).digest
    except ManifestUnknown:
        return None


def _missing(transaction: ReadTransaction, push: Push, rules: Rules) -> list[Digest]:
    """What the manifest needs and the repository does not hold."""
    blobs = push.manifest.required_blobs() if rules.require_blobs else ()
    children = push.manifest.children() if rules.require_children else ()
    repository = repositories.find(transaction, push.name)
    if repository is None:
        return [*blobs, *children]
    # Old build caches are indexes of layers: a child may be a blob.
    strange = [c for c in children if not _is_manifest(transaction, repository, c)]
    return links.missing(transaction, repository, [*blobs, *strange])


def _is_manifest(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    return transaction.get(MANIFESTS, keys.manifest_key(repository, digest)) is not None


def _with_stored_type(transaction: ReadTransaction, push: Push) -> Push:
    """The push with the type of the same bytes that are here, if its own type is only a guess."""
    repository = repositories.find(transaction, push.name)
    if repository is None or not push.manifest.is_type_guessed:
        return push
    old = stored_manifest(transaction, repository, push.digest)
    if old is None or KINDS.get(old.media_type) != push.manifest.kind:
        return push
    return replace(push, manifest=replace(push.manifest, media_type=old.media_type))


def _check_type(transaction: ReadTransaction, push: Push) -> None:
    """Refuse another type for bytes that are here already, unless all their names get it.

    A manifest has one type, with which every name of it is served: other tags, its digest, and the
    indexes that name it. Only the push of its own tags may correct it.
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


def _store(transaction: WriteTransaction, place: Place, push: Push) -> None:
    """The manifest's own rows. Pushed again it is the same, but for a type that corrects it."""
    old = stored_manifest(transaction, place.id, push.digest)
    media_type = push.manifest.media_type
    if old is not None and old.media_type == media_type:
        return
    stored = StoredManifest(media_type, push.body, place.author.now)
    enter(transaction, place, push.digest, stored, push.manifest, is_new=old is None)
    if old is None and not push.tags:
        untagged.note(transaction, place, push.digest)


def enter(
    transaction: WriteTransaction,
    place: Place,
    digest: Digest,
    stored: StoredManifest,
    manifest: Manifest,
    *,
    is_new: bool = True,
) -> None:
    """Write the rows of a manifest that is pushed, or comes back from the trash."""
    transaction.put(MANIFESTS, keys.manifest_key(place.id, digest), stored.encode())
    was_deleted = deleted.is_there(transaction, place.id, digest)
    links.add_references(
        transaction, place.id, digest, references(manifest), was_deleted=was_deleted
    )
    referrers.put(transaction, place.id, digest, manifest, len(stored.body))
    outlines.put(transaction, place.id, digest, manifest, len(stored.body))
    if is_new:
        deleted.forget(transaction, place.id, digest)
        catalog.enter(transaction, place.id)
        statistics.add(transaction, manifests=1, manifest_bytes=len(stored.body))
    place.record(
        transaction,
        "manifest.put",
        {"digest": str(digest), "media_type": stored.media_type, "body": stored.body},
    )


def references(manifest: Manifest) -> tuple[Digest, ...]:
    """Blobs that stay while the manifest does; those of an index that are manifests do no harm."""
    return (*manifest.referenced_blobs(), *manifest.children())


def delete(transaction: WriteTransaction, change: Change, digest: Digest) -> tuple[str, ...]:
    """See `Holdings.delete_manifest`."""
    change.permits.check(transaction, Action.DELETE, change.name)
    repository = repositories.find(transaction, change.name)
    stored = None if repository is None else stored_manifest(transaction, repository, digest)
    if repository is None or stored is None:
        message = f"there is no manifest {digest} in {change.name}"
        raise ManifestUnknown(message, detail=str(digest))
    change.conditions.check_change(digest)
    names = tuple(tag.text for tag in tags.tags_of(transaction, repository, digest))
    remove(transaction, Place(repository, change.name, change.author), digest, stored)
    return names


def remove(
    transaction: WriteTransaction,
    place: Place,
    digest: Digest,
    stored: StoredManifest,
    run: str = "",
) -> int:
    """Put a manifest of the repository into the trash, with its tags. `run` names what deleted it
    together with others. Returns how many blobs and manifests it names.
    """
    repository, now = place.id, place.author.now
    its_tags = list(tags.tags_of(transaction, repository, digest))
    for tag in its_tags:
        tags.remove(transaction, place, tag, run)
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
    place.record(transaction, "manifest.delete", payload)
    deleted.put(transaction, place, digest, stored, its_tags, run)
    about = referrers.digests_of(transaction, repository, digest, _REFERRERS_NOTED_MAX)
    untagged.note_all(transaction, place, [*children, *about])
    return len(needs)
