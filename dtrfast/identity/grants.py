"""Grants of levels of access: functions over a transaction.

A *place* is a repository or a namespace. A *grantee* is a user or a team. Of two grants to one
user, directly or through teams, the greater counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Self

from dtrfast.errors import SettingsInvalid
from dtrfast.identity.change_record import record_change
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import GRANTEES, GRANTS, number_key, number_of
from dtrfast.registry.permits import EVERYTHING, NOTHING, Action
from dtrfast.registry.writing import Author


class Level(IntEnum):
    """A level of access. The numbers are on disk."""

    NONE = 0
    READ_ONLY = 1
    READ_WRITE = 2
    ADMIN = 3

    @property
    def text(self) -> str:
        """The name of the level, as the API has it."""
        return _TEXTS[self]

    @property
    def actions(self) -> Action:
        """The actions that the level allows."""
        return _ACTIONS[self]

    @staticmethod
    def parse(text: str) -> Level:
        """Return the level with this name, which is not NONE. Raises `SettingsInvalid`."""
        for level, name in _TEXTS.items():
            if name == text and level is not Level.NONE:
                return level
        raise SettingsInvalid(f"{text[:40]!r} is no level: use read-only, read-write or admin")


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
    """Return the highest level whose actions are all among these."""
    return max(level for level, held in _ACTIONS.items() if held & actions == held)


@dataclass(frozen=True, slots=True)
class GrantPlace:
    """The place of a grant: one repository, or all repositories of a namespace.

    `id` is the id of the repository, or of the namespace's account.
    """

    kind: bytes
    id: int

    def key(self) -> bytes:
        """Return the place as a part of a key in the index."""
        return self.kind + number_key(self.id)

    @classmethod
    def of_key(cls, key: bytes) -> Self:
        """The place with this key. The kind is not checked."""
        return cls(key[:1], number_of(key[1:]))


# Look-ups of up to this many grantees cost less than a scan.
_GRANTEES_FEW = 3
_REPOSITORY = b"r"
_NAMESPACE = b"n"


def repository_place(repository_id: int) -> GrantPlace:
    """Return one repository as a place."""
    return GrantPlace(_REPOSITORY, repository_id)


def namespace_place(account_id: int) -> GrantPlace:
    """Return all repositories of an account as a place."""
    return GrantPlace(_NAMESPACE, account_id)


def get(transaction: ReadTransaction, place: GrantPlace, grantee_id: int) -> Level:
    """Return the level that a grantee has at a place; NONE without a grant."""
    value = transaction.get(GRANTS, place.key() + number_key(grantee_id))
    return Level.NONE if value is None else Level(value[0])


def actions_at(
    transaction: ReadTransaction, place: GrantPlace, grantees: Sequence[int]
) -> list[Action]:
    """Return the actions of each grant of the grantees at a place.

    A user may be in many teams, and a place may have many grants. The function reads the fewer of
    both.
    """
    if not grantees:
        return []
    prefix = place.key()
    if len(grantees) > _GRANTEES_FEW:
        rows = list(transaction.scan(GRANTS, prefix, limit=len(grantees)))
        if len(rows) < len(grantees):
            wanted = set(grantees)
            found = (value for key, value in rows if number_of(key[len(prefix) :]) in wanted)
            return [Level(value[0]).actions for value in found]
    keys = [prefix + number_key(grantee) for grantee in grantees]
    return [Level(value[0]).actions for value in transaction.get_many(GRANTS, keys).values()]


def put(
    transaction: WriteTransaction, author: Author, place: GrantPlace, grantee_id: int, level: Level
) -> None:
    """Grant a level, in place of an earlier grant to the same grantee. `level` is not NONE."""
    value = bytes([level])
    transaction.put(GRANTS, place.key() + number_key(grantee_id), value)
    transaction.put(GRANTEES, number_key(grantee_id) + place.key(), value)
    record_change(transaction, author, "grant.set", _payload(place, grantee_id, level))


def remove(
    transaction: WriteTransaction, author: Author, place: GrantPlace, grantee_id: int
) -> bool:
    """Revoke a grant. Return False if there was none."""
    if transaction.pop(GRANTS, place.key() + number_key(grantee_id)) is None:
        return False
    transaction.delete(GRANTEES, number_key(grantee_id) + place.key())
    record_change(transaction, author, "grant.remove", _payload(place, grantee_id, Level.NONE))
    return True


def remove_grantee(transaction: WriteTransaction, author: Author, grantee_id: int) -> None:
    """Revoke all grants of a grantee."""
    for place, _ in list(of_grantee(transaction, grantee_id)):
        remove(transaction, author, place, grantee_id)


def remove_place(transaction: WriteTransaction, author: Author, place: GrantPlace) -> None:
    """Revoke all grants at a place."""
    for grantee_id, _ in list(at_place(transaction, place)):
        remove(transaction, author, place, grantee_id)


def clear_place(engine: Engine, author: Author, place: GrantPlace) -> None:
    """Take back all that was granted at a place, in a transaction of its own."""
    with engine.read() as transaction:
        has_grants = any(True for _ in at_place(transaction, place))
    if has_grants:
        engine.write(partial(remove_place, author=author, place=place))


def at_place(transaction: ReadTransaction, place: GrantPlace) -> Iterator[tuple[int, Level]]:
    """Yield the grants at a place: the grantee's id and the level, by the id."""
    prefix = place.key()
    for key, value in transaction.scan(GRANTS, prefix):
        yield number_of(key[len(prefix) :]), Level(value[0])


def of_grantee(transaction: ReadTransaction, grantee_id: int) -> Iterator[tuple[GrantPlace, Level]]:
    """Yield the grants of a grantee: the place and the level, namespaces first."""
    prefix = number_key(grantee_id)
    for key, value in transaction.scan(GRANTEES, prefix):
        yield GrantPlace.of_key(key[len(prefix) :]), Level(value[0])


def is_namespace(place: GrantPlace) -> bool:
    """Return True for a namespace, False for a repository."""
    return place.kind == _NAMESPACE


def _payload(
    place: GrantPlace, grantee_id: int, level: Level
) -> dict[str, str | int | bytes | None]:
    """Return the payload of a grant in the change log."""
    return {"place": place.key(), "grantee": grantee_id, "level": int(level)}
