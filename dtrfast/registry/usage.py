"""How much room something takes, how much of it is its own, and what deleting it would free.

Every figure holds for one change number: if something changed meanwhile it is measured again, and
after some tries told as not exact. A request looks at a bounded number of rows; where there are
more, its figures are those of a part. Deleting frees nothing before the trash is over.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import msgspec

from dtrfast.errors import ManifestUnknown
from dtrfast.index import counters
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import (
    LINKS,
    MANIFESTS,
    META,
    REFERENCES,
    REFERENCES_DELETED,
    REPOSITORIES_TRASHED,
    REPOSITORY_NAMES,
    TRASH,
    USAGES,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.manifests import read_manifest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import deleted, deletion, links, outlines, repositories, tags
from dtrfast.registry.budget import Budget, unlimited
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.outlines import Outline
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import StoredManifest
from dtrfast.store.blobs import BlobStore

_TRIES = 3
# A layer that more repositories than this hold is nobody's to free.
_HOLDERS_MAX = 10_000
# The work of a request: rows that say what there is, rows of who holds it (to find the repositories
# that the caller may not see, and those that keep a blob), and steps of the store.
_ASK_STEPS = 4_000
_HOLDER_STEPS = 3_000
_STAY_STEPS = 8_000
_STORE_STEPS = 8_000
# Steps that it takes to learn whether the caller may see a repository.
_VERDICT_STEPS = 8
_REPOSITORY_STEPS = 4
_MANIFEST_STEPS = 3
_PARSE_STEPS = 15
# A measurement of more blobs is not done again when something changed meanwhile.
_AGAIN_BLOBS_MAX = 1_000


class Numbers(msgspec.Struct, frozen=True, array_like=True):
    """Sizes in bytes. `logical` is what a client that has nothing would pull, `stored` what lies on
    disk for it, of which `unique` is needed by nothing else. New fields come with a default.
    """

    version: int
    change_number: int
    is_exact: bool
    manifests: int
    blobs: int
    logical: int
    stored: int
    unique: int
    freed: int  # if it was deleted, once that is out of the trash
    is_part: bool = False  # there is more than one request looks at

    @property
    def shared(self) -> int:
        return self.stored - self.unique


@dataclass(slots=True)
class Asked:
    """What is asked about: blobs, the repositories that would let go of them, and those of them
    that something there keeps, be it a part of what is asked about that does not go.
    """

    manifests: int = 0
    manifest_bytes: int = 0
    blobs: dict[Digest, None] = field(default_factory=dict)
    leaving: set[RepositoryId] = field(default_factory=set)
    staying: set[Digest] = field(default_factory=set)
    staying_manifest_bytes: int = 0
    is_kept: bool = False  # deleting it frees nothing, since something keeps it


Ask = Callable[[ReadTransaction, Budget], Asked]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Numbers)


def measure(
    engine: Engine,
    blobs: BlobStore,
    ask: Ask,
    permits: Permits | None = None,
    *,
    is_request: bool = True,
) -> Numbers:
    """The numbers of what `ask` says, for a caller with these permits. They are as if there was
    nothing that the caller may not see: else they would tell what others hold. Then `unique` and
    `freed` are the most that they can be. With `is_request` at a bounded cost.
    """
    for _ in range(_TRIES):
        numbers, is_unchanged = _measure_once(engine, blobs, ask, permits, is_request)
        is_dear = is_request and numbers.blobs > _AGAIN_BLOBS_MAX
        if is_unchanged or is_dear:
            break
    return numbers


def _measure_once(
    engine: Engine, blobs: BlobStore, ask: Ask, permits: Permits | None, is_request: bool
) -> tuple[Numbers, bool]:
    """The numbers, and True if nothing changed meanwhile."""
    budget = Budget(steps_left=_ASK_STEPS) if is_request else unlimited()
    with engine.read() as transaction:
        before = _change_number(transaction)
        asked = ask(transaction, budget)
        leaving = asked.leaving
        if permits is not None:
            leaving = leaving | _unseen(transaction, asked, permits, budget)
    steps = Budget(steps_left=_STAY_STEPS) if is_request else unlimited()
    usage = blobs.measure(
        asked.blobs,
        partial(_stay, engine, leaving, asked.staying, steps),
        is_alone=permits is not None,
        steps_max=_STORE_STEPS if is_request else None,
    )
    with engine.read() as transaction:
        is_unchanged = _change_number(transaction) == before
    is_part = budget.is_spent or steps.is_spent or not usage.is_whole
    unique = usage.unique + asked.manifest_bytes - asked.staying_manifest_bytes
    numbers = Numbers(
        version=1,
        change_number=before,
        is_exact=is_unchanged and not is_part,
        manifests=asked.manifests,
        blobs=len(asked.blobs),
        logical=usage.size + asked.manifest_bytes,
        stored=usage.stored + asked.manifest_bytes,
        unique=unique,
        freed=0 if asked.is_kept else unique,
        is_part=is_part,
    )
    return numbers, is_unchanged


def _stay(
    engine: Engine,
    leaving: Set[RepositoryId],
    staying: Set[Digest],
    steps: Budget,
    contents: Sequence[Sequence[Digest]],
) -> list[bool]:
    """Answer `IsHeld` for the time after the deletion: True for a content that a repository still
    holds then.
    """
    with engine.read() as transaction:
        return [
            any(
                name in staying or _is_held_elsewhere(transaction, name, leaving, steps)
                for name in names
            )
            for names in contents
        ]


def _is_held_elsewhere(
    transaction: ReadTransaction, name: Digest, leaving: Set[RepositoryId], steps: Budget
) -> bool:
    """Return True if a repository that is not `leaving` holds the blob, and where there are no
    steps left to find out.
    """
    if steps.is_spent:
        return True
    limit = min(len(leaving), steps.steps_left) + 1
    holders = links.holders(transaction, name, limit)
    return not steps.take(len(holders)) or any(holder not in leaving for holder in holders)


def _unseen(
    transaction: ReadTransaction, asked: Asked, permits: Permits, budget: Budget
) -> set[RepositoryId]:
    """The repositories that hold some of the blobs, and that one may not know of. Blobs for which
    there is no budget left are dropped, so that the numbers tell nothing of who holds them.
    """
    steps = Budget(steps_left=_HOLDER_STEPS)
    is_seen: dict[RepositoryId, bool] = {}
    known: dict[Digest, None] = {}
    for blob in asked.blobs:
        holders = links.holders(transaction, blob, min(_HOLDERS_MAX, steps.steps_left + 1))
        new = [holder for holder in holders if holder not in is_seen]
        if not steps.take(1 + len(holders) + _VERDICT_STEPS * len(new)):
            budget.is_spent = True
            break
        is_seen |= {holder: _is_seen(transaction, holder, permits) for holder in new}
        known[blob] = None
    asked.blobs = known
    return {holder for holder, seen in is_seen.items() if not seen}


def _is_seen(transaction: ReadTransaction, repository: RepositoryId, permits: Permits) -> bool:
    name = transaction.get(REPOSITORY_NAMES, number_key(repository))
    return name is not None and permits.may(transaction, Action.PULL, RepositoryName(name.decode()))


def keep(engine: Engine, subject: str, numbers: Numbers) -> None:
    """Remember the numbers of a repository or a namespace, for lists."""
    key = subject.encode()
    engine.write(lambda transaction: transaction.put(USAGES, key, _encoder.encode(numbers)))


def kept(transaction: ReadTransaction, subject: str) -> Numbers | None:
    """What was remembered last; it holds for its change number."""
    data = transaction.get(USAGES, subject.encode())
    return None if data is None else _decoder.decode(data)


def _change_number(transaction: ReadTransaction) -> int:
    return counters.last(transaction, META, b"change_sequence")


# ---- what can be asked about -------------------------------------------------------------------
def of_blob(name: RepositoryName, digest: Digest) -> Ask:
    """A blob of a repository, as DELETE of the blob takes it."""

    def ask(transaction: ReadTransaction, budget: Budget) -> Asked:
        number = repositories.get(transaction, name)
        return Asked(blobs={digest: None}, leaving={number})

    return ask


def of_manifest(name: RepositoryName, reference: Reference) -> Ask:
    """A tag or a manifest, with the manifests of an index. What a deletion frees is told without
    those of them that something else keeps. Raises `ManifestUnknown`.
    """
    return partial(_ask_manifest, name=name, reference=reference)


def of_deletion(
    name: RepositoryName, digests: Iterable[Digest], family: Container[Digest] | None = None
) -> Ask:
    """Manifests that are deleted together, with what goes with them: the `family`, if known."""
    return partial(_ask_deletion, name=name, digests=tuple(digests), family=family)


def of_repository(name: RepositoryName) -> Ask:
    """A repository. Raises `RepositoryUnknown`."""

    def ask(transaction: ReadTransaction, budget: Budget) -> Asked:
        asked = Asked()
        _add_repository(transaction, asked, repositories.get(transaction, name), budget)
        return asked

    return ask


def of_namespace(namespace: str) -> Ask:
    """All repositories of an account."""

    def ask(transaction: ReadTransaction, budget: Budget) -> Asked:
        asked = Asked()
        for name in repositories.names_of(transaction, namespace):
            if not budget.take(_REPOSITORY_STEPS):
                break
            number = repositories.get(transaction, RepositoryName(name))
            _add_repository(transaction, asked, number, budget)
        return asked

    return ask


def of_trash(transaction: ReadTransaction, budget: Budget) -> Asked:
    """What only the trash holds: what emptying it would free."""
    asked = Asked()
    pairs: set[tuple[RepositoryId, Digest]] = set()
    for key, _ in transaction.scan(REPOSITORIES_TRASHED):
        repository = RepositoryId(number_of(key))
        pairs.update((repository, one) for one in _held(transaction, repository, budget))
    for key, _ in transaction.scan(TRASH):
        if not budget.take():
            break
        if key[8:9] == b"m":
            repository, digest = RepositoryId(number_of(key[9:])), Digest.from_key(key[17:])
            found = _of_deleted(transaction, repository, digest, budget)
            pairs.update((repository, blob) for blob in found)
    for repository, digest in pairs:
        asked.blobs[digest] = None
        asked.leaving.add(repository)
    holders = {d: links.holders(transaction, d, len(asked.leaving) + 1) for d in asked.blobs}
    asked.staying = {d for d, who in holders.items() if any((r, d) not in pairs for r in who)}
    return asked


def _of_deleted(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest, budget: Budget
) -> Iterator[Digest]:
    """Blobs that a deleted manifest keeps, and no other does."""
    record = deleted.get(transaction, repository, digest)
    if record is None or not budget.parse(len(record.stored)) or not budget.take(_PARSE_STEPS):
        return
    stored = record.manifest
    outline = outlines.outline_of(read_manifest(stored.body, stored.media_type), len(stored.body))
    for blob in _blobs_of(transaction, repository, outline):
        if not budget.take():
            return
        if not links.is_referenced(transaction, repository, blob):
            yield blob


def _blobs_of(
    transaction: ReadTransaction, repository: RepositoryId, outline: Outline
) -> Iterator[Digest]:
    """The blobs that a manifest names, and the entries of an index that are blobs: those of a
    build cache.
    """
    yield from map(Digest.from_key, outlines.split(outline.blobs))
    for key in outlines.split(outline.strangers):
        digest = Digest.from_key(key)
        if links.get(transaction, repository, digest) is not None:
            yield digest


def _held(
    transaction: ReadTransaction, repository: RepositoryId, budget: Budget
) -> Iterator[Digest]:
    prefix = number_key(repository)
    for key, _ in transaction.scan(LINKS, prefix):
        if not budget.take():
            return
        yield Digest.from_key(key[len(prefix) :])


def _add_repository(
    transaction: ReadTransaction, asked: Asked, repository: RepositoryId, budget: Budget
) -> None:
    asked.leaving.add(repository)
    asked.blobs.update(dict.fromkeys(_held(transaction, repository, budget)))
    for _, data in transaction.scan(MANIFESTS, number_key(repository)):
        # Reading a large one takes longer.
        if not budget.take(1 + (len(data) >> 14)):
            return
        asked.manifests += 1
        asked.manifest_bytes += len(StoredManifest.decode(data).body)


def _ask_manifest(
    transaction: ReadTransaction, budget: Budget, name: RepositoryName, reference: Reference
) -> Asked:
    repository = repositories.get(transaction, name)
    if isinstance(reference, Digest):
        digest = reference
    else:
        digest = tags.get(transaction, repository, name, reference).digest
    if not deletion.is_there(transaction, repository, digest):
        raise ManifestUnknown(f"there is no manifest {reference} in {name}", detail=str(reference))
    asked = _of_manifests(transaction, repository, [digest], budget)
    names = islice(tags.tags_of(transaction, repository, digest), 2)
    others = [tag for tag in names if isinstance(reference, Digest) or tag != reference]
    asked.is_kept = bool(others) and not isinstance(reference, Digest)
    return asked


def _ask_deletion(
    transaction: ReadTransaction,
    budget: Budget,
    name: RepositoryName,
    digests: tuple[Digest, ...],
    family: Container[Digest] | None,
) -> Asked:
    repository = repositories.get(transaction, name)
    return _of_manifests(transaction, repository, digests, budget, family)


def _of_manifests(
    transaction: ReadTransaction,
    repository: RepositoryId,
    chosen: Sequence[Digest],
    budget: Budget,
    family: Container[Digest] | None = None,
) -> Asked:
    asked = Asked(leaving={repository})
    going = family
    if going is None:
        part = Budget(steps_left=budget.steps_left // 2)
        going = deletion.family(transaction, repository, chosen, part)
        budget.is_spent |= part.is_spent
    seen: set[Digest] = set()
    for digest in chosen:
        for size, one in _add_manifest(transaction, asked, repository, digest, seen, budget):
            asked.staying_manifest_bytes += 0 if one in going else size
    steps = Budget(steps_left=max(_ASK_STEPS, budget.steps_left))
    asked.staying = {
        blob for blob in asked.blobs if _is_needed(transaction, repository, blob, going, steps)
    }
    budget.is_spent |= steps.is_spent
    return asked


def _add_manifest(
    transaction: ReadTransaction,
    asked: Asked,
    repository: RepositoryId,
    digest: Digest,
    seen: set[Digest],
    budget: Budget,
) -> Iterator[tuple[int, Digest]]:
    """Add a manifest and those of an index, as far as the budget goes; tells the size of each."""
    todo = [digest]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        if not budget.take(_MANIFEST_STEPS):
            return
        found = outlines.look(transaction, repository, one, budget)
        if found is None or found.outline is None:
            continue
        seen.add(one)
        outline = found.outline
        asked.manifests += 1
        asked.manifest_bytes += outline.manifest_size
        for blob in _blobs_of(transaction, repository, outline):
            if not budget.take():
                break
            asked.blobs[blob] = None
        # No more children than there is budget for.
        todo += map(Digest.from_key, islice(outlines.split(outline.children), budget.steps_left))
        yield outline.manifest_size, one


def _is_needed(
    transaction: ReadTransaction,
    repository: RepositoryId,
    blob: Digest,
    going: Container[Digest],
    steps: Budget,
) -> bool:
    """Return True if a manifest that does not go refers to the blob, be it in the trash, and where
    there are too many to look at.
    """
    prefix = links.link_key(repository, blob)
    for table in (REFERENCES, REFERENCES_DELETED):
        for key, _ in transaction.scan(table, prefix):
            if not steps.take() or Digest.from_key(key[len(prefix) :]) not in going:
                return True
    return False
