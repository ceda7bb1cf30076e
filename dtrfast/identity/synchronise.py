"""Bringing accounts and teams to what the LDAP directory says: read, decide, write.

The directory is read whole before anything is decided, so one that is cut off changes nothing. A
user set that is missing changes nothing, a group that is missing nothing that depends on it, and
more removals than the settings allow stop everything until they are asked for. What was decided is
written in a few transactions; each change holds whatever became of the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from dtrfast.errors import Conflict, DtrfastError
from dtrfast.identity import accounts, settings, teams
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.events import Detail, Event, Events, Outcome
from dtrfast.identity.ldap.client import Directory
from dtrfast.identity.ldap.groups import GroupMembers
from dtrfast.identity.ldap.people import People, Problem
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings
from dtrfast.identity.ldap.sync import (
    Create,
    KnownAccount,
    Membership,
    Plan,
    Removal,
    Update,
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

# Lines of one synchronization in the server's log; the report has all problems.
_PROBLEMS_LOGGED_MAX = 20
# Changes a transaction makes: a few milliseconds, so that pushes go on beside it.
_BATCH = 100
_STATE = b"ldap_synchronised"


class SyncProblem(msgspec.Struct, frozen=True, rename="camel"):
    """Something that is missing. `subject` depends on it and stays as it is."""

    subject: str
    dn: str
    reason: str


class Synchronised(msgspec.Struct, frozen=True):
    """The report of a synchronization, or of a dry run. Times are seconds since the epoch.

    With an `error` it changed nothing, and `changes` are those that it would have made.
    `inside` are the groups that were found inside others: the next one misses them.
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
class _Here:
    """What this registry holds of the directory."""

    known: list[KnownAccount]
    teams: list[tuple[int, Team]]
    names: dict[int, str]
    members: dict[int, set[str]]
    inside: list[str]


@dataclass(frozen=True, slots=True)
class _Groups:
    """The members of the groups of teams and administrators, without groups that are missing."""

    by_team: dict[int, Set[str]]
    admins: Set[str] | None
    inside: list[str]
    problems: list[Problem]
    notes: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Decision:
    """A plan, and what speaks against carrying it out."""

    plan: Plan
    users: int
    changes: list[dict[str, str]]
    problems: list[Problem]
    inside: list[str]
    error: str = ""


def synchronise(
    engine: Engine,
    ldap: LdapSettings,
    author: Author,
    *,
    dry_run: bool = False,
    allow_removals: bool = False,
    directory: Callable[[LdapSettings], Directory] = Directory,
) -> Synchronised:
    """Do what there is to do, or only say it. Raises `DirectoryUnavailable`.

    `allow_removals` takes for true what is there and empty, and removes more than the settings say.
    """
    began = time.monotonic()
    decided = _decide(engine, ldap, directory(ldap), allow_removals=allow_removals)
    changes, problems = decided.changes, decided.problems
    if not dry_run and not decided.error:
        failed = _apply(engine, author, decided.plan)
        changes = changes + failed
        # Something changed here after the decision.
        problems = [*problems, *(Problem("a change", "", line["reason"]) for line in failed)]
    return Synchronised(
        author.now,
        round(time.monotonic() - began, 3),
        dry_run,
        decided.users,
        changes,
        decided.error,
        [_shown(problem) for problem in problems],
        decided.inside,
    )


