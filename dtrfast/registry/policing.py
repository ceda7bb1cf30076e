"""The policy on untagged manifests: it deletes them after the days in the settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import MANIFESTS, REPOSITORY_NAMES, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import keys, manifests, ownership, policies, untagged
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, TargetRepository
from dtrfast.times import rfc3339

ACTOR = "policy"
_STEP_MAX = 50  # manifests that one transaction looks at
_STEP_BYTES_MAX = 256 << 10  # their size together


@dataclass(frozen=True, slots=True)
class PolicyDeletion:
    """The deletions of a policy in one repository, in one step. `owner` is the id of the account
    that owns the repository. `run` is the name that the trash has for the deletions of a day.
    """

    name: RepositoryName
    repository: RepositoryId
    owner: int
    run: str
    count: int


def step(
    engine: Engine, now: int, tell: Callable[[PolicyDeletion], None] = lambda done: None
) -> int:
    """Look at some manifests that have had no tag for the days of the policy, and delete them if
    nothing keeps them. Returns the number of manifests looked at. `tell` gets the deletions, once
    they are durable.
    """
    with engine.read() as transaction:
        days = policies.read(transaction).untagged_days
        if not days:
            return 0
        before = now - int(days * policies.DAY_SECONDS)
        notes = list(_first(transaction, untagged.due(transaction, before, _STEP_MAX)))
    if notes:
        for done in engine.write(partial(_delete, notes=notes, author=Author(ACTOR, now))):
            tell(done)
    return len(notes)


def _first(transaction: ReadTransaction, notes: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the first notes, up to `_STEP_BYTES_MAX`: a large manifest names many blobs, and each
    takes time.
    """
    size = 0
    for note in notes:
        yield note
        size += len(transaction.get(MANIFESTS, keys.noted_key(note)) or b"")
        if size > _STEP_BYTES_MAX:
            return


def _delete(
    transaction: WriteTransaction, notes: list[bytes], author: Author
) -> list[PolicyDeletion]:
    run = f"untagged {rfc3339(author.now)[:10]}"
    counts: Counter[TargetRepository] = Counter()
    for note in notes:
        found = untagged.settle(transaction, note)
        if found is None:
            continue
        repository, digest = found
        name = transaction.get(REPOSITORY_NAMES, number_key(repository))
        data = transaction.get(MANIFESTS, keys.manifest_key(repository, digest))
        if name is not None and data is not None:
            target = TargetRepository(repository, RepositoryName(name.decode()), author)
            manifests.remove(transaction, target, digest, StoredManifest.decode(data), run)
            counts[target] += 1
    return [
        PolicyDeletion(
            target.name, target.id, ownership.owner_of(transaction, target.name), run, count
        )
        for target, count in counts.items()
    ]
