"""What a synchronisation changes: decided from what both sides hold, before anything is written.

Users are told by the directory's stable id, so a rename is a rename and no new account. Accounts
of this registry's own are never touched: a directory's user of the same name is a conflict, which
is reported. Who vanished from the directory is made inactive and keeps everything.

An account whose user is there, and shows too little to be one now, stays as it is. What a missing
group decides stays as it is, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from dtrfast.identity.ldap.people import USERS, DirectoryUser, People, Problem, Skipped

# So many leave anything without a question: a small team may lose two.
_ALWAYS_REMOVED = 2
_NAMES_SHOWN_MAX = 20


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
    problems: tuple[Problem, ...] = field(default=())

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


@dataclass(frozen=True, slots=True)
class Removal:
    """Names that leave one thing, such as a team, of all that were in it."""

    subject: str
    names: tuple[str, ...]
    count_before: int

    def is_within(self, share_max: float) -> bool:
        # Divided and not multiplied: 0.29 * 100 is less than 29.
        is_share = len(self.names) / max(1, self.count_before) <= share_max
        return is_share or len(self.names) <= _ALWAYS_REMOVED

    def __str__(self) -> str:
        shown = ", ".join(self.names[:_NAMES_SHOWN_MAX])
        more = len(self.names) - _NAMES_SHOWN_MAX
        tail = f" and {more} more" if more > 0 else ""
        return f"{self.subject}: {len(self.names)} of {self.count_before} ({shown}{tail})"


def identify(people: People, known: Iterable[KnownAccount]) -> People:
    """The same, with the ids of accounts whose entries show a login and no id any more."""
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
) -> Plan:
    """What to change so that accounts and teams are as the directory says.

    `groups` and `members` are by team: the users of its group, and those that are in the team.
    Teams that are not in `groups` stay as they are. `admins` are the administrators' stable ids;
    None: the directory does not say.
    """
    accounts = list(known)
    mine = {account.stable_id: account for account in accounts if account.stable_id}
    names = {account.name: account for account in accounts}
    kept = {skipped.stable_id for skipped in people.skipped} - {""}
    creates, updates = [], []
    notes = [_skip(skipped) for skipped in people.skipped if skipped.stable_id not in mine]
    for user in people.users:
        is_admin = None if admins is None else user.stable_id in admins
        account = mine.get(user.stable_id)
        taken = names.get(user.login)
        if taken is not None and taken.stable_id != user.stable_id and not _frees(taken, people):
            notes.append(_conflict(user, taken))
            if account is None:
                continue
            user = replace(user, login=account.name)
        update = None if account is None else _difference(account, user, is_admin)
        if account is None:
            creates.append(Create(user, bool(is_admin)))
        elif update is not None:
            updates.append(update)
        is_renamed = account is None or (update is not None and update.full_name is not None)
        if user.is_cleaned and is_renamed:
            notes.append({"change": "full name cleaned", "account": user.login, "dn": user.dn})
    present = kept | {user.stable_id for user in people.users}
    vanished = [a for i, a in mine.items() if i not in present and a.is_active]
    problems = [_kept(skipped, mine) for skipped in people.skipped if skipped.stable_id in mine]
    nameless = [s for s in people.skipped if not s.stable_id and not s.login]
    held: set[str] = set()
    if vanished and nameless:
        problems.append(_unclear(vanished, nameless))
        held = {account.stable_id for account in vanished}
    else:
        updates += [Update(account, is_active=False) for account in vanished]
    changes = [
        m
        for m in _memberships(people, mine, groups, members)
        if m.is_added or m.stable_id not in held
    ]
    return Plan(tuple(creates), tuple(updates), tuple(changes), tuple(notes), tuple(problems))


def hold_names(decided: Plan, people: People, used: Set[str]) -> Plan:
    """The plan, without new names that repositories stand in the way of.

    `used` are names that have repositories. What else changes of such a user stays in the plan:
    an administrator who was demoted must not keep the rights because of a name.
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
    return replace(
        decided,
        creates=tuple(c for c in decided.creates if c.user.stable_id not in held),
        updates=tuple(u for u in updates if u != Update(u.account)),
        memberships=tuple(m for m in members if m.login),  # the others have no account
        notes=(*decided.notes, *notes),
        problems=(
            *decided.problems,
            *(_keeps(names[i], dns[i], held[i]) for i in sorted(held) if i in names),
        ),
    )


