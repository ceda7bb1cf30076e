"""Bringing accounts and teams to what the LDAP directory says: read, decide, write.

The directory is read whole before anything is decided, so one that is cut off changes nothing. What
was decided is written in a few transactions; each change holds whatever became of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from dtrfast.errors import Conflict, DtrfastError
from dtrfast.identity import accounts, settings, teams
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.events import Event, Events
from dtrfast.identity.ldap.client import Directory
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings
from dtrfast.identity.ldap.sync import Create, KnownAccount, Membership, Plan, Update, plan
from dtrfast.identity.names import AccountName
from dtrfast.identity.records import Account, Team
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import META
from dtrfast.registry.writing import Author

# Changes a transaction makes: a few milliseconds, so that pushes go on beside it.
_BATCH = 100
_STATE = b"ldap_synchronised"


class Synchronised(msgspec.Struct, frozen=True):
    """What a synchronisation did, or would do. Times are seconds since the epoch."""

    started_at: int
    seconds: float
    dry_run: bool
    users: int
    changes: list[dict[str, str]]
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Here:
    """What this registry holds of the directory."""

    known: list[KnownAccount]
    teams: list[tuple[int, Team]]
    members: dict[int, set[str]]


def synchronise(
    engine: Engine,
    ldap: LdapSettings,
    author: Author,
    *,
    dry_run: bool = False,
    allow_empty: bool = False,
    directory: Callable[[LdapSettings], Directory] = Directory,
) -> Synchronised:
    """Do what there is to do, or only say it. Raises `DirectoryUnavailable`, `Conflict`."""
    began = time.monotonic()
    decided, count, names = _decide(engine, ldap, directory(ldap), allow_empty=allow_empty)
    changes = decided.describe(names)
    if not dry_run:
        changes += _apply(engine, author, decided)
    seconds = round(time.monotonic() - began, 3)
    return Synchronised(author.now, seconds, dry_run, count, changes)


def _decide(
    engine: Engine, ldap: LdapSettings, directory: Directory, *, allow_empty: bool
) -> tuple[Plan, int, dict[int, str]]:
    people = directory.people()
    with engine.read() as transaction:
        here = _here(transaction)
    groups = [GroupRef(dn=t.group_dn, member_attribute=t.member_attribute) for _, t in here.teams]
    admin_group = [] if ldap.admin_group is None else [ldap.admin_group]
    found = directory.members([*groups, *admin_group], people.users)
    numbers = [team.id for _, team in here.teams]
    decided = plan(
        people,
        here.known,
        dict(zip(numbers, found, strict=False)),
        here.members,
        found[-1] if admin_group else None,
        allow_empty=allow_empty,
    )
    with engine.read() as transaction:
        names = {t.id: _team_name(transaction, number, t) for number, t in here.teams}
    return decided, len(people.users), names


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
    return _Here(known, bound, members)


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
        data = transaction.get(META, _STATE)
    return None if data is None else msgspec.msgpack.decode(data, type=Synchronised)


def remember(engine: Engine, done: Synchronised) -> None:
    """Keep what a synchronisation did, to be shown; of very many changes the first thousand."""
    kept = msgspec.structs.replace(done, changes=done.changes[:1000])
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
    run(engine, ldap, events, Author("system", now), directory=directory)
    return True


def run(
    engine: Engine,
    ldap: LdapSettings,
    events: Events,
    author: Author,
    *,
    allow_empty: bool = False,
    directory: Callable[[LdapSettings], Directory] = Directory,
) -> Synchronised:
    """Synchronise, keep what was done, and note it. A failure is an outcome, too."""
    try:
        done = synchronise(engine, ldap, author, allow_empty=allow_empty, directory=directory)
    except DtrfastError as error:
        done = Synchronised(author.now, 0.0, False, 0, [], error.message)
    remember(engine, done)
    event = Event(
        author.now,
        "ldap.sync",
        author.actor,
        "",
        "failed" if done.error else "ok",
        "",
        {"users": done.users, "changes": len(done.changes), "error": done.error or None},
    )
    events.add(event)
    return done