def _decide(
    engine: Engine, ldap: LdapSettings, directory: Directory, *, allow_removals: bool
) -> _Decision:
    people = directory.people()
    with engine.read() as transaction:
        here = _here(transaction)
    is_first = not any(account.stable_id for account in here.known)
    missing = [p for p in people.problems if not (p.is_believable and allow_removals)]
    if missing and not (is_first and all(problem.is_believable for problem in missing)):
        error = _user_sets_error(missing)
        return _Decision(Plan(), len(people.users), [], missing, here.inside, error)
    people = identify(people, here.known)
    groups = _groups(ldap, directory, people, here, allow_removals=allow_removals)
    decided = plan(people, here.known, groups.by_team, here.members, groups.admins)
    with engine.read() as transaction:
        decided = hold_names(decided, people, _used_names(transaction, decided))
    found = removals(decided, here.known, here.members, here.names)
    excess = [removal for removal in found if not removal.is_within(ldap.removal_share_max)]
    error = "" if allow_removals or not excess else _removals_error(excess, ldap)
    return _Decision(
        decided,
        len(people.users),
        _cleaned([*decided.describe(here.names), *groups.notes]),
        [*missing, *people.remarks, *groups.problems, *decided.problems],
        _still_known(here, groups, error=error, allow_removals=allow_removals),
        error,
    )


def _used_names(transaction: ReadTransaction, decided: Plan) -> set[str]:
    """The names that have repositories, of those that the plan gives or takes."""
    names = {create.user.login for create in decided.creates}
    for update in decided.updates:
        names |= {update.account.name, update.name} if update.name else set()
    return {name for name in names if accounts.owns_repositories(transaction, name)}


def _still_known(here: _Here, groups: _Groups, *, error: str, allow_removals: bool) -> list[str]:
    """The groups inside others that the next synchronization misses when they are gone: also those
    that this one could not read, or took nothing from.
    """
    is_whole = not error and not groups.problems
    return sorted({*groups.inside, *(() if is_whole or allow_removals else here.inside)})


def _groups(
    ldap: LdapSettings, directory: Directory, people: People, here: _Here, *, allow_removals: bool
) -> _Groups:
    """Read the groups of teams and administrators, and keep apart what is missing."""
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
    read.inside.extend(members.inside)
    if members.problem:
        read.problems.append(Problem(subject, ref.dn, members.problem))
    elif members.strangers:
        count, first = len(members.strangers), members.strangers[0][:200]
        reason = f"{count} members are no users of the user sets (such as {first})"
        read.notes.append({"change": "unknown members", "dn": ref.dn, "reason": reason})


def _user_sets_error(problems: Sequence[Problem]) -> str:
    found = "; ".join(f"the user set {p.dn}: {p.reason}" for p in problems)
    remedy = "correct the settings or the directory"
    if all(problem.is_believable for problem in problems):
        remedy += ", or let it be true: --allow-removals (allowRemovals in the API)"
    return characters.shown(f"nothing was changed: {found}: {remedy}")


def _removals_error(excess: Sequence[Removal], ldap: LdapSettings) -> str:
    found = "; ".join(str(removal) for removal in excess)
    return characters.shown(
        "nothing was changed: the directory would take away more than"
        f" {100 * ldap.removal_share_max:g}% of {found}: look at a dry run, and if that is right,"
        " synchronize with --allow-removals (allowRemovals in the API)"
    )


def _shown(problem: Problem) -> SyncProblem:
    return SyncProblem(
        characters.shown(problem.subject),
        characters.shown(problem.dn),
        characters.shown(problem.reason),
    )


def _cleaned(lines: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: characters.shown(value) for name, value in line.items()} for line in lines]


def _team_name(transaction: ReadTransaction, organization_id: int, team: Team) -> str:
    organization = accounts.find_id(transaction, organization_id)
    return f"{organization.name if organization else organization_id}/{team.name}"


def _here(transaction: ReadTransaction) -> _Here:
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
    names = {team.id: _team_name(transaction, number, team) for number, team in bound}
    before = _last(transaction)
    return _Here(known, bound, names, members, [] if before is None else before.inside)


# ---- writing ---------------------------------------------------------------------------------
Step = Callable[[WriteTransaction, Author], None]


def _apply(engine: Engine, author: Author, decided: Plan) -> list[dict[str, str]]:
    """Make the changes; returns a line for each that could not be made."""
    renames = [u for u in decided.updates if u.name is not None]
    moving = [u for u in renames if _is_moving(u, renames)]
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
    """Several steps in one transaction; one by one if one of them fails."""

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