def _obstacles(decided: Plan, used: Set[str]) -> dict[str, str]:
    """Reasons by the ids of users that cannot have their new names. A name that is kept is in the
    way of the next user.
    """
    wanted = [(c.user.stable_id, "", c.user.login) for c in decided.creates]
    wanted += [(u.account.stable_id, u.account.name, u.name) for u in decided.updates if u.name]
    held: dict[str, str] = {}
    kept = {old for _, old, _ in wanted if old in used}
    count_before = -1
    while len(held) > count_before:
        count_before = len(held)
        for stable_id, old, new in wanted:
            reason = _obstacle(old, new, used, kept)
            if reason and stable_id not in held:
                held[stable_id] = reason
                kept.add(old)
    return held


def _obstacle(old: str, new: str, used: Set[str], kept: Set[str]) -> str:
    if old in used:
        return f"{old} has repositories, which its new name {new} would not have"
    if new in kept:
        return f"the account {new} keeps its name"
    return f"there are repositories below {new}/, which it would get" if new in used else ""


def _keeps(name: str, dn: str, reason: str) -> Problem:
    remedy = f"{name} keeps its name, and the directory's password is refused until that is solved"
    return Problem(f"account {name}", dn, f"{reason}: {remedy}")


def removals(
    decided: Plan,
    known: Iterable[KnownAccount],
    members: Mapping[int, Collection[str]],
    teams: Mapping[int, str],
) -> list[Removal]:
    """Each thing from which the plan removes users: accounts, administrators, teams."""
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


def _skip(skipped: Skipped) -> dict[str, str]:
    return {"change": "skip", "dn": skipped.dn, "reason": skipped.reason}


def _kept(skipped: Skipped, mine: Mapping[str, KnownAccount]) -> Problem:
    name = mine[skipped.stable_id].name
    reason = f"{skipped.reason}: the account {name} stays as it is"
    return Problem(f"account {name}", skipped.dn, reason)


def _unclear(vanished: list[KnownAccount], nameless: list[Skipped]) -> Problem:
    """Entries that show neither a login nor an id may be those of accounts that seem to be gone."""
    names = ", ".join(account.name for account in vanished[:_NAMES_SHOWN_MAX])
    reason = (
        f"{len(nameless)} entries show neither a login nor an id (such as this one), and may be"
        f" those of {len(vanished)} users who are not there any more ({names}): they stay active."
        " Let the search account read both attributes, or narrow the filter"
    )
    return Problem(USERS, nameless[0].dn, reason)


def _frees(taken: KnownAccount, people: People) -> bool:
    """Whether the account that has a name gives it up in the same synchronisation."""
    renamed = next((u for u in people.users if u.stable_id == taken.stable_id), None)
    return bool(taken.stable_id) and renamed is not None and renamed.login != taken.name


def _difference(account: KnownAccount, user: DirectoryUser, is_admin: bool | None) -> Update | None:
    update = Update(
        account,
        name=None if user.login == account.name else user.login,
        # A name that the directory does not show is no empty one.
        full_name=None if user.full_name in ("", account.full_name) else user.full_name,
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
    # An entry that was skipped, and never had an account, has none to add.
    return [
        Membership(team_id, stable_id, logins.get(stable_id, ""), is_added=stable_id in wanted)
        for team_id, wanted in groups.items()
        for stable_id in sorted(wanted ^ members.get(team_id, set()))
        if stable_id in logins
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
