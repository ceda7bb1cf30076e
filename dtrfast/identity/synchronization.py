"""The synchronization of accounts and teams with the LDAP directory, in three steps.

1. Read: the whole directory, before anything is decided. If the connection breaks, nothing changes.
2. Decide: the plan (`ldap.sync_plan`). If a user set is missing, nothing changes. If a group is
missing,
   nothing that depends on it changes. If the plan removes more than the settings allow, nothing
   changes unless removals are allowed.
3. Write: the plan, in a few transactions. A change that fails does not undo others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from dtrfast.errors import Conflict, DtrfastError
from dtrfast.identity import accounts, settings, teams
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.events import Detail, Event, Events, Outcome
from dtrfast.identity.ldap.client import LdapDirectory
from dtrfast.identity.ldap.groups import GroupMembers
from dtrfast.identity.ldap.people import People, Problem
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings
from dtrfast.identity.ldap.sync_plan import (
    AccountCreation,
    AccountUpdate,
    KnownAccount,
    MembershipChange,
    Removal,
    SyncPlan,
    hold_names,
    identify,
    plan,
    removals,
)
from dtrfast.identity.names import AccountName
from dtrfast.identity.records import Account, Team
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import META
from dtrfast.oci import characters
from dtrfast.registry.writing import Author

log = logging.getLogger("dtrfast.ldap")

# Problems of one synchronization in the server's log. The report has all of them.
_PROBLEMS_LOGGED_MAX = 20
# Changes in one transaction. They take a few milliseconds, so that pushes need not wait long.
_BATCH = 100
_STATE = b"ldap_synchronised"


class SyncProblem(msgspec.Struct, frozen=True, rename="camel"):
    """An object that is missing in the directory. `subject` depends on it and stays as it is."""

    subject: str
    dn: str
    reason: str


class SyncReport(msgspec.Struct, frozen=True):
    """The report of a synchronization, or of a dry run. `started_at` is seconds since the epoch.

    With an `error` nothing was changed, and `changes` are those of the plan. `inside` are the names
    of nested groups: the next synchronization must find them again.
    """

    started_at: int
    seconds: float
    dry_run: bool
    users: int
    changes: list[dict[str, str]]
    error: str = ""
    problems: list[SyncProblem] = []
    inside: list[str] = []


@dataclass(frozen=True, slots=True)
class _RegistryState:
    """The accounts and teams of this registry, as the plan needs them.

    `teams` are those of type `ldap`, with the ids of their organizations. `names` and `members` are
    by the team's id. `inside` are the nested groups of the last report.
    """

    known: list[KnownAccount]
    teams: list[tuple[int, Team]]
    names: dict[int, str]
    members: dict[int, set[str]]
    inside: list[str]


@dataclass(frozen=True, slots=True)
class _Groups:
    """The members of the groups of teams and of administrators. Missing groups are left out."""

    by_team: dict[int, Set[str]]
    admins: Set[str] | None
    inside: list[str]
    problems: list[Problem]
    notes: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Decision:
    """A plan with its report. `error` is the reason for which it must not be carried out."""

    plan: SyncPlan
    users: int
    changes: list[dict[str, str]]
    problems: list[Problem]
    inside: list[str]
    error: str = ""


def synchronize(
    engine: Engine,
    ldap: LdapSettings,
    author: Author,
    *,
    dry_run: bool = False,
    allow_removals: bool = False,
    directory: Callable[[LdapSettings], LdapDirectory] = LdapDirectory,
) -> SyncReport:
    """Synchronize once, and return the report. A `dry_run` writes nothing.

    `allow_removals` accepts empty user sets and groups, and more removals than the settings allow.
    Raises `DirectoryUnavailable`.
    """
    began = time.monotonic()
    decision = _decide(engine, ldap, directory(ldap), allow_removals=allow_removals)
    changes, problems = decision.changes, decision.problems
    if not dry_run and not decision.error:
        failed = _apply(engine, author, decision.plan)
        changes = changes + failed
        # A change fails if accounts or repositories changed after the decision.
        problems = [*problems, *(Problem("a change", "", line["reason"]) for line in failed)]
    return SyncReport(
        author.now,
        round(time.monotonic() - began, 3),
        dry_run,
        decision.users,
        changes,
        decision.error,
        # Texts of the directory may have control characters.
        [
            SyncProblem(*(characters.shown(text) for text in (p.subject, p.dn, p.reason)))
            for p in problems
        ],
        decision.inside,
    )


def preview(engine: Engine, ldap: LdapSettings, author: Author) -> SyncReport:
    """Return the report of a dry run. If the directory is unavailable, the report has the error."""
    try:
        return synchronize(engine, ldap, author, dry_run=True)
    except DtrfastError as error:
        return SyncReport(author.now, 0.0, True, 0, [], error.message)


def _decide(
    engine: Engine, ldap: LdapSettings, directory: LdapDirectory, *, allow_removals: bool
) -> _Decision:
    people = directory.people()
    with engine.read() as transaction:
        here = _registry_state(transaction)
    is_first = not any(account.stable_id for account in here.known)
    missing = [p for p in people.problems if not (p.is_believable and allow_removals)]
    if missing and not (is_first and all(problem.is_believable for problem in missing)):
        error = _user_sets_error(missing)
        return _Decision(SyncPlan(), len(people.users), [], missing, here.inside, error)
    people = identify(people, here.known)
    groups = _groups(ldap, directory, people, here, allow_removals=allow_removals)
    decided = plan(people, here.known, groups.by_team, here.members, groups.admins)
    with engine.read() as transaction:
        decided = hold_names(decided, people, _used_names(transaction, decided))
    found = removals(decided, here.known, here.members, here.names)
    excess = [removal for removal in found if not removal.is_within(ldap.removal_share_max)]
    error = "" if allow_removals or not excess else _removals_error(excess, ldap)
    # After an error or a problem, this synchronization may not have read all groups. So the report
    # keeps the nested groups of the last one.
    before = here.inside if (error or groups.problems) and not allow_removals else ()
    return _Decision(
        decided,
        len(people.users),
        [
            {name: characters.shown(value) for name, value in line.items()}
            for line in (*decided.describe(here.names), *groups.notes)
        ],
        [*missing, *people.remarks, *groups.problems, *decided.problems],
        sorted({*groups.inside, *before}),
        error,
    )


def _used_names(transaction: ReadTransaction, decided: SyncPlan) -> set[str]:
    """Return the names in the plan, old and new, that have repositories."""
    names = {create.user.login for create in decided.creates}
    for update in decided.updates:
        names |= {update.account.name, update.name} if update.name else set()
    return {name for name in names if accounts.owns_repositories(transaction, name)}


def _groups(
    ldap: LdapSettings,
    directory: LdapDirectory,
    people: People,
    here: _RegistryState,
    *,
    allow_removals: bool,
) -> _Groups:
    """Read the groups of teams and of administrators. Missing groups become problems."""
    refs = [
        GroupRef(dn=team.group_dn, member_attribute=team.member_attribute or "member")
        for _, team in here.teams
    ]
    wanted = refs if ldap.admin_group is None else [*refs, ldap.admin_group]
    found = directory.members(wanted, people, () if allow_removals else here.inside)
    read = _Groups({}, None, [], [], [])
    for (_, team), ref, members in zip(here.teams, refs, found, strict=False):
        subject = f"team {here.names[team.id]}"
        _take_group(read, subject, ref, members)
        if not members.problem:
            read.by_team[team.id] = members.stable_ids
    if ldap.admin_group is None:
        return read
    admins = found[-1]
    if admins.is_empty and not allow_removals:
        admins = replace(admins, problem="it is empty: administrators stay as they are")
    _take_group(read, "administrators", ldap.admin_group, admins)
    return read if admins.problem else replace(read, admins=admins.stable_ids)


def _take_group(read: _Groups, subject: str, ref: GroupRef, members: GroupMembers) -> None:
    """Add a group's nested groups, its problem, and a note about members that are no users."""
    read.inside.extend(members.inside)
    if members.problem:
        read.problems.append(Problem(subject, ref.dn, members.problem))
    elif members.strangers:
        count, first = len(members.strangers), members.strangers[0][:200]
        reason = f"{count} members are not users of the user sets (such as {first})"
        read.notes.append({"change": "unknown members", "dn": ref.dn, "reason": reason})


