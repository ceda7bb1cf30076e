"""The plan of a synchronization: its changes, decided before anything is written.

The directory's stable id identifies a user, so a new login renames the account and creates none.
Local accounts are never changed: a directory user with the same name is a conflict, which is
reported. The account of a user that left the directory becomes inactive and keeps everything.

An account stays as it is if its user's entry shows too little to be a user. Teams and
administrators stay as they are if their group is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from dtrfast.identity.ldap.people import USERS, DirectoryUser, People, Problem, SkippedEntry

# A synchronization may always remove this many: a small team may lose two members.
_ALWAYS_REMOVED = 2
_NAMES_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account before the synchronization. `stable_id` is empty for a local account."""

    id: int
    name: str
    stable_id: str
    is_active: bool
    is_admin: bool
    full_name: str


@dataclass(frozen=True, slots=True)
class AccountCreation:
    """An account to create for a user of the directory."""

    user: DirectoryUser
    is_admin: bool


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """An account to change. None: the field stays as it is."""

    account: KnownAccount
    name: str | None = None
    full_name: str | None = None
    is_active: bool | None = None
    is_admin: bool | None = None

    def describe(self) -> list[dict[str, str]]:
        """Return a line for each change, as the report shows it."""
        lines = []
        account = self.account.name
        if self.name is not None:
            lines.append({"change": "rename", "account": account, "to": self.name})
        if self.full_name is not None:
            lines.append({"change": "full name", "account": account, "to": self.full_name})
        if self.is_active is not None:
            change = "activate" if self.is_active else "deactivate"
            lines.append({"change": change, "account": account})
        if self.is_admin is not None:
            change = "make administrator" if self.is_admin else "make ordinary user"
            lines.append({"change": change, "account": account})
        return lines


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A user that joins or leaves a team. `login` is the account's name afterwards."""

    team_id: int
    stable_id: str
    login: str
    is_added: bool


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """The changes of a synchronization, in an order in which they can be made.

    `notes` are lines of the report about users that are not changed.
    """

    creates: tuple[AccountCreation, ...] = ()
    updates: tuple[AccountUpdate, ...] = ()
    memberships: tuple[MembershipChange, ...] = ()
    notes: tuple[dict[str, str], ...] = field(default=())
    problems: tuple[Problem, ...] = field(default=())

    def describe(self, teams: Mapping[int, str]) -> list[dict[str, str]]:
        """Return a line for each change and note, for a report. `teams` are names by id."""
        lines = [
            {"change": "create", "account": c.user.login, "dn": c.user.dn} for c in self.creates
        ]
        lines += [line for update in self.updates for line in update.describe()]
        for m in self.memberships:
            word = "add member" if m.is_added else "remove member"
            team = teams.get(m.team_id, str(m.team_id))
            lines.append({"change": word, "account": m.login, "team": team})
        return lines + list(self.notes)


@dataclass(frozen=True, slots=True)
class Removal:
    """The names that a plan removes from one thing, such as a team, and their count before."""

    subject: str
    names: tuple[str, ...]
    count_before: int

    def is_within(self, share_max: float) -> bool:
        """Return True if the names are few, or at most this share of all."""
        # A division, not a multiplication: 0.29 * 100 is less than 29.
        is_share = len(self.names) / max(1, self.count_before) <= share_max
        return is_share or len(self.names) <= _ALWAYS_REMOVED

    def __str__(self) -> str:
        shown = ", ".join(self.names[:_NAMES_SHOWN_MAX])
        more = len(self.names) - _NAMES_SHOWN_MAX
        tail = f" and {more} more" if more > 0 else ""
        return f"{self.subject}: {len(self.names)} of {self.count_before} ({shown}{tail})"


def identify(people: People, known: Iterable[KnownAccount]) -> People:
    """Return the people, with ids for skipped entries that show only a login of a known account."""
    ids = {account.name: account.stable_id for account in known if account.stable_id}
    skipped = tuple(
        one if one.stable_id else replace(one, stable_id=ids.get(one.login, ""))
        for one in people.skipped
    )
    return replace(people, skipped=skipped)


