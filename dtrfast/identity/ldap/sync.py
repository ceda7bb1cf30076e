"""What a synchronisation changes: decided from what both sides hold, before anything is written.

Users are told by the directory's stable id, so a rename is a rename and no new account. Accounts
of this registry's own are never touched: a directory's user of the same name is a conflict, which
is reported. Who vanished from the directory is made inactive and keeps everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from dtrfast.errors import Conflict
from dtrfast.identity.ldap.client import DirectoryUser, People


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account as it is. `stable_id` is empty for one of this registry's own."""

    id: int
    name: str
    stable_id: str
    is_active: bool
    is_admin: bool
    full_name: str


@dataclass(frozen=True, slots=True)
class Create:
    """A new account for a user of the directory."""

    user: DirectoryUser
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Update:
    """An account that changes: what is None stays."""

    account: KnownAccount
    name: str | None = None
    full_name: str | None = None
    is_active: bool | None = None
    is_admin: bool | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """A user who comes into a team, or goes out of it. `login` is the account's name afterwards."""

    team_id: int
    stable_id: str
    login: str
    is_added: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a synchronisation changes, in an order in which it can be done."""

    creates: tuple[Create, ...] = ()
    updates: tuple[Update, ...] = ()
    memberships: tuple[Membership, ...] = ()
    notes: tuple[dict[str, str], ...] = field(default=())

    def describe(self, teams: Mapping[int, str]) -> list[dict[str, str]]:
        """A line for each change, for who asks before it is done. `teams` are names by id."""
        lines = [
            {"change": "create", "account": c.user.login, "dn": c.user.dn} for c in self.creates
        ]
        lines += [line for update in self.updates for line in _describe(update)]
        for m in self.memberships:
            word = "add member" if m.is_added else "remove member"
            team = teams.get(m.team_id, str(m.team_id))
            lines.append({"change": word, "account": m.login, "team": team})
        return lines + list(self.notes)


def plan(
    people: People,
    known: Iterable[KnownAccount],
    groups: Mapping[int, Set[str]],
    members: Mapping[int, Set[str]],
    admins: Set[str] | None,
    *,
    allow_empty: bool = False,
) -> Plan:
    """What to change so that accounts and teams are as the directory says.

    `groups` and `members` are stable ids by team: those of the group, and those that are in the
    team. `admins` are the administrators' stable ids; None: the directory does not say.
    Raises `Conflict` when the directory has nobody, which is a wrong filter rather than the truth.
    """
    accounts = list(known)
    mine = {account.stable_id: account for account in accounts if account.stable_id}
    if not people.users and mine and not allow_empty:
        raise Conflict("the directory has no user at all: check the user sets, or allow that")
    names = {account.name: account for account in accounts}
    creates, updates = [], []
    notes = [{"change": "skip", "dn": s.dn, "reason": s.reason} for s in people.skipped]
    for user in people.users:
        is_admin = None if admins is None else user.stable_id in admins
        account = mine.get(user.stable_id)
        taken = names.get(user.login)
        if taken is not None and taken.stable_id != user.stable_id and not _frees(taken, people):
            notes.append(_conflict(user, taken))
            if account is None:
                continue
            user = DirectoryUser(user.stable_id, user.dn, account.name, user.full_name)
        if account is None:
            creates.append(Create(user, bool(is_admin)))
        else:
            update = _difference(account, user, is_admin)
            if update is not None:
                updates.append(update)
    present = {user.stable_id for user in people.users}
    updates += [
        Update(account, is_active=False)
        for stable_id, account in mine.items()
        if stable_id not in present and account.is_active
    ]
    changes = _memberships(people, mine, groups, members)
    return Plan(tuple(creates), tuple(updates), tuple(changes), tuple(notes))


def _frees(taken: KnownAccount, people: People) -> bool:
    """Whether the account that has a name gives it up in the same synchronisation."""
    renamed = next((u for u in people.users if u.stable_id == taken.stable_id), None)
    return bool(taken.stable_id) and renamed is not None and renamed.login != taken.name


def _difference(account: KnownAccount, user: DirectoryUser, is_admin: bool | None) -> Update | None:
    update = Update(
        account,
        name=None if user.login == account.name else user.login,
        full_name=None if user.full_name == account.full_name else user.full_name,
        is_active=None if account.is_active else True,
        is_admin=None if is_admin in (None, account.is_admin) else is_admin,
    )
    return None if update == Update(account) else update


def _memberships(
    people: People,
    mine: Mapping[str, KnownAccount],
    groups: Mapping[int, Set[str]],
    members: Mapping[int, Set[str]],
) -> list[Membership]:
    logins = {stable_id: account.name for stable_id, account in mine.items()}
    logins |= {user.stable_id: user.login for user in people.users}
    return [
        Membership(team_id, stable_id, logins.get(stable_id, ""), is_added=stable_id in wanted)
        for team_id, wanted in groups.items()
        for stable_id in sorted(wanted ^ members.get(team_id, set()))
    ]


def _conflict(user: DirectoryUser, taken: KnownAccount) -> dict[str, str]:
    whose = "another user of the directory" if taken.stable_id else "an account of this registry"
    return {"change": "conflict", "dn": user.dn, "reason": f"{user.login} is {whose}"}


def _describe(update: Update) -> list[dict[str, str]]:
    lines = []
    account = update.account.name
    if update.name is not None:
        lines.append({"change": "rename", "account": account, "to": update.name})
    if update.full_name is not None:
        lines.append({"change": "full name", "account": account, "to": update.full_name})
    if update.is_active is not None:
        lines.append(
            {"change": "activate" if update.is_active else "deactivate", "account": account}
        )
    if update.is_admin is not None:
        change = "make administrator" if update.is_admin else "make ordinary user"
        lines.append({"change": change, "account": account})
    return lines
