"""Who changes something, and when: what every change of the registry carries."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.index import changes
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.keys import RepositoryId


@dataclass(frozen=True, slots=True)
class Author:
    """Fixed before the transaction, so that a change that runs twice does the same twice."""

    actor: str
    now: int  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Place:
    """A repository inside a write, under both of its names, and who writes."""

    id: RepositoryId
    name: RepositoryName
    author: Author

    def record(
        self,
        transaction: WriteTransaction,
        kind: changes.Kind,
        payload: dict[str, str | int | bytes | None],
    ) -> int:
        """Note a change of this repository in the change log; returns its sequence number."""
        return changes.record(
            transaction,
            kind,
            time=self.author.now,
            actor=self.author.actor,
            repository=self.name.text,
            payload=payload,
        )