def plan(
    people: People,
    known: Iterable[KnownAccount],
    groups: Mapping[int, Set[str]],
    members: Mapping[int, Set[str]],
    admins: Set[str] | None,
) -> SyncPlan:
    """Return the changes that bring accounts and teams in line with the directory.

    `groups` has the stable ids in the group of each team, `members` those in the team now, by the
    team's id. A team that is not in `groups` stays as it is. `admins` are the stable ids of
    administrators; None: the directory does not decide.
    """
    accounts = list(known)
    mine = {account.stable_id: account for account in accounts if account.stable_id}
    users = _plan_users(people, accounts, admins)
    kept = {skipped.stable_id for skipped in people.skipped} - {""}
    present = kept | {user.stable_id for user in people.users}
    vanished = [a for i, a in mine.items() if i not in present and a.is_active]
    problems = []
    for skipped in people.skipped:
        if skipped.stable_id in mine:
            name = mine[skipped.stable_id].name
            reason = f"{skipped.reason}: the account {name} stays as it is"
            problems.append(Problem(f"account {name}", skipped.dn, reason))
    nameless = [s for s in people.skipped if not s.stable_id and not s.login]
    updates = list(users.updates)
    held: set[str] = set()
    if vanished and nameless:
        problems.append(_unclear(vanished, nameless))
        held = {account.stable_id for account in vanished}
    else:
        updates += [AccountUpdate(account, is_active=False) for account in vanished]
    changes = [
        m
        for m in _memberships(people, mine, groups, members)
        if m.is_added or m.stable_id not in held
    ]
    return replace(
        users, updates=tuple(updates), memberships=tuple(changes), problems=tuple(problems)
    )


def _plan_users(
    people: People, accounts: Sequence[KnownAccount], admins: Set[str] | None
) -> SyncPlan:
    """Return the part of the plan that follows from the directory's users and skipped entries."""
    mine = {account.stable_id: account for account in accounts if account.stable_id}
    names = {account.name: account for account in accounts}
    creates, updates = [], []
    notes = [
        {"change": "skip", "dn": skipped.dn, "reason": skipped.reason}
        for skipped in people.skipped
        if skipped.stable_id not in mine
    ]
    for user in people.users:
        is_admin = None if admins is None else user.stable_id in admins
        account = mine.get(user.stable_id)
        taken = names.get(user.login)
        if taken is not None and taken.stable_id != user.stable_id and not _frees(taken, people):
            whose = "another user of the directory" if taken.stable_id else "a local account"
            reason = f"{user.login} is the name of {whose}"
            notes.append({"change": "conflict", "dn": user.dn, "reason": reason})
            if account is None:
                continue
            user = replace(user, login=account.name)
        update = None if account is None else _difference(account, user, is_admin)
        if account is None:
            creates.append(AccountCreation(user, bool(is_admin)))
        elif update is not None:
            updates.append(update)
        is_renamed = account is None or (update is not None and update.full_name is not None)
        if user.is_cleaned and is_renamed:
            notes.append({"change": "full name cleaned", "account": user.login, "dn": user.dn})
    return SyncPlan(tuple(creates), tuple(updates), notes=tuple(notes))


def hold_names(decided: SyncPlan, people: People, used: Set[str]) -> SyncPlan:
    """Return the plan without renames and creations that existing repositories forbid.

    `used` are names that have repositories. Other changes of such a user stay in the plan. For
    example, a user that is no longer an administrator must not keep these rights because of a name.
    """
    held = _obstacles(decided, used)
    dns = {user.stable_id: user.dn for user in people.users}
    names = {u.account.stable_id: u.account.name for u in decided.updates}
    updates = (replace(u, name=None) if u.account.stable_id in held else u for u in decided.updates)
    members = (
        replace(m, login=names.get(m.stable_id, "")) if m.stable_id in held else m
        for m in decided.memberships
    )
    notes = [
        {"change": "conflict", "dn": dns[c.user.stable_id], "reason": held[c.user.stable_id]}
        for c in decided.creates
        if c.user.stable_id in held
    ]
    remedy = "keeps its name, and the directory's password is refused until that is solved"
    problems = [
        Problem(f"account {names[i]}", dns[i], f"{held[i]}: {names[i]} {remedy}")
        for i in sorted(held)
        if i in names
    ]
    return replace(
        decided,
        creates=tuple(c for c in decided.creates if c.user.stable_id not in held),
        updates=tuple(u for u in updates if u != AccountUpdate(u.account)),
        memberships=tuple(m for m in members if m.login),  # the others have no account
        notes=(*decided.notes, *notes),
        problems=(*decided.problems, *problems),
    )


