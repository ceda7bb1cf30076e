"""`dtrfast repo` and `access`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import Api, connect
from dtrfast.cli.api_refusal import ApiRefused
from dtrfast.cli.options import HERE
from dtrfast.cli.output import done, remark, show, show_one
from dtrfast.errors import NameInvalid
from dtrfast.oci.versions import version_key

repositories = cyclopts.App(name="repo", help="Manage repositories.")
access = cyclopts.App(name="access", help="Manage access to repositories.")

Level = Literal["read-only", "read-write", "admin"]
_COLUMNS = ["namespace", "name", "visibility", "shortDescription", "accessLevel"]


def split(repository: str) -> tuple[str, str, str]:
    """Return the pieces of a repository's path in the API."""
    namespace, slash, name = repository.partition("/")
    return ("repositories", namespace, name) if slash else ("repositories", "_", namespace)


@repositories.command(name="list")
def list_repositories(namespace: str = "", *, at: At = HERE) -> None:
    """List all repositories, or those of one namespace."""
    pieces = ("repositories", namespace) if namespace else ("repositories",)
    with connect(at) as api:
        show(at, api.pages("repositories", *pieces), _COLUMNS)


@repositories.command(name="create")
def create_repository(
    repository: str,
    *,
    public: Annotated[
        bool, Parameter(help="Let all users and anonymous clients pull.", negative="")
    ] = False,
    description: str = "",
    at: At = HERE,
) -> None:
    """Create a repository: NAMESPACE/NAME, or a name of one part."""
    _, namespace, name = split(repository)
    body = {
        "name": name,
        "shortDescription": description,
        "visibility": "public" if public else "private",
    }
    with connect(at) as api:
        made = api.call("POST", "repositories", namespace, body=body)
    done(at, made, f"created the repository {repository}")


@repositories.command(name="show")
def show_repository(repository: str, *, at: At = HERE) -> None:
    """Show a repository."""
    with connect(at) as api:
        show_one(at, api.call("GET", *split(repository)))


@repositories.command(name="update")
def update_repository(
    repository: str,
    *,
    public: Annotated[
        bool | None,
        Parameter(
            help="Let all users and anonymous clients pull, or only permitted users.",
            negative="--private",
        ),
    ] = None,
    description: str | None = None,
    at: At = HERE,
) -> None:
    """Change a repository's visibility or description."""
    body: dict[str, str] = {}
    if public is not None:
        body["visibility"] = "public" if public else "private"
    if description is not None:
        body["shortDescription"] = description
    with connect(at) as api:
        answer = api.call("PATCH", *split(repository), body=body)
    done(at, answer, f"changed the repository {repository}")


@repositories.command(name="tags")
def list_tags(repository: str, *, at: At = HERE) -> None:
    """List the tags of a repository, the newest first."""
    with connect(at) as api:
        tags = api.pages("tags", *split(repository), "tags")
    # Times are whole seconds: of the tags of one second, the highest version comes first.
    tags.sort(key=lambda tag: (tag["setAt"], version_key(tag["name"])), reverse=True)
    show(at, tags, ["name", "digest", "setAt"])


@repositories.command(name="delete")
def delete_repository(repository: str, *, at: At = HERE) -> None:
    """Delete a repository with everything in it."""
    with connect(at) as api:
        done(at, api.call("DELETE", *split(repository)), f"deleted the repository {repository}")


# ---- access ----------------------------------------------------------------------------------
@access.command(name="list")
def list_access(
    place: Annotated[
        str, Parameter(help="NAMESPACE/NAME, a repository with a name of one part, or a namespace.")
    ],
    *,
    at: At = HERE,
) -> None:
    """List the grants on a repository and on its whole namespace, or those on a namespace."""
    namespace, slash, _ = place.partition("/")
    whole = (f"{namespace}/*", ["team"], "repositoryNamespaces", namespace)
    with connect(at) as api:
        try:
            rows = _grants(api, place, ["user", "team"], *split(place))
        except ApiRefused as refusal:
            if slash or refusal.status != 404:
                raise
            rows = _grants(api, *whole)
        else:
            try:
                rows += _grants(api, *whole)
            except ApiRefused as refusal:
                if refusal.status == 403:
                    remark(f"the grants on {namespace}/* are missing here: {refusal}")
                elif refusal.status != 404:  # the namespace of a user has no grants
                    raise
    show(at, rows, ["kind", "name", "level", "on"])


def _grants(api: Api, place: str, kinds: Sequence[str], *pieces: str) -> list[dict[str, str]]:
    """Return the grants at a place, which `pieces` name in the API."""
    return [
        {"kind": kind, "name": one[kind]["name"], "level": one["accessLevel"], "on": place}
        for kind in kinds
        for one in api.call("GET", *pieces, f"{kind}Access")[f"{kind}AccessList"]
    ]


def _grantee(user: str, team: str) -> tuple[str, str]:
    if bool(user) == bool(team):
        raise NameInvalid("name either a user or a team: --user NAME or --team NAME")
    return ("userAccess", user) if user else ("teamAccess", team)


@access.command(name="grant")
def grant(repository: str, level: Level, *, user: str = "", team: str = "", at: At = HERE) -> None:
    """Grant a user, or a team of the repository's organization, access to a repository."""
    grantee = _grantee(user, team)
    with connect(at) as api:
        body = {"accessLevel": level}
        answer = api.call("PUT", *split(repository), *grantee, body=body)
    done(at, answer, f"{grantee[1]} has {level} on {repository}")


@access.command(name="revoke")
def revoke(repository: str, *, user: str = "", team: str = "", at: At = HERE) -> None:
    """Revoke the grant of a user or a team on a repository."""
    grantee = _grantee(user, team)
    with connect(at) as api:
        answer = api.call("DELETE", *split(repository), *grantee)
    done(at, answer, f"{grantee[1]} no longer has a grant on {repository}")


@access.command(name="grant-namespace")
def grant_namespace(organization: str, team: str, level: Level, *, at: At = HERE) -> None:
    """Grant a team access to all repositories of its organization."""
    pieces = ("repositoryNamespaces", organization, "teamAccess", team)
    with connect(at) as api:
        answer = api.call("PUT", *pieces, body={"accessLevel": level})
    done(at, answer, f"the team {team} has {level} on all repositories of {organization}")


@access.command(name="revoke-namespace")
def revoke_namespace(organization: str, team: str, *, at: At = HERE) -> None:
    """Revoke the grant of a team on all repositories of its organization."""
    with connect(at) as api:
        answer = api.call("DELETE", "repositoryNamespaces", organization, "teamAccess", team)
    done(at, answer, f"the team {team} no longer has a grant on all of {organization}")


@access.command(name="check")
def check(user: str, repository: str, *, at: At = HERE) -> None:
    """Show the access level of a user on a repository, by all grants together."""
    _, namespace, name = split(repository)
    with connect(at) as api:
        answer = api.call("GET", "accounts", user, "repositoryAccess", namespace, name)
    done(at, answer, f"{user} has {answer['accessLevel']} on {repository}")
