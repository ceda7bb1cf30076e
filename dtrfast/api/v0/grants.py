"""Who was granted what: on repositories, and on all of a namespace."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import Columns, WholeQuery, whole
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.api.v0.repositories import name_in, require, shown
from dtrfast.errors import Denied, GrantUnknown
from dtrfast.identity import access, accounts, grants, teams
from dtrfast.identity.access import Standing
from dtrfast.identity.grants import GrantPlace, Level
from dtrfast.identity.records import Account, Team
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import Action

operations = Operations("access")

_REPOSITORY = "/repositories/{namespace}/{repository}"
_NAMESPACE = "/repositoryNamespaces/{namespace}/teamAccess"


class AccessQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of the name of who, or what, was granted something."""

    sort: Literal["name", "-name", "level", "-level"] = "name"


_USERS: Columns[tuple[Level, objects.Account]] = {
    "name": lambda row: row[1].name,
    "level": lambda row: row[0],
}
_TEAMS: Columns[tuple[Level, objects.Team]] = {
    "name": lambda row: row[1].name,
    "level": lambda row: row[0],
}


def _place(transaction: ReadTransaction, name: RepositoryName) -> GrantPlace:
    return grants.repository_place(repositories.get(transaction, name))


def _repository(
    call: ApiCall, transaction: ReadTransaction, name: RepositoryName
) -> objects.Repository:
    found = shown(call, transaction, name)
    assert found is not None
    return found


# ---- what somebody may do --------------------------------------------------------------------
@operations.add(
    "GET",
    "/accounts/{name}/repositoryAccess/{namespace}/{repository}",
    answer=objects.UserAccess,
    refusals=(404,),
)
def get_repository_access(call: ApiCall) -> objects.UserAccess:
    """Show what a user may do with a repository, by all that was granted."""
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.PULL)
        user = accounts.get(transaction, call.path["name"], "user")
        standing = call.standing(transaction)
        if not standing.is_admin and standing.account_id != user.id:
            require(call, transaction, Action.ADMIN)
        rights = _rights(transaction, user, name, standing)
        return objects.UserAccess(
            access_level=views.level_text(rights),
            user=views.account(user, standing),
            repository=_repository(call, transaction, name),
        )


def _rights(
    transaction: ReadTransaction, user: Account, name: RepositoryName, viewer: Standing
) -> Action:
    """A user's rights on a repository. Those that come from being a system administrator, or go
    with being inactive, are for viewers who may know of either.
    """
    theirs = access.standing_of(transaction, user)
    if viewer.is_admin or viewer.account_id == user.id:
        return access.rights(transaction, theirs, name) if user.is_active else Action(0)
    return access.rights(transaction, replace(theirs, is_admin=False), name)


@operations.add(
    "GET",
    "/accounts/{name}/repositoryNamespaceAccess/{namespace}",
    answer=objects.NamespaceAccess,
    refusals=(404,),
)
def get_namespace_access(call: ApiCall) -> objects.NamespaceAccess:
    """Show what a user may do with all repositories of a namespace."""
    with call.identity.engine.read() as transaction:
        user = accounts.get(transaction, call.path["name"], "user")
        viewer = call.require_self(transaction, user)
        namespace = accounts.get(transaction, call.path["namespace"])
        standing = access.standing_of(transaction, user)
        rights = access.rights_in_namespace(transaction, standing, namespace)
        return objects.NamespaceAccess(
            access_level=views.level_text(rights),
            user=views.account(user, viewer),
            namespace=views.account(namespace, viewer),
        )


# ---- users on a repository -------------------------------------------------------------------
@operations.add(
    "GET",
    f"{_REPOSITORY}/userAccess",
    answer=objects.UserAccessList,
    query=AccessQuery,
    refusals=(404,),
)
def list_user_access(call: ApiCall) -> objects.UserAccessList:
    """List the users that were granted something on a repository."""
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.ADMIN)
        viewer = call.standing(transaction)
        granted = grants.at_place(transaction, _place(transaction, name))
        found = (
            (level, views.account_of(transaction, number, viewer)) for number, level in granted
        )
        known = ((level, user) for level, user in found if user is not None)
        page, more = whole(known, call.query, _USERS)
        return objects.UserAccessList(
            repository=_repository(call, transaction, name),
            user_access_list=[
                objects.UserAccess(access_level=level.text, user=user) for level, user in page
            ],
            next_page_start=more,
        )


