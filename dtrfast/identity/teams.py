"""Teams of organizations, and their members: functions over a transaction.

A user belongs to an organization through its teams. The members of the team `owners` administer the
organization. Once this team has a member, it never becomes empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from dtrfast.errors import Conflict, TeamUnknown
from dtrfast.identity import accounts, grants, records
from dtrfast.identity.change_record import record_change
from dtrfast.identity.names import TeamName
from dtrfast.identity.records import Account, Team, TeamType
from dtrfast.index.engine import ReadTransaction, Table, WriteTransaction
from dtrfast.index.tables import (
    MEMBERS,
    META,
    TEAM_MEMBERS,
    TEAM_NAMES,
    TEAMS,
    USER_TEAMS,
    number_key,
    number_of,
)
from dtrfast.registry.writing import Author

OWNERS = "owners"
# Teams of one organization. Owners may put any user into teams, and each decision on a user reads
# all teams of that user.
TEAMS_MAX = 1000

_OWNER = b"\1"
_MEMBER = b"\0"


class Membership(msgspec.Struct, frozen=True, gc=False):
    """The membership of a user in a team. `is_owner`: the team is `owners`."""

    organization_id: int
    team_id: int
    is_owner: bool


def find(transaction: ReadTransaction, organization: Account, name: str) -> Team | None:
    """Return the team with this name; None if there is none. Any text is allowed."""
    if not name or len(name) > 255 or not name.isascii():
        return None
    data = transaction.get(TEAMS, _key(organization.id, name))
    return None if data is None else records.teams.decode(data)


def get(transaction: ReadTransaction, organization: Account, name: str) -> Team:
    """Return the team with this name. Raises `TeamUnknown`."""
    team = find(transaction, organization, name)
    if team is None:
        raise TeamUnknown(f"{organization.name} has no team {name[:80]!r}")
    return team


def find_id(transaction: ReadTransaction, team_id: int) -> tuple[int, Team] | None:
    """Return the id of a team's organization, and the team; None if there is none."""
    key = transaction.get(TEAM_NAMES, number_key(team_id))
    data = None if key is None else transaction.get(TEAMS, key)
    if key is None or data is None:
        return None
    return number_of(key), records.teams.decode(data)


def find_ids(transaction: ReadTransaction, numbers: Iterable[int]) -> dict[int, tuple[int, Team]]:
    """Return the teams with these ids, by id, each with its organization's id. Missing ones are
    left out.
    """
    keys = transaction.get_many(TEAM_NAMES, [number_key(number) for number in numbers])
    rows = transaction.get_many(TEAMS, list(keys.values()))
    return {
        number_of(number): (number_of(key), records.teams.decode(rows[key]))
        for number, key in keys.items()
        if key in rows
    }


def scan(transaction: ReadTransaction, organization: Account, after: str = "") -> Iterator[Team]:
    """Yield the teams of an organization with a name greater than `after`, by name."""
    prefix = number_key(organization.id)
    key = prefix + after.encode("ascii", "replace")[:255]
    for _, data in transaction.scan(TEAMS, prefix, after=key):
        yield records.teams.decode(data)


def scan_all(transaction: ReadTransaction) -> Iterator[tuple[int, Team]]:
    """Yield all teams, each after the id of its organization."""
    for key, data in transaction.scan(TEAMS):
        yield number_of(key), records.teams.decode(data)


@dataclass(frozen=True, slots=True)
class NewTeam:
    """A team to create. A team of type `ldap` has the members of the group `group_dn`."""

    name: TeamName
    description: str = ""
    type: TeamType = "managed"
    group_dn: str = ""
    member_attribute: str = "member"


def create(
    transaction: WriteTransaction, author: Author, organization: Account, new: NewTeam
) -> Team:
    """Create a team without members. Raises `Conflict` for a taken name, or too many teams."""
    if find(transaction, organization, new.name.text) is not None:
        raise Conflict(f"{organization.name} has a team {new.name} already")
    rows = transaction.scan(TEAMS, number_key(organization.id), limit=TEAMS_MAX)
    if sum(1 for _ in rows) >= TEAMS_MAX:
        raise Conflict(f"{organization.name} has {TEAMS_MAX} teams: delete some first")
    team = Team(
        version=1,
        id=transaction.take(META, b"identity_id"),
        name=new.name.text,
        created_at=author.now,
        description=new.description,
        type=new.type,
        group_dn=new.group_dn,
        member_attribute=new.member_attribute,
    )
    _put(transaction, author, organization, team)
    return team


