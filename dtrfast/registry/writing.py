"""The author and the target of a write, which the change log records with every change."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.index import changes
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.keys import RepositoryId


@dataclass(frozen=True, slots=True)
class Author:
    """The actor and the time of a change. They are fixed before the transaction, because the engine
    may run a transaction function twice.
    """

    actor: str
    now: int  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class TargetRepository:
    """A repository that a write transaction changes, by id and by name, and the author."""

    id: RepositoryId
    name: RepositoryName
    author: Author

    def record(
        self,
        transaction: WriteTransaction,
        kind: changes.Kind,
        payload: dict[str, str | int | bytes | None],
    ) -> int:
        """Record a change of this repository in the change log. Returns its sequence number."""
        return changes.record(
            transaction,
            kind,
            time=self.author.now,
            actor=self.author.actor,
            repository=self.name.text,
            payload=payload,
        )