@operations.add(
    "PUT",
    f"{_REPOSITORY}/userAccess/{{grantee}}",
    answer=objects.UserAccess,
    body=objects.LevelGiven,
    refusals=(404, 400),
)
def grant_user_access(call: ApiCall) -> objects.UserAccess:
    """Grant a user something on a repository, in place of what was granted."""
    level = Level.parse(call.body.access_level)

    def change(transaction: WriteTransaction) -> objects.UserAccess:
        name = require(call, transaction, Action.ADMIN)
        user = accounts.get(transaction, call.path["grantee"], "user")
        grants.put(transaction, call.author, _place(transaction, name), user.id, level)
        repository = _repository(call, transaction, name)
        return objects.UserAccess(
            access_level=level.text,
            user=views.account(user, call.standing(transaction)),
            repository=repository,
        )

    done = call.identity.engine.write(change)
    _note(call, "grant.set", {"user": call.path["grantee"], "level": level.text})
    return done


@operations.add("DELETE", f"{_REPOSITORY}/userAccess/{{grantee}}", refusals=(404,))
def revoke_user_access(call: ApiCall) -> None:
    """Take back what a user was granted on a repository."""

    def change(transaction: WriteTransaction) -> None:
        name = require(call, transaction, Action.ADMIN)
        user = accounts.get(transaction, call.path["grantee"], "user")
        _remove(transaction, call, _place(transaction, name), user.id)

    call.identity.engine.write(change)
    _note(call, "grant.remove", {"user": call.path["grantee"]})


# ---- teams on a repository -------------------------------------------------------------------
def _team(call: ApiCall, transaction: ReadTransaction, owner: str) -> tuple[Account, Team]:
    """The team in the path, of the organization of this name. Raises `TeamUnknown`."""
    organization = accounts.get(transaction, owner, "organization")
    return organization, teams.get(transaction, organization, call.path["team"])


@operations.add(
    "GET",
    f"{_REPOSITORY}/teamAccess",
    answer=objects.TeamAccessList,
    query=AccessQuery,
    refusals=(404,),
)
def list_team_access(call: ApiCall) -> objects.TeamAccessList:
    """List the teams that were granted something on a repository."""
    with call.identity.engine.read() as transaction:
        name = require(call, transaction, Action.ADMIN)
        standing = call.standing(transaction)
        granted = grants.at_place(transaction, _place(transaction, name))
        found = ((level, views.team_of(transaction, number, standing)) for number, level in granted)
        known = ((level, team) for level, team in found if team is not None)
        page, more = whole(known, call.query, _TEAMS)
        return objects.TeamAccessList(
            repository=_repository(call, transaction, name),
            team_access_list=[
                objects.TeamAccess(access_level=level.text, team=team) for level, team in page
            ],
            next_page_start=more,
        )


@operations.add(
    "PUT",
    f"{_REPOSITORY}/teamAccess/{{team}}",
    answer=objects.TeamAccess,
    body=objects.LevelGiven,
    refusals=(404, 400),
)
def grant_team_access(call: ApiCall) -> objects.TeamAccess:
    """Grant a team of the organization something on a repository."""
    level = Level.parse(call.body.access_level)

    def change(transaction: WriteTransaction) -> objects.TeamAccess:
        name = require(call, transaction, Action.ADMIN)
        standing = call.standing(transaction)
        organization, team = _team(call, transaction, name.owner)
        grants.put(transaction, call.author, _place(transaction, name), team.id, level)
        return objects.TeamAccess(
            access_level=level.text,
            team=views.team(transaction, organization.id, team, standing),
            repository=_repository(call, transaction, name),
        )

    done = call.identity.engine.write(change)
    _note(call, "grant.set", {"team": call.path["team"], "level": level.text})
    return done


@operations.add("DELETE", f"{_REPOSITORY}/teamAccess/{{team}}", refusals=(404,))
def revoke_team_access(call: ApiCall) -> None:
    """Take back what a team was granted on a repository."""

    def change(transaction: WriteTransaction) -> None:
        name = require(call, transaction, Action.ADMIN)
        _, team = _team(call, transaction, name.owner)
        _remove(transaction, call, _place(transaction, name), team.id)

    call.identity.engine.write(change)
    _note(call, "grant.remove", {"team": call.path["team"]})