def put(
    transaction: WriteTransaction, author: Author, organization: Account, old: Team, new: Team
) -> None:
    """Change a team from `old` to `new`. Raises `Conflict` for a taken name, or a rename of
    `owners`.
    """
    if old.name != new.name:
        if old.name == OWNERS:
            raise Conflict(f"the team {OWNERS} keeps its name")
        if find(transaction, organization, new.name) is not None:
            raise Conflict(f"{organization.name} has a team {new.name} already")
        transaction.delete(TEAMS, _key(organization.id, old.name))
    _put(transaction, author, organization, new)


def delete(
    transaction: WriteTransaction, author: Author, organization: Account, team: Team
) -> None:
    """Remove a team with its members and grants. Raises `Conflict` for `owners`."""
    if team.name == OWNERS:
        raise Conflict(f"the team {OWNERS} stays as long as its organization")
    remove(transaction, author, organization, team)


def delete_all(transaction: WriteTransaction, author: Author, organization: Account) -> None:
    """Remove all teams of an organization that is about to be deleted."""
    for team in list(scan(transaction, organization)):
        remove(transaction, author, organization, team)


def remove(
    transaction: WriteTransaction, author: Author, organization: Account, team: Team
) -> None:
    """Remove a team with its members and grants, also `owners`."""
    prefix = number_key(team.id)
    for key, user in list(transaction.scan(TEAM_MEMBERS, prefix)):
        transaction.delete(TEAM_MEMBERS, key)
        name = key[len(prefix) :].decode()
        transaction.delete(USER_TEAMS, user + number_key(organization.id) + number_key(team.id))
        _leave(transaction, organization.id, name)
    grants.remove_grantee(transaction, author, team.id)
    transaction.delete(TEAMS, _key(organization.id, team.name))
    transaction.delete(TEAM_NAMES, number_key(team.id))
    record_change(transaction, author, "team.delete", {"id": team.id, "name": team.name})


# ---- members ---------------------------------------------------------------------------------
def add_member(
    transaction: WriteTransaction, author: Author, organization: Account, team: Team, user: Account
) -> bool:
    """Add a user to a team. Return False if the user was a member."""
    key = number_key(team.id) + user.name.encode()
    if transaction.get(TEAM_MEMBERS, key) is not None:
        return False
    number = number_key(user.id)
    transaction.put(TEAM_MEMBERS, key, number)
    flags = _OWNER if team.name == OWNERS else _MEMBER
    transaction.put(USER_TEAMS, number + number_key(organization.id) + number_key(team.id), flags)
    _enter(transaction, organization.id, user)
    record_change(transaction, author, "member.add", {"team": team.id, "user": user.id})
    return True


def remove_member(
    transaction: WriteTransaction, author: Author, organization: Account, team: Team, user: Account
) -> bool:
    """Remove a user from a team. Return False if the user was not a member.

    Raises `Conflict` for the last owner.
    """
    key = number_key(team.id) + user.name.encode()
    if transaction.get(TEAM_MEMBERS, key) is None:
        return False
    if team.name == OWNERS:
        rows = transaction.scan(TEAM_MEMBERS, number_key(team.id), limit=2)
        if sum(1 for _ in rows) == 1:
            refusal = f"{user.name} is the last owner of {organization.name}: add another first"
            raise Conflict(refusal)
    transaction.delete(TEAM_MEMBERS, key)
    transaction.delete(
        USER_TEAMS, number_key(user.id) + number_key(organization.id) + number_key(team.id)
    )
    _leave(transaction, organization.id, user.name)
    record_change(transaction, author, "member.remove", {"team": team.id, "user": user.id})
    return True


def leave_all(
    transaction: WriteTransaction,
    author: Author,
    user: Account,
    organization_id: int | None = None,
) -> None:
    """Remove a user from all its teams, or from those of one organization.

    Raises `Conflict` for the last owner of an organization. With `organization_id`, it also raises
    `Conflict` for a team of the directory.
    """
    for membership in memberships(transaction, user.id):
        if organization_id not in (None, membership.organization_id):
            continue
        organization = accounts.find_id(transaction, membership.organization_id)
        found = find_id(transaction, membership.team_id)
        if organization is None or found is None:
            continue
        if organization_id is not None:
            check_managed(found[1])
        remove_member(transaction, author, organization, found[1], user)


