"""The members of groups: missing is not empty.

A member is looked for by its name among the users that were read. A name that is none of theirs is
read: a user who was renamed in the meantime, a group inside the group, or nothing that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from dtrfast.identity.ldap import schema
from dtrfast.identity.ldap.dn import DnKey, key_of
from dtrfast.identity.ldap.entries import Entry, IdOf, read_all_values
from dtrfast.identity.ldap.people import People
from dtrfast.identity.ldap.schema import Absence, Schema
from dtrfast.identity.ldap.settings import GroupRef, UserSet
from dtrfast.identity.names import fold

# Names to look up for one group: more are members of another company, or a wrong user set.
_LOOKED_UP_MAX = 20_000
_CLASS = "objectClass"


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """The users in a group and in the groups inside it. With a `problem` they are not all."""

    stable_ids: frozenset[str] = frozenset()
    # Values that are no users of the user sets.
    strangers: tuple[str, ...] = ()
    # Names of the groups inside, by which a later reading knows that one of them is gone.
    inside: tuple[str, ...] = ()
    problem: str = ""
    # Nothing is missing: the group is there and has no members.
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class KnownUsers:
    """Users by all names that a group may have for them. A name that two share finds no user."""

    by_dn: Mapping[DnKey, str]
    by_login: Mapping[str, str]
    stable_ids: frozenset[str]
    # Where users are: an entry elsewhere may have the same id and is another one.
    places: tuple[DnKey, ...]

    @staticmethod
    def of(people: People, user_sets: Iterable[UserSet]) -> KnownUsers:
        by_dn: dict[DnKey, str] = {}
        stable_ids: set[str] = set()
        named = [(user.dn, user.stable_id) for user in people.users]
        named += [(skipped.dn, skipped.stable_id) for skipped in people.skipped]
        for dn, stable_id in named:
            key = key_of(dn)
            if key is not None and stable_id:
                by_dn[key] = stable_id if by_dn.get(key, stable_id) == stable_id else ""
                stable_ids.add(stable_id)
        by_login = {user.login: user.stable_id for user in people.users}
        places = tuple(key_of(user_set.base_dn) or () for user_set in user_sets)
        return KnownUsers(by_dn, by_login, frozenset(stable_ids), places)

    def find(self, value: str) -> str:
        """The stable id of a user; empty for what is none, or not for certain."""
        key = key_of(value)
        return self.by_login.get(fold(value), "") if key is None else self.by_dn.get(key, "")

    def holds(self, key: DnKey, stable_id: str) -> bool:
        """True for the id of a user, at a place where users are."""
        return stable_id in self.stable_ids and any(
            key[len(key) - len(place) :] == place for place in self.places
        )


class GroupReader:
    """Reads groups over one connection, each entry once."""

    def __init__(
        self,
        connection: Any,
        users: KnownUsers,
        id_of: IdOf,
        *,
        is_nesting: bool,
        known_groups: Set[DnKey],
    ) -> None:
        self._connection = connection
        self._users = users
        self._id_of = id_of
        self._is_nesting = is_nesting
        self._known_groups = known_groups
        self._schema: Schema | None = None
        self._read: dict[tuple[DnKey, str], tuple[Entry, list[str]] | None] = {}

    def read(self, group: GroupRef) -> GroupMembers:
        """The members of a group. What is missing is a problem and never an empty group."""
        found = self._entry(group.dn, group.member_attribute)
        if found is None:
            return GroupMembers(problem="it is not there, or the search account may not read it")
        entry, values = found
        if not values:
            return self._without_values(entry, group.member_attribute)
        return _Walk(self, group, values).result()

    def _without_values(self, entry: Entry, attribute: str) -> GroupMembers:
        absence = self.absence(entry, attribute)
        if absence == "empty":
            return GroupMembers(is_empty=True)
        classes = ", ".join(entry.texts(_CLASS))[:200]
        return GroupMembers(
            problem={
                "hidden": f"the search account may not read its {attribute}",
                "foreign": f"its classes ({classes}) have no attribute {attribute}",
                "unknown": f"it has no attribute {attribute}, and the schema that would tell"
                " whether it is empty cannot be read",
            }[absence]
        )

    def absence(self, entry: Entry, attribute: str) -> Absence:
        if self._schema is None:
            self._schema = schema.read(self._connection)
        return self._schema.absence(entry.texts(_CLASS), attribute)

    # ---- for a walk -----------------------------------------------------------------------------
    def user(self, value: str) -> str:
        return self._users.find(value)

    def user_of(self, entry: Entry) -> str:
        """The user whose entry this is, whatever its name was when users were read."""
        stable_id, key = self._id_of(entry), key_of(entry.dn)
        return stable_id if key and self._users.holds(key, stable_id) else ""

    def inside(self, dn: str, attribute: str) -> tuple[Entry, list[str]] | None:
        """The entry of a member, and its own members where they count."""
        return self._entry(dn, attribute)

    def was_group(self, key: DnKey) -> bool:
        return self._is_nesting and key in self._known_groups

    @property
    def is_nesting(self) -> bool:
        return self._is_nesting

    def _entry(self, dn: str, attribute: str) -> tuple[Entry, list[str]] | None:
        key = key_of(dn) or ()
        if (key, attribute) not in self._read:
            others = [_CLASS, self._id_of.attribute]
            self._read[key, attribute] = read_all_values(self._connection, dn, attribute, others)
        return self._read[key, attribute]


class _Walk:
    """Goes through a group and the groups inside it, each once, however they name each other."""

    def __init__(self, reader: GroupReader, group: GroupRef, values: list[str]) -> None:
        self._reader = reader
        self._attribute = group.member_attribute
        self._users: set[str] = set()
        self._strangers: list[str] = []
        self._inside: list[str] = []
        self._problem = ""
        self._seen = {key_of(group.dn)}
        self._waiting = [values]

    def result(self) -> GroupMembers:
        while self._waiting and not self._problem:
            for value in self._waiting.pop():
                self._take(value)
        if not self._problem and self._strangers and not self._users:
            self._problem = (
                f"none of its {len(self._strangers)} members is a user of the user sets"
                f" (such as {self._strangers[0][:120]})"
            )
        return GroupMembers(
            frozenset(self._users),
            tuple(self._strangers),
            tuple(self._inside),
            self._problem,
            not self._users and not self._strangers,
        )

    def _take(self, value: str) -> None:
        user = self._reader.user(value)
        key = key_of(value)
        if user:
            self._users.add(user)
        elif key is None:
            self._strangers.append(value)
        elif key and key not in self._seen:  # an empty name is a placeholder
            self._seen.add(key)
            if len(self._seen) > _LOOKED_UP_MAX:
                self._problem = f"more than {_LOOKED_UP_MAX:,} members are not in the user sets"
            else:
                self._look_up(value, key)

    def _look_up(self, dn: str, key: DnKey) -> None:
        found = self._reader.inside(dn, self._attribute)
        user = "" if found is None else self._reader.user_of(found[0])
        if user:
            self._users.add(user)
        elif found is None or not self._reader.is_nesting:
            self._take_stranger(dn, key)
        elif found[1]:
            self._inside.append(dn)
            self._waiting.append(found[1])
        else:
            self._take_without_values(dn, key, self._reader.absence(found[0], self._attribute))

    def _take_without_values(self, dn: str, key: DnKey, absence: Absence) -> None:
        if absence == "empty":
            self._inside.append(dn)
        elif absence == "hidden":
            self._problem = f"the search account may not read the members of {dn[:200]} inside it"
        else:
            self._take_stranger(dn, key)

    def _take_stranger(self, dn: str, key: DnKey) -> None:
        if self._reader.was_group(key):
            self._problem = f"the group {dn[:200]} inside it is gone, or may not be read any more"
        else:
            self._strangers.append(dn)