def _user_sets_error(problems: Sequence[Problem]) -> str:
    found = "; ".join(f"the user set {p.dn}: {p.reason}" for p in problems)
    remedy = "correct the settings or the directory"
    if all(problem.is_believable for problem in problems):
        remedy += ", or accept it with --allow-removals (allowRemovals in the API)"
    return characters.shown(f"nothing was changed: {found}: {remedy}")


def _removals_error(excess: Sequence[Removal], ldap: LdapSettings) -> str:
    found = "; ".join(str(removal) for removal in excess)
    return characters.shown(
        "nothing was changed: the directory would take away more than"
        f" {100 * ldap.removal_share_max:g}% of {found}: look at a dry run, and if that is right,"
        " synchronize with --allow-removals (allowRemovals in the API)"
    )


def _registry_state(transaction: ReadTransaction) -> _RegistryState:
    """Read the state of this registry for a plan."""
    people = {a.id: a for a in accounts.scan(transaction) if a.is_user}
    bound = [(n, team) for n, team in teams.scan_all(transaction) if team.type == "ldap"]
    members = {}
    for _, team in bound:
        inside = (people.get(number) for _, number in teams.members(transaction, team))
        members[team.id] = {a.directory_id for a in inside if a is not None and a.directory_id}
    known = [
        KnownAccount(a.id, a.name, a.directory_id, a.is_active, a.is_admin, a.full_name)
        for a in accounts.scan(transaction)
    ]
    names = {}
    for number, team in bound:
        organization = accounts.find_id(transaction, number)
        names[team.id] = f"{organization.name if organization else number}/{team.name}"
    before = _last(transaction)
    return _RegistryState(known, bound, names, members, [] if before is None else before.inside)