def _remove(
    transaction: WriteTransaction, call: ApiCall, place: GrantPlace, grantee_id: int
) -> None:
    if not grants.remove(transaction, call.author, place, grantee_id):
        raise GrantUnknown("nothing was granted there")


def _note(call: ApiCall, kind: str, detail: dict[str, str | int | bool | None]) -> None:
    subject = name_in(call).text if "repository" in call.path else call.path["namespace"]
    call.note(kind, subject, detail=detail)


# ---- teams on a namespace --------------------------------------------------------------------
def _require_namespace(
    call: ApiCall, transaction: ReadTransaction, action: Action
) -> tuple[Standing, Account]:
    standing = call.standing(transaction)
    namespace = accounts.get(transaction, call.path["namespace"], "organization")
    if action not in access.rights_in_namespace(transaction, standing, namespace):
        raise Denied(f"only who administers {namespace.name} may do this")
    return standing, namespace


def _namespace_access(
    transaction: ReadTransaction, standing: Standing, namespace: Account, team: Team, level: Level
) -> objects.NamespaceTeamAccess:
    return objects.NamespaceTeamAccess(
        access_level=level.text,
        namespace=views.account(namespace, standing),
        team=views.team(transaction, namespace.id, team, standing),
    )


@operations.add("GET", _NAMESPACE, answer=objects.NamespaceTeamAccessList, refusals=(404,))
def list_namespace_access(call: ApiCall) -> objects.NamespaceTeamAccessList:
    """List the teams that were granted something on a whole namespace."""
    with call.identity.engine.read() as transaction:
        standing, namespace = _require_namespace(call, transaction, Action.ADMIN)
        entries = []
        place = grants.namespace_place(namespace.id)
        for grantee, level in grants.at_place(transaction, place):
            found = teams.find_id(transaction, grantee)
            if found is not None:
                entries.append(_namespace_access(transaction, standing, namespace, found[1], level))
        return objects.NamespaceTeamAccessList(
            namespace=views.account(namespace, standing), team_access_list=entries
        )


@operations.add(
    "GET", f"{_NAMESPACE}/{{team}}", answer=objects.NamespaceTeamAccess, refusals=(404,)
)
def get_namespace_team_access(call: ApiCall) -> objects.NamespaceTeamAccess:
    """Show what a team was granted on a whole namespace."""
    with call.identity.engine.read() as transaction:
        standing, namespace = _require_namespace(call, transaction, Action.ADMIN)
        _, team = _team(call, transaction, namespace.name)
        level = grants.get(transaction, grants.namespace_place(namespace.id), team.id)
        if level is Level.NONE:
            raise GrantUnknown(f"the team {team.name} has no grant on all of {namespace.name}")
        return _namespace_access(transaction, standing, namespace, team, level)


@operations.add(
    "PUT",
    f"{_NAMESPACE}/{{team}}",
    answer=objects.NamespaceTeamAccess,
    body=objects.LevelGiven,
    refusals=(404, 400),
)
def grant_namespace_access(call: ApiCall) -> objects.NamespaceTeamAccess:
    """Grant a team something on all repositories of its organization; admin may make them."""
    level = Level.parse(call.body.access_level)

    def change(transaction: WriteTransaction) -> objects.NamespaceTeamAccess:
        _, namespace = _require_namespace(call, transaction, Action.PULL)
        standing = call.require_owner(transaction, namespace)
        _, team = _team(call, transaction, namespace.name)
        place = grants.namespace_place(namespace.id)
        grants.put(transaction, call.author, place, team.id, level)
        return _namespace_access(transaction, standing, namespace, team, level)

    done = call.identity.engine.write(change)
    _note(call, "grant.set", {"team": call.path["team"], "level": level.text})
    return done


@operations.add("DELETE", f"{_NAMESPACE}/{{team}}", refusals=(404,))
def revoke_namespace_access(call: ApiCall) -> None:
    """Take back what a team was granted on a whole namespace."""

    def change(transaction: WriteTransaction) -> None:
        _, namespace = _require_namespace(call, transaction, Action.PULL)
        call.require_owner(transaction, namespace)
        _, team = _team(call, transaction, namespace.name)
        _remove(transaction, call, grants.namespace_place(namespace.id), team.id)

    call.identity.engine.write(change)
    _note(call, "grant.remove", {"team": call.path["team"]})