def check_managed(team: Team) -> None:
    """Raise `Conflict` for a team of the directory: its members cannot be changed here."""
    if team.type == "ldap":
        raise Conflict(f"the members of the team {team.name} are those of its LDAP group")


def is_member(transaction: ReadTransaction, team: Team, user: Account) -> bool:
    """Return True if the user is in the team."""
    key = number_key(team.id) + user.name.encode()
    return transaction.get(TEAM_MEMBERS, key) == number_key(user.id)


def is_in_organization(transaction: ReadTransaction, organization: Account, user: Account) -> bool:
    """Return True if the user is in any team of the organization."""
    key = number_key(organization.id) + user.name.encode()
    row = transaction.get(MEMBERS, key)
    return row is not None and number_of(row) == user.id


def members(transaction: ReadTransaction, team: Team, after: str = "") -> Iterator[tuple[str, int]]:
    """Yield the names and ids of a team's members with a name greater than `after`, by name."""
    return _names(transaction, TEAM_MEMBERS, team.id, after)


def members_of_organization(
    transaction: ReadTransaction, organization: Account, after: str = ""
) -> Iterator[tuple[str, int]]:
    """Yield the names and ids of an organization's members, as `members` does."""
    return _names(transaction, MEMBERS, organization.id, after)


def memberships(transaction: ReadTransaction, user_id: int) -> list[Membership]:
    """Return the memberships of a user, in all organizations."""
    prefix = number_key(user_id)
    size = len(prefix)
    return [
        Membership(number_of(key[size:]), number_of(key[2 * size :]), flags == _OWNER)
        for key, flags in transaction.scan(USER_TEAMS, prefix)
    ]


def rename_member(transaction: WriteTransaction, user: Account, name: str) -> None:
    """Move a user's rows to another name. Call it before `accounts.rename`."""
    number = number_key(user.id)
    for membership in memberships(transaction, user.id):
        team = number_key(membership.team_id)
        transaction.delete(TEAM_MEMBERS, team + user.name.encode())
        transaction.put(TEAM_MEMBERS, team + name.encode(), number)
        organization = number_key(membership.organization_id)
        row = transaction.get(MEMBERS, organization + user.name.encode())
        if row is not None:
            transaction.delete(MEMBERS, organization + user.name.encode())
            transaction.put(MEMBERS, organization + name.encode(), row)


def _names(
    transaction: ReadTransaction, table: Table, number: int, after: str
) -> Iterator[tuple[str, int]]:
    prefix = number_key(number)
    key = prefix + after.encode("ascii", "replace")[:255]
    rows = transaction.scan(table, prefix, after=key)
    for row, value in rows:
        yield row[len(prefix) :].decode(), number_of(value)


def _enter(transaction: WriteTransaction, organization_id: int, user: Account) -> None:
    """Count one more team of the organization for a user."""
    key = number_key(organization_id) + user.name.encode()
    row = transaction.get(MEMBERS, key)
    count = 0 if row is None else number_of(row[8:])
    transaction.put(MEMBERS, key, number_key(user.id) + number_key(count + 1))


def _leave(transaction: WriteTransaction, organization_id: int, name: str) -> None:
    """Count one team of the organization less for a user. Remove the row of zero."""
    key = number_key(organization_id) + name.encode()
    row = transaction.get(MEMBERS, key)
    if row is None:
        return
    count = number_of(row[8:]) - 1
    if count > 0:
        transaction.put(MEMBERS, key, row[:8] + number_key(count))
    else:
        transaction.delete(MEMBERS, key)


def _put(transaction: WriteTransaction, author: Author, organization: Account, team: Team) -> None:
    key = _key(organization.id, team.name)
    data = records.teams.encode(team)
    transaction.put(TEAMS, key, data)
    transaction.put(TEAM_NAMES, number_key(team.id), key)
    record_change(
        transaction, author, "team.put", {"organization": organization.id, "record": data}
    )


def _key(organization_id: int, name: str) -> bytes:
    return number_key(organization_id) + name.encode()