# ---- writing ---------------------------------------------------------------------------------
Step = Callable[[WriteTransaction, Author], None]


def _apply(engine: Engine, author: Author, decided: SyncPlan) -> list[dict[str, str]]:
    """Make the changes of a plan. Return a line for each change that failed."""
    new_names = {u.name for u in decided.updates if u.name is not None}
    # Other accounts get the old names of these. Temporary names let two accounts swap names.
    moving = [u for u in decided.updates if u.name is not None and u.account.name in new_names]
    steps: list[Step] = [partial(_step_aside, update=u) for u in moving]
    steps += [partial(_update, update=u) for u in decided.updates]
    steps += [partial(_step_back, update=u) for u in moving]
    steps += [partial(_create, create=c) for c in decided.creates]
    steps += [partial(_move, membership=m) for m in decided.memberships]
    failed: list[dict[str, str]] = []
    for first in range(0, len(steps), _BATCH):
        failed += _run(engine, author, steps[first : first + _BATCH])
    return failed


def _run(engine: Engine, author: Author, steps: Sequence[Step]) -> list[dict[str, str]]:
    """Run steps in one transaction. If one of them fails, run each in its own transaction."""

    def all_of_them(transaction: WriteTransaction) -> None:
        for step in steps:
            step(transaction, author)

    try:
        engine.write(all_of_them)
    except Conflict as error:
        if len(steps) == 1:
            return [{"change": "failed", "reason": error.message}]
        return [line for step in steps for line in _run(engine, author, [step])]
    return []


def _step_aside(transaction: WriteTransaction, author: Author, update: AccountUpdate) -> None:
    """Give an account a temporary name, because another account gets its old name."""
    account = accounts.find_id(transaction, update.account.id)
    if account is not None:
        _rename(transaction, author, account, _name_aside(update))


def _step_back(transaction: WriteTransaction, author: Author, update: AccountUpdate) -> None:
    """Give an account its old name back if its rename failed because its new name was taken."""
    account = accounts.find_id(transaction, update.account.id)
    is_free = accounts.find(transaction, update.account.name) is None
    if account is not None and account.name == _name_aside(update) and is_free:
        _rename(transaction, author, account, update.account.name)


def _name_aside(update: AccountUpdate) -> str:
    """Return the temporary name of an account."""
    return f"renamed-{update.account.id}"


def _rename(transaction: WriteTransaction, author: Author, account: Account, name: str) -> Account:
    teams.rename_member(transaction, account, name)
    return accounts.rename(transaction, author, account, AccountName.parse(name))