def _obstacles(decided: SyncPlan, used: Set[str]) -> dict[str, str]:
    """Return the stable ids of users that cannot get their new names, with the reasons.

    A user that keeps a name blocks the next user that would get it, so this repeats until no user
    is added.
    """
    wanted = [(c.user.stable_id, "", c.user.login) for c in decided.creates]
    wanted += [(u.account.stable_id, u.account.name, u.name) for u in decided.updates if u.name]
    held: dict[str, str] = {}
    kept = {old for _, old, _ in wanted if old in used}
    count_before = -1
    while len(held) > count_before:
        count_before = len(held)
        for stable_id, old, new in wanted:
            reason = ""
            if old in used:
                reason = f"{old} has repositories, which its new name {new} would not have"
            elif new in kept:
                reason = f"the account {new} keeps its name"
            elif new in used:
                reason = f"there are repositories below {new}/, which it would get"
            if reason and stable_id not in held:
                held[stable_id] = reason
                kept.add(old)
    return held


def removals(
    decided: SyncPlan,
    known: Iterable[KnownAccount],
    members: Mapping[int, Collection[str]],
    teams: Mapping[int, str],
) -> list[Removal]:
    """Return the removals of the plan: from active users, administrators, and each team.

    `members` are the stable ids in each team before, and `teams` the names, both by the team's id.
    """
    mine = [a for a in known if a.stable_id and a.is_active]
    lost = [u.account.name for u in decided.updates if u.is_active is False]
    demoted = [
        u.account.name
        for u in decided.updates
        if u.account.is_admin and u.account.is_active and False in (u.is_admin, u.is_active)
    ]
    found = [
        Removal("active users", tuple(lost), len(mine)),
        Removal("administrators", tuple(demoted), sum(a.is_admin for a in mine)),
    ]
    for team_id, before in members.items():
        leaving = [
            m.login or m.stable_id
            for m in decided.memberships
            if m.team_id == team_id and not m.is_added
        ]
        subject = f"members of the team {teams.get(team_id, team_id)}"
        found.append(Removal(subject, tuple(leaving), len(before)))
    return [removal for removal in found if removal.names]


def _unclear(vanished: list[KnownAccount], nameless: list[SkippedEntry]) -> Problem:
    """Return the problem that `nameless` entries may be the users of the `vanished` accounts."""
    names = ", ".join(account.name for account in vanished[:_NAMES_SHOWN_MAX])
    reason = (
        f"{len(nameless)} entries show neither a login nor an id (such as this one), and may be"
        f" those of {len(vanished)} users who are not there any more ({names}): they stay active."
        " Let the search account read both attributes, or narrow the filter"
    )
    return Problem(USERS, nameless[0].dn, reason)


def _frees(taken: KnownAccount, people: People) -> bool:
    """Return True if this account gets another name in the same synchronization."""
    renamed = next((u for u in people.users if u.stable_id == taken.stable_id), None)
    return bool(taken.stable_id) and renamed is not None and renamed.login != taken.name


def _difference(
    account: KnownAccount, user: DirectoryUser, is_admin: bool | None
) -> AccountUpdate | None:
    """Return the changes of an account whose user is in the directory; None if there are none."""
    update = AccountUpdate(
        account,
        name=None if user.login == account.name else user.login,
        # A full name that the directory does not show is unknown, not empty.
        full_name=None if user.full_name in ("", account.full_name) else user.full_name,
        is_active=None if account.is_active else True,
        is_admin=None if is_admin in (None, account.is_admin) else is_admin,
    )
    return None if update == AccountUpdate(account) else update


def _memberships(
    people: People,
    mine: Mapping[str, KnownAccount],
    groups: Mapping[int, Set[str]],
    members: Mapping[int, Set[str]],
) -> list[MembershipChange]:
    """Return the changes of the teams in `groups`. See `plan` for the arguments."""
    logins = {stable_id: account.name for stable_id, account in mine.items()}
    logins |= {user.stable_id: user.login for user in people.users}
    # A skipped entry without an account cannot become a member.
    return [
        MembershipChange(
            team_id, stable_id, logins.get(stable_id, ""), is_added=stable_id in wanted
        )
        for team_id, wanted in groups.items()
        for stable_id in sorted(wanted ^ members.get(team_id, set()))
        if stable_id in logins
    ]
