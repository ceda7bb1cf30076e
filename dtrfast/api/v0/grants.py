"""Operations on grants: on repositories, and on whole namespaces."""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeVar

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import WholeQuery
from dtrfast.api.v0.operation import REPOSITORY, ApiCall, Operations
from dtrfast.identity.access_lists import (
    AccessListEntry,
    AccessLists,
    Grantee,
    PlaceName,
    WholeNamespace,
)
from dtrfast.identity.account_views import AccountView, TeamView
from dtrfast.identity.events import Detail
from dtrfast.identity.grants import Level
from dtrfast.identity.teams import TEAMS_MAX
from dtrfast.registry.listing import ListRequest
from dtrfast.registry.management import RepositoryView

operations = Operations("access")

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T", bound=msgspec.Struct)

_NAMESPACE = "/repositoryNamespaces/{namespace}/teamAccess"


class AccessQuery(WholeQuery, frozen=True, rename="camel", kw_only=True):
    """`filter` is a part of the name of the grantee, or of the repository."""

    sort: Literal["name", "-name", "level", "-level"] = "name"


def _place_in(call: ApiCall) -> PlaceName:
    return call.repository if "repository" in call.path else WholeNamespace(call.path["namespace"])


def _grantee_in(call: ApiCall) -> Grantee:
    if "team" in call.path:
        return Grantee("team", call.path["team"])
    return Grantee("user", call.path["grantee"])


def _grant(
    call: ApiCall, body: objects.NewGrant
) -> tuple[AccessListEntry, RepositoryView | AccountView]:
    level = Level.parse(body.access_level)
    done = call.use(AccessLists).grant(_place_in(call), _grantee_in(call), level)
    _note(call, "grant.set", {"level": level.text})
    return done


def _revoke(call: ApiCall) -> None:
    call.use(AccessLists).revoke(_place_in(call), _grantee_in(call))
    _note(call, "grant.remove", {})


def _note(call: ApiCall, kind: str, detail: Detail) -> None:
    place, grantee = _place_in(call), _grantee_in(call)
    subject = place.name if isinstance(place, WholeNamespace) else place.text
    call.note(kind, subject, {grantee.kind: grantee.name, **detail})


def _access(
    kind: type[S], entry: AccessListEntry, place: RepositoryView | AccountView | None = None
) -> S:
    """Return an entry as an API object. Lists of one place's entries have it without a place."""
    return _rights(kind, entry.level.text, entry.holder, place)


def _rights(
    kind: type[S],
    level: str,
    holder: AccountView | TeamView,
    place: RepositoryView | AccountView | None,
) -> S:
    shown: dict[str, object] = {"access_level": level}
    if isinstance(holder, TeamView):
        shown["team"] = views.team(holder)
    else:
        shown["user"] = views.account(holder)
    if isinstance(place, RepositoryView):
        shown["repository"] = views.repository(place)
    elif place is not None:
        shown["namespace"] = views.account(place)
    return kind(**shown)


def _page(
    call: ApiCall,
    query: AccessQuery,
    holder: Literal["user", "team"],
    kind: type[S],
    entry: type[T],
) -> S:
    """Return a page of the grants on a repository, of one kind of holders."""
    found = call.use(AccessLists).page(_place_in(call), holder, query.request)
    assert isinstance(found.place, RepositoryView)
    view, repository = partial(_access, entry), views.repository(found.place)
    return views.page(kind, found.entries, f"{holder}_access_list", view, repository=repository)


# ---- the rights of a user ----------------------------------------------------------------------
@operations.add("GET", "/accounts/{name}/repositoryAccess/{namespace}/{repository}")
def get_repository_access(call: ApiCall) -> objects.UserAccess:
    """Show a user's rights on a repository, from all grants together."""
    return _rights_of_user(call, objects.UserAccess)


@operations.add("GET", "/accounts/{name}/repositoryNamespaceAccess/{namespace}")
def get_namespace_access(call: ApiCall) -> objects.NamespaceAccess:
    """Show a user's rights on all repositories of a namespace."""
    return _rights_of_user(call, objects.NamespaceAccess)


def _rights_of_user(call: ApiCall, kind: type[S]) -> S:
    found = call.use(AccessLists).rights_of(_place_in(call), call.path["name"])
    return _rights(kind, views.level_text(found.actions), found.user, found.place)


# ---- users on a repository ---------------------------------------------------------------------
@operations.add("GET", f"{REPOSITORY}/userAccess")
def list_user_access(call: ApiCall, query: AccessQuery) -> objects.UserAccessList:
    """List the users that have a grant on a repository."""
    return _page(call, query, "user", objects.UserAccessList, objects.UserAccess)


@operations.add("PUT", f"{REPOSITORY}/userAccess/{{grantee}}")
def grant_user_access(call: ApiCall, body: objects.NewGrant) -> objects.UserAccess:
    """Grant a user a level on a repository. It replaces an earlier grant."""
    return _access(objects.UserAccess, *_grant(call, body))


@operations.add("DELETE", f"{REPOSITORY}/userAccess/{{grantee}}")
def revoke_user_access(call: ApiCall) -> None:
    """Revoke a user's grant on a repository."""
    _revoke(call)


# ---- teams on a repository ---------------------------------------------------------------------
@operations.add("GET", f"{REPOSITORY}/teamAccess")
def list_team_access(call: ApiCall, query: AccessQuery) -> objects.TeamAccessList:
    """List the teams that have a grant on a repository."""
    return _page(call, query, "team", objects.TeamAccessList, objects.TeamAccess)


@operations.add("PUT", f"{REPOSITORY}/teamAccess/{{team}}")
def grant_team_access(call: ApiCall, body: objects.NewGrant) -> objects.TeamAccess:
    """Grant a team of the organization a level on a repository."""
    return _access(objects.TeamAccess, *_grant(call, body))


@operations.add("DELETE", f"{REPOSITORY}/teamAccess/{{team}}")
def revoke_team_access(call: ApiCall) -> None:
    """Revoke a team's grant on a repository."""
    _revoke(call)


# ---- teams on a namespace ----------------------------------------------------------------------
@operations.add("GET", _NAMESPACE)
def list_namespace_access(call: ApiCall) -> objects.NamespaceTeamAccessList:
    """List the teams that have a grant on a whole namespace."""
    found = call.use(AccessLists).page(_place_in(call), "team", ListRequest(limit=TEAMS_MAX))
    assert isinstance(found.place, AccountView)
    kind, place = objects.NamespaceTeamAccess, found.place
    return objects.NamespaceTeamAccessList(
        namespace=views.account(place),
        team_access_list=[_access(kind, entry, place) for entry in found.entries.entries],
    )


@operations.add("GET", f"{_NAMESPACE}/{{team}}")
def get_namespace_team_access(call: ApiCall) -> objects.NamespaceTeamAccess:
    """Show a team's grant on a whole namespace."""
    found = call.use(AccessLists).get(_place_in(call), _grantee_in(call))
    return _access(objects.NamespaceTeamAccess, *found)


@operations.add("PUT", f"{_NAMESPACE}/{{team}}")
def grant_namespace_access(call: ApiCall, body: objects.NewGrant) -> objects.NamespaceTeamAccess:
    """Grant a team a level on all repositories of its organization; `admin` may create them."""
    return _access(objects.NamespaceTeamAccess, *_grant(call, body))


@operations.add("DELETE", f"{_NAMESPACE}/{{team}}")
def revoke_namespace_access(call: ApiCall) -> None:
    """Revoke a team's grant on a whole namespace."""
    _revoke(call)
