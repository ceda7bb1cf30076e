"""Teams of organizations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.accounts import members_page, refuse_ldap_team, require_member
from dtrfast.api.v0.grants import AccessQuery
from dtrfast.api.v0.lists import Columns, NamedQuery, scanned, whole
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import SettingsInvalid, TeamUnknown
from dtrfast.identity import access, accounts, grants, teams
from dtrfast.identity.access import Standing
from dtrfast.identity.grants import Level
from dtrfast.identity.ldap.settings import check_attribute, check_dn
from dtrfast.identity.names import TeamName
from dtrfast.identity.records import Account, Team
from dtrfast.identity.teams import NewTeam
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.registry import repositories

operations = Operations("teams")

_TEAM = "/accounts/{name}/teams/{team}"
_MEMBER_ATTRIBUTE = "member"
_Granted = tuple[Level, objects.Repository]
_GRANTED: Columns[_Granted] = {
    "name": lambda row: f"{row[1].namespace}/{row[1].name}".lstrip("/"),
    "level": lambda row: row[0],
}


def _organization(call: ApiCall, transaction: ReadTransaction) -> Account:
    return accounts.get(transaction, call.path["name"], "organization")


def _owned_team(call: ApiCall, transaction: ReadTransaction) -> tuple[Standing, Account, Team]:
    """The team in the path, for an owner: others are not told which teams there are."""
    organization = _organization(call, transaction)
    standing = call.require_owner(transaction, organization)
    return standing, organization, teams.get(transaction, organization, call.path["team"])


def _member(user: Account, team: Team, viewer: Standing) -> objects.Member:
    is_owner = team.name == teams.OWNERS
    return objects.Member(member=views.account(user, viewer), is_owner=is_owner)


@operations.add(
    "GET", "/accounts/{name}/teams", answer=objects.Teams, query=NamedQuery, refusals=(404,)
)
def list_teams(call: ApiCall) -> objects.Teams:
    """List the teams of an organization."""
    query: NamedQuery = call.query
    with call.identity.engine.read() as transaction:
        organization = _organization(call, transaction)
        standing = require_member(call, transaction, organization)
        found = teams.scan(transaction, organization, query.first)
        page, more = scanned(found, query, {"name": lambda team: team.name})
        shown = [views.team(transaction, organization.id, team, standing) for team in page]
        return objects.Teams(teams=shown, next_page_start=more)


@operations.add(
    "POST",
    "/accounts/{name}/teams",
    answer=objects.Team,
    status=201,
    body=objects.NewTeam,
    refusals=(400, 404, 409),
)
def create_team(call: ApiCall) -> objects.Team:
    """Make a team."""
    body: objects.NewTeam = call.body
    name = TeamName.parse(body.name)
    attribute = body.ldap_group_member_attribute or _MEMBER_ATTRIBUTE
    _check_group(body.type, body.ldap_dn, attribute)

    def change(transaction: WriteTransaction) -> objects.Team:
        organization = _organization(call, transaction)
        standing = call.require_owner(transaction, organization)
        new = NewTeam(name, body.description, body.type, body.ldap_dn, attribute)
        made = teams.create(transaction, call.author, organization, new)
        return views.team(transaction, organization.id, made, standing)

    made = call.identity.engine.write(change)
    call.note("team.create", f"{call.path['name']}/{name}")
    return made


@operations.add("GET", _TEAM, answer=objects.Team, refusals=(404,))
def get_team(call: ApiCall) -> objects.Team:
    """Show a team."""
    with call.identity.engine.read() as transaction:
        organization = _organization(call, transaction)
        standing = require_member(call, transaction, organization)
        team = teams.get(transaction, organization, call.path["team"])
        return views.team(transaction, organization.id, team, standing)


@operations.add(
    "PATCH", _TEAM, answer=objects.Team, body=objects.TeamChange, refusals=(400, 404, 409)
)
def update_team(call: ApiCall) -> objects.Team:
    """Change a team."""
    changed = call.identity.engine.write(partial(_update, call=call))
    call.note("team.update", f"{call.path['name']}/{changed.name}")
    return changed


def _update(transaction: WriteTransaction, call: ApiCall) -> objects.Team:
    body: objects.TeamChange = call.body
    standing, organization, old = _owned_team(call, transaction)
    given = {
        "name": body.name,
        "description": body.description,
        "type": body.type,
        "group_dn": body.ldap_dn,
        "member_attribute": body.ldap_group_member_attribute,
    }
    changes = {name: value for name, value in given.items() if value is not msgspec.UNSET}
    if "name" in changes:
        TeamName.parse(str(changes["name"]))
    new = msgspec.structs.replace(old, **changes)
    if not new.member_attribute:
        new = msgspec.structs.replace(new, member_attribute=_MEMBER_ATTRIBUTE)
    _check_group(new.type, new.group_dn, new.member_attribute)
    teams.put(transaction, call.author, organization, old, new)
    return views.team(transaction, organization.id, new, standing)


def _check_group(kind: str, dn: str, attribute: str) -> None:
    if kind == "ldap":
        if not dn:
            raise SettingsInvalid("ldapDN: a team of type ldap needs the name of its group")
        check_dn(dn)
        check_attribute("ldapGroupMemberAttribute", attribute)


@operations.add("DELETE", _TEAM, refusals=(404, 409))
def delete_team(call: ApiCall) -> None:
    """Delete a team with what was granted to it."""

    def change(transaction: WriteTransaction) -> None:
        _, organization, team = _owned_team(call, transaction)
        teams.delete(transaction, call.author, organization, team)

    call.identity.engine.write(change)
    call.note("team.delete", f"{call.path['name']}/{call.path['team']}")


# ---- members ---------------------------------------------------------------------------------
@operations.add(
    "GET", f"{_TEAM}/members", answer=objects.Members, query=NamedQuery, refusals=(404,)
)
def list_team_members(call: ApiCall) -> objects.Members:
    """List the members of a team."""
    query: NamedQuery = call.query
    with call.identity.engine.read() as transaction:
        organization = _organization(call, transaction)
        standing = require_member(call, transaction, organization)
        team = teams.get(transaction, organization, call.path["team"])
        found = teams.members(transaction, team, query.first)
        return members_page(transaction, found, query, standing)


@operations.add("GET", f"{_TEAM}/members/{{member}}", answer=objects.Member, refusals=(404,))
def get_team_member(call: ApiCall) -> objects.Member:
    """Show whether a user is in a team."""
    with call.identity.engine.read() as transaction:
        organization = _organization(call, transaction)
        standing = require_member(call, transaction, organization)
        team = teams.get(transaction, organization, call.path["team"])
        user = accounts.get(transaction, call.path["member"], "user")
        if not teams.is_member(transaction, team, user):
            raise TeamUnknown(f"{user.name} is not in the team {team.name}")
        return _member(user, team, standing)


@operations.add("PUT", f"{_TEAM}/members/{{member}}", answer=objects.Member, refusals=(404, 409))
def add_team_member(call: ApiCall) -> objects.Member:
    """Put a user into a team, and so into its organization."""

    def change(transaction: WriteTransaction) -> objects.Member:
        standing, organization, team = _owned_team(call, transaction)
        refuse_ldap_team(transaction, team.id)
        user = accounts.get(transaction, call.path["member"], "user")
        teams.add_member(transaction, call.author, organization, team, user)
        return _member(user, team, standing)

    done = call.identity.engine.write(change)
    _note_member(call, "member.add")
    return done


@operations.add("DELETE", f"{_TEAM}/members/{{member}}", refusals=(404, 409))
def delete_team_member(call: ApiCall) -> None:
    """Take a user out of a team."""

    def change(transaction: WriteTransaction) -> None:
        _, organization, team = _owned_team(call, transaction)
        refuse_ldap_team(transaction, team.id)
        user = accounts.get(transaction, call.path["member"], "user")
        if not teams.remove_member(transaction, call.author, organization, team, user):
            raise TeamUnknown(f"{user.name} is not in the team {team.name}")

    call.identity.engine.write(change)
    _note_member(call, "member.remove")


def _note_member(call: ApiCall, kind: str) -> None:
    team = f"{call.path['name']}/{call.path['team']}"
    call.note(kind, team, detail={"user": call.path["member"]})


@operations.add(
    "GET",
    f"{_TEAM}/repositoryAccess",
    answer=objects.TeamRepositoryAccess,
    query=AccessQuery,
    refusals=(404,),
)
def list_team_repository_access(call: ApiCall) -> objects.TeamRepositoryAccess:
    """List the repositories that a team was granted something on."""
    with call.identity.engine.read() as transaction:
        organization = _organization(call, transaction)
        standing = require_member(call, transaction, organization)
        team = teams.get(transaction, organization, call.path["team"])
        granted = _repositories_of(transaction, team, standing)
        page, more = whole(granted, call.query, _GRANTED)
        return objects.TeamRepositoryAccess(
            team=views.team(transaction, organization.id, team, standing),
            repository_access_list=[
                objects.RepositoryAccess(access_level=level.text, repository=repository)
                for level, repository in page
            ],
            next_page_start=more,
        )


def _repositories_of(
    transaction: ReadTransaction, team: Team, standing: Standing
) -> Iterator[_Granted]:
    """What a team was granted, as far as whoever asks may see the repositories."""
    for place, level in grants.of_grantee(transaction, team.id):
        full = None if grants.is_namespace(place) else repositories.name_of(transaction, place.id)
        if full is None:
            continue
        record = repositories.record(transaction, full)
        rights = access.rights(transaction, standing, full)
        if record is not None and rights:
            yield level, views.repository(transaction, full, record, rights)
