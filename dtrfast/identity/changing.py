"""What every change of accounts, access and settings does besides: it is recorded, and verdicts
that were made before it end.
"""

from __future__ import annotations

from dtrfast.index import changes, epoch
from dtrfast.index.engine import WriteTransaction
from dtrfast.registry.writing import Author


def changed(
    transaction: WriteTransaction,
    author: Author,
    kind: changes.Kind,
    payload: dict[str, str | int | bytes | None],
    repository: str = "",
) -> None:
    """Note a change in the change log, and advance the access epoch."""
    changes.record(
        transaction,
        kind,
        time=author.now,
        actor=author.actor,
        repository=repository,
        payload=payload,
    )
    epoch.advance(transaction)
