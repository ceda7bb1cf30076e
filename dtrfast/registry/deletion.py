"""Deleting tags and images together: what goes with them, what still needs them, and the way back.

An image takes along what only it keeps: the images of an index that no tag and nothing else names.
All that one deletion puts into the trash has its *run*, so that one call brings it back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

import msgspec

from dtrfast.errors import ManifestBlobUnknown, ManifestUnknown
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, REFERENCES, TRASH, number_key, number_of
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry import (
    deleted,
    history,
    keys,
    links,
    manifests,
    outlines,
    repositories,
    restoring,
    tags,
)
from dtrfast.registry.budget import Budget
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.ownership import Claim
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.writing import Author, Place

# Images of an index that go with it. What is beyond stays without a tag, and is listed as such.
_FAMILY_MAX = 64
# Blobs and manifests that they name together: removing each takes some microseconds, in the
# transaction that removes the index.
_FAMILY_PARTS_MAX = 5_000
# Manifests that are looked at to learn that none of them keeps an image.
_USERS_SEEN_MAX = 200
# Steps of a budget, about 5 µs each, that deleting a tag and a manifest takes, without its blobs.
_TAG_STEPS = 40
_MANIFEST_STEPS = 60
# Steps that it takes to learn whether an image of an index is needed by something else.
_STEPS_OF_A_CHILD = 4
# Steps that one request takes to delete: 150 usual images.
DELETION_STEPS_MAX = 12_000
# Rows of the trash that one transaction restores: some milliseconds, as pushes wait for it.
_STEP_MAX = 50


class Gone(msgspec.Struct, frozen=True):
    """The manifests and tags that went with one reference. `steps`: the work it was."""

    manifests: tuple[Digest, ...]
    tags: tuple[str, ...]
    steps: int


class Back(msgspec.Struct, frozen=True):
    """What came out of the trash. `tags_taken` point at something else by now, and still do."""

    manifests: int
    tags: tuple[str, ...]
    tags_taken: tuple[str, ...]


# ---- what goes, and what needs it --------------------------------------------------------------
def family(
    transaction: ReadTransaction,
    repository: RepositoryId,
    chosen: Iterable[Digest],
    budget: Budget,
) -> dict[Digest, None]:
    """The manifests that deleting the chosen ones takes, those that are there. Where the budget
    ends, more stay.
    """
    going = {one: None for one in chosen if is_there(transaction, repository, one)}
    for root in tuple(going):
        parts = 0
        found = _only_of(transaction, repository, root, going, budget)
        for one in islice(found, _FAMILY_MAX):
            parts += _parts(transaction, repository, one, budget)
            if parts > _FAMILY_PARTS_MAX:
                break
            going[one] = None
    return going


def _parts(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, budget: Budget
) -> int:
    """The number of things that a manifest names; more than a family may, if that is not known."""
    found = outlines.look(transaction, repository, digest, budget)
    if found is None or found.outline is None:
        return _FAMILY_PARTS_MAX + 1
    return found.outline.parts


def _only_of(
    transaction: ReadTransaction,
    repository: RepositoryId,
    root: Digest,
    going: dict[Digest, None],
    budget: Budget,
) -> Iterator[Digest]:
    """What is kept by `root` and others that go, and by nothing else. The caller adds it to those
    that go before it asks for the next.
    """
    todo = [root]
    while todo:
        for child in _children(transaction, repository, todo.pop(), budget):
            if child in going:
                continue
            if not budget.take(_STEPS_OF_A_CHILD):
                return
            if _is_alone(transaction, repository, child, going):
                yield child
                todo.append(child)


def _children(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, budget: Budget
) -> Iterator[Digest]:
    found = outlines.look(transaction, repository, digest, budget)
    if found is not None and found.outline is not None:
        yield from map(Digest.from_key, outlines.split(found.outline.children))


def _is_alone(
    transaction: ReadTransaction,
    repository: RepositoryId,
    digest: Digest,
    going: dict[Digest, None],
) -> bool:
    if not is_there(transaction, repository, digest):
        return False
    if any(True for _ in tags.tags_of(transaction, repository, digest)):
        return False
    found = users(transaction, repository, digest, _USERS_SEEN_MAX)
    return len(found) < _USERS_SEEN_MAX and all(user in going for user in found)


def users(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, limit: int
) -> list[Digest]:
    """Up to `limit` indexes of the repository that name the manifest."""
    prefix = links.link_key(repository, digest)
    rows = transaction.scan(REFERENCES, prefix, limit=limit)
    return [Digest.from_key(key[len(prefix) :]) for key, _ in rows]


def is_only_in(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, index: Digest
) -> bool:
    """True if the manifest, or the blob of a build cache, goes when the index is deleted."""
    if not is_there(transaction, repository, digest):
        return users(transaction, repository, digest, 2) == [index]
    return _is_alone(transaction, repository, digest, {index: None})


def is_there(transaction: ReadTransaction, repository: RepositoryId, digest: Digest) -> bool:
    """True if the repository has the manifest, outside of its trash."""
    return transaction.get(MANIFESTS, keys.manifest_key(repository, digest)) is not None


# ---- deleting ----------------------------------------------------------------------------------
def new_run(now: int) -> str:
    """A name for a deletion. It begins with its time, which is where the trash has its rows."""
    return f"{now}-{secrets.token_hex(4)}"


def delete(  # noqa: PLR0913 - what a deletion says
    engine: Engine,
    permits: Permits,
    name: RepositoryName,
    reference: Reference,
    author: Author,
    run: str,
    steps_max: int | None = None,
) -> Gone | None:
    """Put a tag, or an image with all its tags and what only it keeps, into the trash. None, and
    nothing is done, if an image names more than `steps_max` things.

    Raises `ManifestUnknown`.
    """

    def change(transaction: WriteTransaction) -> Gone | None:
        permits.check(transaction, Action.DELETE, name)
        repository = repositories.find(transaction, name)
        if repository is None:
            raise ManifestUnknown(f"there is no {reference} in {name}", detail=str(reference))
        place = Place(repository, name, author)
        if isinstance(reference, Tag):
            return _delete_tag(transaction, place, reference, run)
        if steps_max is not None and _is_larger(transaction, place, reference, steps_max):
            return None
        return _delete_image(transaction, place, reference, run)

    return engine.write(change)


def _is_larger(transaction: ReadTransaction, place: Place, digest: Digest, parts_max: int) -> bool:
    """True if a manifest names more things. False if it is not there."""
    found = outlines.look(transaction, place.id, digest, Budget())
    if found is None:
        return False
    return found.outline is None or found.outline.parts > parts_max


def _delete_tag(transaction: WriteTransaction, place: Place, tag: Tag, run: str) -> Gone:
    if not tags.remove(transaction, place, tag, run):
        raise ManifestUnknown(f"there is no tag {tag} in {place.name}")
    return Gone((), (tag.text,), _TAG_STEPS)


def _delete_image(transaction: WriteTransaction, place: Place, digest: Digest, run: str) -> Gone:
    going = family(transaction, place.id, [digest], Budget())
    if not going:
        raise ManifestUnknown(f"there is no {digest} in {place.name}", detail=str(digest))
    names: list[str] = []
    steps = 0
    for one in going:
        names += [tag.text for tag in tags.tags_of(transaction, place.id, one)]
        stored = manifests.stored_manifest(transaction, place.id, one)
        assert stored is not None  # it was found in this transaction
        steps += _MANIFEST_STEPS + manifests.remove(transaction, place, one, stored, run)
    return Gone(tuple(going), tuple(names), steps + _TAG_STEPS * len(names))


# ---- the way back ------------------------------------------------------------------------------
def restore(
    engine: Engine, permits: Permits, name: RepositoryName, run: str, author: Author
) -> Back:
    """Bring back what one deletion put into the trash, as far as it is still there.

    Raises `ManifestUnknown` where nothing of it is.
    """
    with engine.read() as transaction:
        permits.check(transaction, Action.PUSH, name)
        repository = repositories.get(transaction, name)
        claim = permits.claim(transaction, name)
        rows = list(_rows_of_run(transaction, repository, run, claim))
    if not rows:
        raise ManifestUnknown("nothing of this deletion is in the trash any more")
    place = Place(repository, name, author)
    total = Back(0, (), ())
    for first in range(0, len(rows), _STEP_MAX):
        some = rows[first : first + _STEP_MAX]
        total = _sum(total, engine.write(partial(_restore, place=place, rows=some)))
    return total


def _rows_of_run(
    transaction: ReadTransaction, repository: RepositoryId, run: str, claim: Claim
) -> Iterator[tuple[str, Digest]]:
    """Manifests first, with an empty name; then tags and what they pointed at."""
    text = run.partition("-")[0]
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(1 << 62)):
        return
    prefix = number_key(min(int(text), 1 << 62))
    yield from _manifests_of_run(transaction, prefix + b"m" + number_key(repository), run, claim)
    yield from _tags_of_run(transaction, prefix + b"t" + number_key(repository), run, claim)


def _manifests_of_run(
    transaction: ReadTransaction, prefix: bytes, run: str, claim: Claim
) -> Iterator[tuple[str, Digest]]:
    for key, _ in transaction.scan(TRASH, prefix):
        digest = Digest.from_key(key[len(prefix) :])
        record = deleted.get(transaction, RepositoryId(number_of(key[9:])), digest, claim)
        if record is not None and record.run == run:
            yield "", digest


def _tags_of_run(
    transaction: ReadTransaction, prefix: bytes, run: str, claim: Claim
) -> Iterator[tuple[str, Digest]]:
    for key, _ in transaction.scan(TRASH, prefix):
        past = history.get(transaction, key[9:])
        is_of_run = past is not None and past.run == run
        if past is not None and is_of_run and claim.covers(past.owner, past.ended_at):
            yield history.tag_in(key[9:]), past.digest


def _restore(transaction: WriteTransaction, place: Place, rows: list[tuple[str, Digest]]) -> Back:
    count, names, taken = 0, [], []
    for tag, digest in rows:
        if not tag:
            count += _restore_manifest(transaction, place, digest)
            continue
        present = tags.resolve(transaction, place.id, Tag(tag))
        if present is not None and present.digest != digest:
            taken.append(tag)
        elif is_there(transaction, place.id, digest):
            if present is None:
                tags.put(transaction, place, Tag(tag), digest)
            names.append(tag)
    return Back(count, tuple(names), tuple(taken))


def _restore_manifest(transaction: WriteTransaction, place: Place, digest: Digest) -> bool:
    try:
        restoring.enter(transaction, place, digest)
    except (ManifestUnknown, ManifestBlobUnknown):
        return False
    return True


def _sum(one: Back, other: Back) -> Back:
    return Back(
        one.manifests + other.manifests,
        one.tags + other.tags,
        one.tags_taken + other.tags_taken,
    )
