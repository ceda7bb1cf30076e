"""Policies at work: manifests without a tag are deleted when the settings say so."""

from __future__ import annotations

from functools import partial

from dtrfast.index.engine import Engine, WriteTransaction
from dtrfast.index.tables import MANIFESTS, REPOSITORY_NAMES, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import keys, manifests, untagged
from dtrfast.registry.records import StoredManifest
from dtrfast.registry.writing import Author, Place
from dtrfast.store import policies
from dtrfast.times import rfc3339

ACTOR = "policy"
_STEP_MAX = 50  # manifests of a transaction


def step(engine: Engine, now: int) -> int:
    """Look at some manifests that have had no tag for long enough; returns how many."""
    with engine.read() as transaction:
        days = policies.read(transaction).untagged_days
        if not days:
            return 0
        before = now - int(days * policies.DAY_SECONDS)
        notes = untagged.due(transaction, before, _STEP_MAX)
    if notes:
        engine.write(partial(_delete, notes=notes, author=Author(ACTOR, now)))
    return len(notes)


def _delete(transaction: WriteTransaction, notes: list[bytes], author: Author) -> None:
    run = f"untagged {rfc3339(author.now)[:10]}"
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
