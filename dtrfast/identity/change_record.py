"""The record of a change of accounts, access or settings. It also ends all earlier verdicts."""

from __future__ import annotations

from dtrfast.index import changes, epoch
from dtrfast.index.engine import WriteTransaction
from dtrfast.registry.writing import Author


def record_change(
    transaction: WriteTransaction,
    author: Author,
    kind: changes.Kind,
    payload: dict[str, str | int | bytes | None],
    repository: str = "",
) -> None:
    """Write a change into the change log, and advance the access epoch.

    `payload` has the fields that `kind` needs (`index.changes`). Call it in each transaction that
    changes something that a verdict depends on.
    """
    changes.record(
        transaction,
        kind,
        time=author.now,
        actor=author.actor,
        repository=repository,
        payload=payload,
    )
    epoch.advance(transaction)
