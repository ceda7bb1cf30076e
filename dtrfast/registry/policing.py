"""Policies at work: manifests without a tag are deleted when the settings say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, NUMBER_SIZE, REPOSITORY_NAMES, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import keys, manifests, ownership, policies, untagged
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, Place
from dtrfast.times import rfc3339

ACTOR = "policy"
_STEP_MAX = 50  # manifests of a transaction
_STEP_BYTES_MAX = 256 << 10  # of these manifests


@dataclass(frozen=True, slots=True)
class Policed:
    """The deletions of a policy's run in one repository, in one step. `owner`: its account's id."""

    name: RepositoryName
    repository: RepositoryId
    owner: int
    run: str
    count: int


def step(engine: Engine, now: int, tell: Callable[[Policed], None] = lambda done: None) -> int:
    """Look at some manifests that have had no tag for long enough; returns how many. `tell` gets
    what was deleted, once that is durable.
    """
    with engine.read() as transaction:
        days = policies.read(transaction).untagged_days
        if not days:
            return 0
        before = now - int(days * policies.DAY_SECONDS)
        notes = list(_some(transaction, untagged.due(transaction, before, _STEP_MAX)))
    if notes:
        for done in engine.write(partial(_delete, notes=notes, author=Author(ACTOR, now))):
            tell(done)
    return len(notes)


def _some(transaction: ReadTransaction, notes: Iterable[bytes]) -> Iterator[bytes]:
    """The first notes, up to a large manifest: it names so many blobs that it ends a step."""
    size = 0
    for note in notes:
        yield note
        size += len(transaction.get(MANIFESTS, note[NUMBER_SIZE:]) or b"")
        if size > _STEP_BYTES_MAX:
            return


def _delete(transaction: WriteTransaction, notes: list[bytes], author: Author) -> list[Policed]:
    run = f"untagged {rfc3339(author.now)[:10]}"
    counts: Counter[Place] = Counter()
    for note in notes:
        found = untagged.settle(transaction, note)
        if found is None:
            continue
        repository, digest = found
        name = transaction.get(REPOSITORY_NAMES, number_key(repository))
        data = transaction.get(MANIFESTS, keys.manifest_key(repository, digest))
        if name is not None and data is not None:
            place = Place(repository, RepositoryName(name.decode()), author)
            manifests.remove(transaction, place, digest, StoredManifest.decode(data), run)
            counts[place] += 1
    return [
        Policed(place.name, place.id, ownership.owner_of(transaction, place.name), run, count)
        for place, count in counts.items()
    ]
