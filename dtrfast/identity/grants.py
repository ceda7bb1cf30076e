"""What was granted to whom: functions over a transaction.

A *place* is a repository or a namespace, a *grantee* a user or a team. Grants add up: who is
granted twice has the greater.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from dtrfast.errors import SettingsInvalid
from dtrfast.identity.changing import changed
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import GRANTEES, GRANTS, number_key, number_of
from dtrfast.registry.permits import EVERYTHING, NOTHING, Action
from dtrfast.registry.writing import Author


class Level(IntEnum):
    """How much is granted. The numbers are on disk."""

    NONE = 0
    READ_ONLY = 1
    READ_WRITE = 2
    ADMIN = 3

    @property
    def text(self) -> str:
        return _TEXTS[self]

    @property
    def actions(self) -> Action:
        return _ACTIONS[self]

    @staticmethod
    def parse(text: str) -> Level:
        """The level of this name. Raises `SettingsInvalid`."""
        for level, name in _TEXTS.items():
            if name == text and level is not Level.NONE:
                return level
        raise SettingsInvalid(f"{text[:40]!r} is no level: read-only, read-write or admin")


_TEXTS = {
    Level.NONE: "none",
    Level.READ_ONLY: "read-only",
    Level.READ_WRITE: "read-write",
    Level.ADMIN: "admin",
}
_ACTIONS = {
    Level.NONE: NOTHING,
    Level.READ_ONLY: Action.PULL,
    Level.READ_WRITE: Action.PULL | Action.PUSH | Action.DELETE,
    Level.ADMIN: EVERYTHING,
}


def level_of(actions: Action) -> Level:
    """The level that these actions are, for who is told of it."""
    return max(level for level, held in _ACTIONS.items() if held & actions == held)


@dataclass(frozen=True, slots=True)
class GrantPlace:
    """Where a grant holds: one repository, or all of a namespace, by its number."""

    kind: bytes
    id: int

    def key(self) -> bytes:
        return self.kind + number_key(self.id)


_REPOSITORY = b"r"
_NAMESPACE = b"n"


def repository_place(repository_id: int) -> GrantPlace:
    return GrantPlace(_REPOSITORY, repository_id)


def namespace_place(account_id: int) -> GrantPlace:
    return GrantPlace(_NAMESPACE, account_id)


def get(transaction: ReadTransaction, place: GrantPlace, grantee_id: int) -> Level:
    value = transaction.get(GRANTS, place.key() + number_key(grantee_id))
    return Level.NONE if value is None else Level(value[0])


def put(
    transaction: WriteTransaction, author: Author, place: GrantPlace, grantee_id: int, level: Level
) -> None:
    """Grant, in place of what was granted there before. `level` is not NONE."""
    value = bytes([level])
    transaction.put(GRANTS, place.key() + number_key(grantee_id), value)
    transaction.put(GRANTEES, number_key(grantee_id) + place.key(), value)
    changed(transaction, author, "grant.set", _payload(place, grantee_id, level))


def remove(
    transaction: WriteTransaction, author: Author, place: GrantPlace, grantee_id: int
) -> bool:
    """Take a grant back; False if there was none."""
    if transaction.pop(GRANTS, place.key() + number_key(grantee_id)) is None:
        return False
    transaction.delete(GRANTEES, number_key(grantee_id) + place.key())
    changed(transaction, author, "grant.remove", _payload(place, grantee_id, Level.NONE))
    return True


def remove_grantee(transaction: WriteTransaction, author: Author, grantee_id: int) -> None:
    """Take back all that a grantee has."""
    for place, _ in list(of_grantee(transaction, grantee_id)):
        remove(transaction, author, place, grantee_id)


def remove_place(transaction: WriteTransaction, author: Author, place: GrantPlace) -> None:
    """Take back all that was granted there."""
    for grantee_id, _ in list(at_place(transaction, place)):
        remove(transaction, author, place, grantee_id)


def at_place(transaction: ReadTransaction, place: GrantPlace) -> Iterator[tuple[int, Level]]:
    """Grantees at a place, in the order of their ids."""
    prefix = place.key()
    for key, value in transaction.scan(GRANTS, prefix):
        yield number_of(key[len(prefix) :]), Level(value[0])


def of_grantee(transaction: ReadTransaction, grantee_id: int) -> Iterator[tuple[GrantPlace, Level]]:
    """Places of a grantee: namespaces first."""
    prefix = number_key(grantee_id)
    for key, value in transaction.scan(GRANTEES, prefix):
        place = key[len(prefix) :]
        yield GrantPlace(place[:1], number_of(place[1:])), Level(value[0])


def is_namespace(place: GrantPlace) -> bool:
    return place.kind == _NAMESPACE


def _payload(
    place: GrantPlace, grantee_id: int, level: Level
) -> dict[str, str | int | bytes | None]:
    return {"place": place.key(), "grantee": grantee_id, "level": int(level)}