def _is_moving(update: Update, renames: Iterable[Update]) -> bool:
    """Whether somebody else takes this account's name in the same synchronisation."""
    return any(other.name == update.account.name for other in renames)


def _step_aside(transaction: WriteTransaction, author: Author, update: Update) -> None:
    """Give up a name that another account gets, so that two may swap theirs."""
    account = accounts.find_id(transaction, update.account.id)
    if account is not None:
        _rename(transaction, author, account, _name_aside(update))


def _step_back(transaction: WriteTransaction, author: Author, update: Update) -> None:
    """Restore the name of an account whose new name another account could not give up."""
    account = accounts.find_id(transaction, update.account.id)
    is_free = accounts.find(transaction, update.account.name) is None
    if account is not None and account.name == _name_aside(update) and is_free:
        _rename(transaction, author, account, update.account.name)


def _name_aside(update: Update) -> str:
    return f"renamed-{update.account.id}"


def _rename(transaction: WriteTransaction, author: Author, account: Account, name: str) -> Account:
    teams.rename_member(transaction, account, name)
    return accounts.rename(transaction, author, account, AccountName.parse(name))


def _update(transaction: WriteTransaction, author: Author, update: Update) -> None:
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


def _create(transaction: WriteTransaction, author: Author, create: Create) -> None:
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


def _move(transaction: WriteTransaction, author: Author, membership: Membership) -> None:
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
def last(engine: Engine) -> Synchronised | None:
    """What the last synchronisation did."""
    with engine.read() as transaction:
        return _last(transaction)


def _last(transaction: ReadTransaction) -> Synchronised | None:
    data = transaction.get(META, _STATE)
    return None if data is None else msgspec.msgpack.decode(data, type=Synchronised)


def remember(engine: Engine, done: Synchronised) -> None:
    """Keep what a synchronisation did, to be shown; of very many changes the first thousand."""
    kept = msgspec.structs.replace(done, changes=done.changes[:1000], problems=done.problems[:1000])
    data = msgspec.msgpack.encode(kept)
    engine.write(lambda transaction: transaction.put(META, _STATE, data))


def synchronise_if_due(
    engine: Engine,
    events: Events,
    clock: Callable[[], int],
    directory: Callable[[LdapSettings], Directory] = Directory,
) -> bool:
    """The housekeeper's turn: synchronise when the last time is long enough ago."""
    with engine.read() as transaction:
        ldap = settings.get(transaction, LdapSettings)
    if ldap is None:
        return False
    before = last(engine)
    now = clock()
    if before is not None and now - before.started_at < ldap.sync_interval_seconds:
        return False
    with suppress(DtrfastError):  # it is noted, and an open problem until one succeeds
        run(engine, ldap, events, Author("system", now), directory=directory)
    return True


def run(  # noqa: PLR0913 - who asks, and for what
    engine: Engine,
    ldap: LdapSettings,
    events: Events,
    author: Author,
    *,
    remote: str = "",
    allow_removals: bool = False,
    directory: Callable[[LdapSettings], Directory] = Directory,
) -> Synchronised:
    """Synchronise, keep what was done, and note it; a failure, too, which is then raised.

    Raises `DirectoryUnavailable`, and `Conflict` where something speaks against it.
    """
    try:
        done = synchronise(engine, ldap, author, allow_removals=allow_removals, directory=directory)
    except DtrfastError as error:
        before = last(engine)
        inside = [] if before is None else before.inside
        done = Synchronised(author.now, 0.0, False, 0, [], error.message, inside=inside)
        _note(engine, events, author, remote, done)
        raise
    _note(engine, events, author, remote, done)
    if done.error:
        raise Conflict(done.error)
    return done


def _note(engine: Engine, events: Events, author: Author, remote: str, done: Synchronised) -> None:
    """Keep the outcome, and tell it to the audit log and the server's log."""
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
