"""The users of a directory, from the entries of its user sets.

An entry that cannot be a user is skipped, but its id and its login are kept. Otherwise the account
that it already has would look like the account of a removed user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtrfast.identity.ldap.dn import first_value, key_of
from dtrfast.identity.ldap.entries import IdOf, LdapEntry
from dtrfast.identity.ldap.settings import UserSet
from dtrfast.identity.names import RESERVED, fold, is_account_name
from dtrfast.oci import characters

_FULL_NAME_LENGTH_MAX = 255
USERS = "users"


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """A user of the directory. `login` is the name of its account here.

    `full_name` is empty if the directory shows none.
    """

    stable_id: str
    dn: str
    login: str
    full_name: str
    # True if characters that no line may have were removed from the directory's full name.
    is_cleaned: bool = False


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """An entry that gets no account, with the reason. An account that it already has stays as it
    is.

    `stable_id` and `login` may be empty if the entry does not show them.
    """

    dn: str
    reason: str
    stable_id: str = ""
    login: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault: the directory does not have an object of the settings, or not as they describe it.

    `dn` is the object, and `subject` the thing that depends on it, such as a team. `is_believable`:
    the object exists and is empty, which may be right.
    """

    subject: str
    dn: str
    reason: str
    is_believable: bool = False


@dataclass(frozen=True, slots=True)
class People:
    """The users of the directory, each once by stable id, in the order of the user sets.

    If there are `problems`, users may be missing. `remarks` are faults that hide no user.
    """

    users: tuple[DirectoryUser, ...]
    skipped: tuple[SkippedEntry, ...]
    problems: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = ()


class PeopleCollector:
    """Collects the users of all user sets, and the problems of these sets."""

    def __init__(self, id_of: IdOf) -> None:
        self._id_of = id_of
        self._users: dict[str, DirectoryUser] = {}
        self._logins: dict[str, DirectoryUser] = {}
        self._skipped: list[SkippedEntry] = []
        self._problems: list[Problem] = []
        self._remarks: list[Problem] = []
        # User sets without a single full name: their attribute may be wrong.
        self.nameless: list[UserSet] = []

    def miss(self, user_set: UserSet, reason: str) -> None:
        """Add the problem that a user set is missing."""
        self._problems.append(Problem(USERS, user_set.base_dn, reason))

    def add(self, user_set: UserSet, entries: Sequence[LdapEntry]) -> None:
        """Add all entries of a user set, and its problems as a whole: no entries, or an attribute
        that none has.
        """
        if not entries:
            reason = f"no entry there matches the filter {user_set.filter[:200]}"
            self._problems.append(Problem(USERS, user_set.base_dn, reason, is_believable=True))
            return
        for field, attribute in (
            ("loginAttribute", user_set.login_attribute),
            ("idAttribute", self._id_of.attribute),
        ):
            if not any(entry.values(attribute) for entry in entries):
                reason = (
                    f"none of its {len(entries)} entries shows {attribute}: check {field}, and"
                    " whether the search account may read it"
                )
                self._problems.append(Problem(USERS, user_set.base_dn, reason))
        name = user_set.full_name_attribute
        if name and not any(entry.values(name) for entry in entries):
            self.nameless.append(user_set)
        for entry in entries:
            self._take(user_of(entry, user_set, self._id_of))

    def remark_full_names(self, user_set: UserSet) -> None:
        """Add the remark that no entry and no schema has the attribute of full names."""
        attribute = user_set.full_name_attribute
        reason = f"no entry and no schema knows {attribute}: check fullNameAttribute"
        self._remarks.append(Problem("full names", user_set.base_dn, reason))

    def people(self) -> People:
        """Return the collected users and problems."""
        return People(
            tuple(self._users.values()),
            tuple(self._skipped),
            tuple(self._problems),
            tuple(self._remarks),
        )

    def _take(self, found: DirectoryUser | SkippedEntry) -> None:
        """Add a user, unless an earlier one has its id or its login."""
        if isinstance(found, SkippedEntry):
            self._skipped.append(found)
            return
        known = self._users.get(found.stable_id)
        if known is not None:
            if key_of(known.dn) != key_of(found.dn):
                reason = f"its {self._id_of.attribute} is also that of {known.dn}"
                self._problems.append(Problem(USERS, found.dn, reason))
            return
        first = self._logins.setdefault(found.login, found)
        if first is not found:
            reason = f"the login {found.login} is that of {first.dn}"
            self._skipped.append(SkippedEntry(found.dn, reason, found.stable_id, found.login))
        else:
            self._users[found.stable_id] = found


def user_of(entry: LdapEntry, user_set: UserSet, id_of: IdOf) -> DirectoryUser | SkippedEntry:
    """Return the user of an entry, or the entry with the reason for which it cannot be a user."""
    logins = entry.texts(user_set.login_attribute)
    # The first level of a DN usually has the login, even if the attribute is hidden.
    given = logins[0] if logins else first_value(entry.dn, user_set.login_attribute)
    login = fold(given.partition("@")[0] if user_set.login_is_email else given)
    is_name = is_account_name(login) and login not in RESERVED
    stable_id = id_of(entry)
    skipped = SkippedEntry(entry.dn, "", stable_id, login if is_name else "")
    if not logins:
        return replace(skipped, reason=f"it shows no {user_set.login_attribute}")
    if not stable_id:
        return replace(skipped, reason=f"it shows no {id_of.attribute}")
    if not is_name:
        return replace(skipped, reason=f"{given[:80]!r} cannot be the name of an account")
    names = entry.texts(user_set.full_name_attribute) if user_set.full_name_attribute else []
    name = names[0] if names else ""
    full_name = characters.cleaned(name)
    return DirectoryUser(
        stable_id, entry.dn, login, full_name[:_FULL_NAME_LENGTH_MAX], full_name != name
    )
