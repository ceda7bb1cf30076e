"""Restores of manifests and tags from the trash. Functions over a transaction."""

from __future__ import annotations

import msgspec

from dtrfast.errors import Conflict, ManifestBlobUnknown, ManifestUnknown
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS
from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.names import Tag
from dtrfast.registry import deleted, keys, links, manifests, repositories, tag_history, tags
from dtrfast.registry.holdings import ChangeRequest, RestoredManifest
from dtrfast.registry.ownership import ALL, Claim
from dtrfast.registry.permits import Action
from dtrfast.registry.writing import TargetRepository

# Steps of restoring a tag, or a manifest without its blobs, as a deletion counts them.
RESTORE_STEPS = 60


class Restoration(msgspec.Struct, frozen=True, rename="camel"):
    """The number of manifests that came back, and the tags. `tagsTaken` have another image by now.
    `left` are still in the trash, because one request restores only so much: request them again.
    """

    manifests: int = 0
    tags: tuple[str, ...] = ()
    tags_taken: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __add__(self, other: Restoration) -> Restoration:
        return Restoration(
            self.manifests + other.manifests,
            self.tags + other.tags,
            self.tags_taken + other.tags_taken,
            self.left + other.left,
        )


def restore_manifest(
    transaction: WriteTransaction, change: ChangeRequest, digest: Digest
) -> RestoredManifest:
    """See `Holdings.restore_manifest`."""
    target = _target(transaction, change)
    return enter(transaction, target, digest, change.permits.claim(transaction, change.name))


def restore_tag(
    transaction: WriteTransaction, change: ChangeRequest, tag: Tag, digest: Digest | None
) -> Digest:
    """See `Holdings.restore_tag`."""
    target = _target(transaction, change)
    claim = change.permits.claim(transaction, change.name)
    wanted = digest
    if wanted is None:
        states = tag_history.of_tag(transaction, target.id, tag, 1, claim)
        if not states:
            raise ManifestUnknown(f"nothing is known of an earlier {tag} in {target.name}")
        wanted = states[0].digest
    if transaction.get(MANIFESTS, keys.manifest_key(target.id, wanted)) is None:
        enter(transaction, target, wanted, claim, with_tags=False)
    tags.put(transaction, target, tag, wanted)
    return wanted


def _target(transaction: ReadTransaction, change: ChangeRequest) -> TargetRepository:
    change.permits.check(transaction, Action.PUSH, change.name)
    repository = repositories.get(transaction, change.name)
    return TargetRepository(repository, change.name, change.author)


def enter(
    transaction: WriteTransaction,
    target: TargetRepository,
    digest: Digest,
    claim: Claim = ALL,
    *,
    with_tags: bool = True,
) -> RestoredManifest:
    """Move a manifest from the trash back into its repository, with its tags that do not exist
    again. Raises what `Holdings.restore_manifest` does.
    """
    record = deleted.get(transaction, target.id, digest, claim)
    if record is None:
        there = transaction.get(MANIFESTS, keys.manifest_key(target.id, digest)) is not None
        if there:
            raise Conflict(f"{digest} is in {target.name}, not in its trash")
        raise ManifestUnknown(f"there is no {digest} in the trash of {target.name}")
    stored = record.manifest
    manifest = read_manifest(stored.body, stored.media_type)
    missing = links.missing(transaction, target.id, manifest.required_blobs())
    if missing:
        raise ManifestBlobUnknown(tuple(map(str, missing)))
    manifests.enter(transaction, target, digest, stored, manifest)
    parts = len(manifests.references(manifest))
    if not with_tags:
        return RestoredManifest(digest, (), (), parts)
    free = [t for t in record.tags if tags.resolve(transaction, target.id, Tag(t)) is None]
    for text in free:
        tags.put(transaction, target, Tag(text), digest)
    taken = tuple(text for text in record.tags if text not in free)
    return RestoredManifest(digest, tuple(free), taken, parts)