def _update(transaction: WriteTransaction, author: Author, update: AccountUpdate) -> None:
    account = accounts.find_id(transaction, update.account.id)
    if account is None:
        return
    if update.name is not None and account.name != update.name:
        account = _rename(transaction, author, account, update.name)
    given = {
        "full_name": update.full_name,
        "is_active": update.is_active,
        "is_admin": update.is_admin,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    accounts.put(transaction, author, account, msgspec.structs.replace(account, **changes))


def _create(transaction: WriteTransaction, author: Author, create: AccountCreation) -> None:
    user = create.user
    name = AccountName.parse(user.login)
    if accounts.owns_repositories(transaction, name.text):
        raise Conflict(f"there are repositories below {name}/, which {user.dn} would get")
    new = NewAccount(
        name,
        is_admin=create.is_admin,
        full_name=user.full_name,
        directory_id=user.stable_id,
    )
    accounts.create(transaction, author, new)


def _move(transaction: WriteTransaction, author: Author, membership: MembershipChange) -> None:
    user = accounts.find_directory_id(transaction, membership.stable_id)
    found = teams.find_id(transaction, membership.team_id)
    organization = None if found is None else accounts.find_id(transaction, found[0])
    if user is None or found is None or organization is None:
        return
    if membership.is_added:
        teams.add_member(transaction, author, organization, found[1], user)
    else:
        teams.remove_member(transaction, author, organization, found[1], user)


# ---- by itself -------------------------------------------------------------------------------
def last(engine: Engine) -> SyncReport | None:
    """Return the report of the last synchronization; None if there was none."""
    with engine.read() as transaction:
        return _last(transaction)


def _last(transaction: ReadTransaction) -> SyncReport | None:
    data = transaction.get(META, _STATE)
    return None if data is None else msgspec.msgpack.decode(data, type=SyncReport)


def remember(engine: Engine, done: SyncReport) -> None:
    """Store a report, with its first thousand changes and problems."""
    kept = msgspec.structs.replace(done, changes=done.changes[:1000], problems=done.problems[:1000])
    data = msgspec.msgpack.encode(kept)
    engine.write(lambda transaction: transaction.put(META, _STATE, data))


def read_settings(engine: Engine) -> LdapSettings | None:
    """Return the settings of the LDAP directory; None if no directory is set up."""
    with engine.read() as transaction:
        return settings.get(transaction, LdapSettings)


def synchronize_if_due(
    engine: Engine,
    events: Events,
    clock: Callable[[], int],
    directory: Callable[[LdapSettings], LdapDirectory] = LdapDirectory,
) -> bool:
    """Synchronize if the last run is longer ago than the interval. Return True if it ran.

    The housekeeper calls it. A failure is not raised: `run` records it.
    """
    ldap = read_settings(engine)
    if ldap is None:
        return False
    before = last(engine)
    now = clock()
    if before is not None and now - before.started_at < ldap.sync_interval_seconds:
        return False
    with suppress(DtrfastError):  # recorded, and shown as a problem until a run succeeds
        run(engine, ldap, events, Author("system", now), directory=directory)
    return True


def run(  # noqa: PLR0913 - the caller, its choices, and its services
    engine: Engine,
    ldap: LdapSettings,
    events: Events,
    author: Author,
    *,
    remote: str = "",
    allow_removals: bool = False,
    directory: Callable[[LdapSettings], LdapDirectory] = LdapDirectory,
) -> SyncReport:
    """Synchronize. Store the report, and record it in the audit log and the server's log.

    A failure is recorded as well, and then raised: `DirectoryUnavailable`, or `Conflict` if the
    plan must not be carried out.
    """
    try:
        done = synchronize(engine, ldap, author, allow_removals=allow_removals, directory=directory)
    except DtrfastError as error:
        before = last(engine)
        inside = [] if before is None else before.inside
        done = SyncReport(author.now, 0.0, False, 0, [], error.message, inside=inside)
        _note(engine, events, author, remote, done)
        raise
    _note(engine, events, author, remote, done)
    if done.error:
        raise Conflict(done.error)
    return done


def _note(engine: Engine, events: Events, author: Author, remote: str, done: SyncReport) -> None:
    """Store a report, and record it in the audit log and the server's log."""
    remember(engine, done)
    if done.error:
        log.warning("LDAP synchronization failed: %s", done.error)
    for problem in done.problems[:_PROBLEMS_LOGGED_MAX]:
        log.warning("LDAP: %s: %s: %s", problem.subject, problem.dn, problem.reason)
    detail: Detail = {
        "users": done.users,
        "changes": 0 if done.error else len(done.changes),
        "error": done.error or None,
    }
    if done.problems:
        named = "; ".join(f"{p.subject}: {p.dn}: {p.reason}" for p in done.problems)
        detail |= {"problems": len(done.problems), "missing": named}
    outcome: Outcome = "failed" if done.error or done.problems else "ok"
    event = Event(author.now, "ldap.sync", author.actor, remote, outcome, "", detail)
    events.add(event, by_admin=True)
