"""Operations on the teams of organizations."""

from __future__ import annotations

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.grants import AccessQuery
from dtrfast.api.v0.lists import NamedQuery
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity.names import TeamName
from dtrfast.identity.team_management import TeamChange, TeamGrant, TeamManagement
from dtrfast.identity.teams import NewTeam

operations = Operations("teams")

_TEAM = "/accounts/{name}/teams/{team}"


@operations.add("GET", "/accounts/{name}/teams")
def list_teams(call: ApiCall, query: NamedQuery) -> objects.Teams:
    """List the teams of an organization."""
    page = call.use(TeamManagement).page(call.path["name"], query.request)
    return views.page(objects.Teams, page, "teams", views.team)


@operations.add("POST", "/accounts/{name}/teams", status=201, refusals=(409,))
def create_team(call: ApiCall, body: objects.NewTeam) -> objects.Team:
    """Create a team."""
    new = NewTeam(
        TeamName.parse(body.name),
        body.description,
        body.type,
        body.ldap_dn,
        body.ldap_group_member_attribute,
    )
    created = call.use(TeamManagement).create(call.path["name"], new)
    call.note("team.create", f"{call.path['name']}/{body.name}")
    return views.team(created)


@operations.add("GET", _TEAM)
def get_team(call: ApiCall) -> objects.Team:
    """Show a team."""
    return views.team(call.use(TeamManagement).get(call.path["name"], call.path["team"]))


@operations.add("PATCH", _TEAM, refusals=(409,))
def update_team(call: ApiCall, body: objects.TeamChange) -> objects.Team:
    """Change a team."""
    change = views.parse(
        TeamChange,
        body,
        group_dn=views.given(body.ldap_dn),
        member_attribute=views.given(body.ldap_group_member_attribute),
    )
    changed = call.use(TeamManagement).update(call.path["name"], call.path["team"], change)
    call.note("team.update", f"{call.path['name']}/{changed.team.name}")
    return views.team(changed)


@operations.add("DELETE", _TEAM, refusals=(409,))
def delete_team(call: ApiCall) -> None:
    """Delete a team with its grants."""
    call.use(TeamManagement).delete(call.path["name"], call.path["team"])
    call.note("team.delete", f"{call.path['name']}/{call.path['team']}")


# ---- members ---------------------------------------------------------------------------------
def _member_in(call: ApiCall) -> tuple[str, str, str]:
    return call.path["name"], call.path["team"], call.path["member"]


@operations.add("GET", f"{_TEAM}/members")
def list_team_members(call: ApiCall, query: NamedQuery) -> objects.Members:
    """List the members of a team."""
    name, team = call.path["name"], call.path["team"]
    page = call.use(TeamManagement).members_of_team(name, team, query.request)
    return views.page(objects.Members, page, "members", views.account)


@operations.add("GET", f"{_TEAM}/members/{{member}}")
def get_team_member(call: ApiCall) -> objects.Member:
    """Show a member of a team."""
    return views.member(call.use(TeamManagement).member_of_team(*_member_in(call)))


@operations.add("PUT", f"{_TEAM}/members/{{member}}", refusals=(409,))
def add_team_member(call: ApiCall) -> objects.Member:
    """Add a user to a team, and thus to its organization."""
    added = views.member(call.use(TeamManagement).add_to_team(*_member_in(call)))
    _note_member(call, "member.add")
    return added


@operations.add("DELETE", f"{_TEAM}/members/{{member}}", refusals=(409,))
def delete_team_member(call: ApiCall) -> None:
    """Remove a user from a team."""
    call.use(TeamManagement).remove_from_team(*_member_in(call))
    _note_member(call, "member.remove")


def _note_member(call: ApiCall, kind: str) -> None:
    team = f"{call.path['name']}/{call.path['team']}"
    call.note(kind, team, {"user": call.path["member"]})


@operations.add("GET", f"{_TEAM}/repositoryAccess")
def list_team_repository_access(call: ApiCall, query: AccessQuery) -> objects.TeamRepositoryAccess:
    """List the repositories that a team has a grant on."""
    name, team = call.path["name"], call.path["team"]
    shown, page = call.use(TeamManagement).grants_of(name, team, query.request)
    field, kind = "repository_access_list", objects.TeamRepositoryAccess
    return views.page(kind, page, field, _repository_access, team=views.team(shown))


def _repository_access(grant: TeamGrant) -> objects.RepositoryAccess:
    repository = views.repository(grant.repository)
    return objects.RepositoryAccess(access_level=grant.level.text, repository=repository)
