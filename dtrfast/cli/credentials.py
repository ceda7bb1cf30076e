"""`dtrfast token`: personal tokens of users, and robots of organizations."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import connect
from dtrfast.cli.figures import whole_seconds
from dtrfast.cli.options import HERE, WHOLE
from dtrfast.cli.output import done, remark, show
from dtrfast.errors import NameInvalid

tokens = cyclopts.App(name="token", help="Manage personal tokens, and robots of organizations.")

_Robot = Annotated[
    bool, Parameter(help="OWNER is an organization, and the token is a robot.", negative="")
]


def _kind(robot: bool) -> str:
    return "robots" if robot else "tokens"


@tokens.command(name="list")
def list_tokens(owner: str, *, robot: _Robot = False, at: At = HERE) -> None:
    """List the tokens of a user, or the robots of an organization."""
    with connect(at) as api:
        found = api.call("GET", "accounts", owner, _kind(robot))["credentials"]
    show(at, found, ["name", "user", "scopes", "expiresAt", "lastUsedAt", "lastUsedFrom"])


@tokens.command(name="create")
def create_token(
    owner: str,
    name: str,
    *,
    robot: _Robot = False,
    scope: Annotated[
        list[str], Parameter(help="REPOSITORY:ACTION,ACTION, such as acme/*:pull,push.")
    ] = [],  # noqa: B006 - never changed
    days: Annotated[
        int | None, WHOLE, Parameter(help="Days until the token expires; 0: never.")
    ] = None,
    at: At = HERE,
) -> None:
    """Create a token, and print it. It cannot be shown again."""
    scopes = []
    for text in scope:
        repository, colon, actions = text.rpartition(":")
        if not colon:
            raise NameInvalid(f"{text!r} is not a scope: write REPOSITORY:ACTION,ACTION")
        scopes.append({"repository": repository, "actions": actions.split(",")})
    body: dict[str, Any] = {"name": name, "scopes": scopes}
    if days is not None:
        body["expiresInDays"] = days
    with connect(at) as api:
        made = api.call("POST", "accounts", owner, _kind(robot), body=body)
    done(at, made, made["token"])
    if not at.json:
        ends = whole_seconds(made["expiresAt"])
        expiry = f"it expires at {ends}" if ends else "it never expires"
        remark(f"the token cannot be shown again; sign in with it as {made['user']}; {expiry}")


@tokens.command(name="delete")
def delete_token(owner: str, name: str, *, robot: _Robot = False, at: At = HERE) -> None:
    """Revoke a token or a robot at once."""
    with connect(at) as api:
        done(at, api.call("DELETE", "accounts", owner, _kind(robot), name), f"revoked {name}")
