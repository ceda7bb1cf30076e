"""The members of groups. A missing group is never taken for an empty one.

A member is first looked up by its name among the users of the user sets. For any other name, the
entry is read. It may be a user that was renamed in the meantime, a nested group, or an entry that
does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from dtrfast.identity.ldap import schema
from dtrfast.identity.ldap.dn import DnKey, key_of
from dtrfast.identity.ldap.entries import IdOf, LdapEntry, read_all_values
from dtrfast.identity.ldap.people import People
from dtrfast.identity.ldap.schema import Absence, Schema
from dtrfast.identity.ldap.settings import GroupRef, UserSet
from dtrfast.identity.names import fold

# Entries to read for one group. More mean that the user sets do not fit the group.
_LOOKED_UP_MAX = 20_000
_CLASS = "objectClass"


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """The users in a group and in its nested groups. If `problem` is set, some may be missing."""

    stable_ids: frozenset[str] = frozenset()
    # Values that do not name users of the user sets.
    strangers: tuple[str, ...] = ()
    # Names of the nested groups. With them, a later reading finds out that one of them is gone.
    inside: tuple[str, ...] = ()
    problem: str = ""
    # The group exists and has no members.
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class KnownUsers:
    """The users by the names that a group may have for them. A name of two users finds neither."""

    by_dn: Mapping[DnKey, str]
    by_login: Mapping[str, str]
    stable_ids: frozenset[str]
    # The bases of the user sets. An entry elsewhere with the same id is another object.
    places: tuple[DnKey, ...]

    @staticmethod
    def of(people: People, user_sets: Iterable[UserSet]) -> KnownUsers:
        """Return the known users: those in `people`, and entries that were skipped."""
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
        """Return the stable id of a user by its name or login; empty if it is not certain."""
        key = key_of(value)
        return self.by_login.get(fold(value), "") if key is None else self.by_dn.get(key, "")

    def holds(self, key: DnKey, stable_id: str) -> bool:
        """Return True if the id is a user's, and the name is below the base of a user set."""
        return stable_id in self.stable_ids and any(
            key[len(key) - len(place) :] == place for place in self.places
        )


class GroupReader:
    """Reads groups over one connection. It reads each entry once.

    `is_nesting`: members of nested groups count. `known_groups` are the nested groups that an
    earlier reading found.
    """

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
        self._read: dict[tuple[DnKey, str], tuple[LdapEntry, list[str]] | None] = {}

    def read(self, group: GroupRef) -> GroupMembers:
        """Return the members of a group. A missing entry is a problem of the result, not an empty
        group.
        """
        found = self.entry(group.dn, group.member_attribute)
        if found is None:
            return GroupMembers(problem="it is not there, or the search account may not read it")
        entry, values = found
        if values:
            return _GroupWalk(self, group, values).result()
        attribute = group.member_attribute
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

    def absence(self, entry: LdapEntry, attribute: str) -> Absence:
        """Return the reason for which an entry shows no such attribute. Reads the schema once."""
        if self._schema is None:
            self._schema = schema.read(self._connection)
        return self._schema.absence(entry.texts(_CLASS), attribute)

    # ---- for a walk -----------------------------------------------------------------------------
    def user(self, value: str) -> str:
        """Return the stable id of a user by its name or login; empty if there is none."""
        return self._users.find(value)

    def user_of(self, entry: LdapEntry) -> str:
        """Return the stable id of the entry's user, which may have been renamed; else empty."""
        stable_id, key = self._id_of(entry), key_of(entry.dn)
        return stable_id if key and self._users.holds(key, stable_id) else ""

    def was_group(self, key: DnKey) -> bool:
        """Return True if an earlier reading found a nested group with this name."""
        return self._is_nesting and key in self._known_groups

    @property
    def is_nesting(self) -> bool:
        """True if the members of nested groups count."""
        return self._is_nesting

    def entry(self, dn: str, attribute: str) -> tuple[LdapEntry, list[str]] | None:
        """Return an entry and its members by `attribute`; None if it is missing or hidden."""
        key = key_of(dn) or ()
        if (key, attribute) not in self._read:
            others = [_CLASS, self._id_of.attribute]
            self._read[key, attribute] = read_all_values(self._connection, dn, attribute, others)
        return self._read[key, attribute]


class _GroupWalk:
    """A walk through a group and its nested groups. It visits each group once, also in a cycle."""

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
        """Walk, and return the members. Call it once."""
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
        """Add a member by its value. Read its entry if it is no known user."""
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
        found = self._reader.entry(dn, self._attribute)
        user = "" if found is None else self._reader.user_of(found[0])
        if user:
            self._users.add(user)
        elif found is None or not self._reader.is_nesting:
            self._take_stranger(dn, key)
        elif found[1]:
            self._inside.append(dn)
            self._waiting.append(found[1])
        else:
            absence = self._reader.absence(found[0], self._attribute)
            if absence == "empty":
                self._inside.append(dn)
            elif absence == "hidden":
                name = dn[:200]
                self._problem = (
                    f"the search account may not read the members of the nested group {name}"
                )
            else:
                self._take_stranger(dn, key)

    def _take_stranger(self, dn: str, key: DnKey) -> None:
        if self._reader.was_group(key):
            self._problem = f"the nested group {dn[:200]} is gone, or may no longer be read"
        else:
            self._strangers.append(dn)
