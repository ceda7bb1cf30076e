"""`dtrfast user`, `org` and `team`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from dtrfast.cli.connection import HERE, Where, connect
from dtrfast.cli.output import done, say, show, show_one
from dtrfast.errors import SettingsInvalid
from dtrfast.identity.passwords import make_random

users = cyclopts.App(name="user", help="Users: who may sign in.")
organizations = cyclopts.App(name="org", help="Organizations: namespaces that teams share.")
teams = cyclopts.App(name="team", help="Teams of organizations, and their members.")

At = Annotated[Where, Parameter(name="*")]
_COLUMNS = ["name", "type", "isActive", "isAdmin", "fullName", "ldapLogin"]


# ---- users -----------------------------------------------------------------------------------
@users.command(name="list")
def list_users(*, filter: str = "", at: At = HERE) -> None:
    """List users."""
    with connect(at) as api:
        query = {"type": "user", "filter": filter}
        show(at, api.pages("accounts", "accounts", query=query), _COLUMNS)


@users.command(name="create")
def create_user(
    name: str,
    *,
    admin: Annotated[bool, Parameter(help="A system administrator.", negative="")] = False,
    full_name: str = "",
    password_stdin: Annotated[
        bool, Parameter(help="Read the password from standard input.", negative="")
    ] = False,
    at: At = HERE,
) -> None:
    """Make a user, with a random password unless one is given."""
    password = read_password() if password_stdin else make_random()
    with connect(at) as api:
        body = {"name": name, "password": password, "isAdmin": admin, "fullName": full_name}
        made = api.call("POST", "accounts", body=body)
    if password_stdin:
        done(at, made, f"made the user {name}")
    else:
        done(at, {**made, "password": password}, f"made the user {name}, password {password}")


@users.command(name="import")
def import_users(
    file: Annotated[str, Parameter(help="username,password,fullName,isAdmin; - is standard input")],
    *,
    at: At = HERE,
) -> None:
    """Make users from a file of comma-separated values."""
    with connect(at) as api:
        text = _read(file)
        answer = api.call("POST", "admin", "importAccounts", body={"csv": text})
        done(at, answer, f"made {len(answer['made'])} users, {len(answer['taken'])} were there")


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{file} is no text in UTF-8: save it as that") from error


@users.command(name="show")
def show_user(name: str, *, at: At = HERE) -> None:
    """Show a user."""
    with connect(at) as api:
        show_one(at, api.call("GET", "accounts", name))


@users.command(name="update")
def update_user(
    name: str, *, admin: bool | None = None, full_name: str | None = None, at: At = HERE
) -> None:
    """Change a user's global role or full name."""
    given = {"isAdmin": admin, "fullName": full_name}
    body = {field: value for field, value in given.items() if value is not None}
    with connect(at) as api:
        done(at, api.call("PATCH", "accounts", name, body=body), f"changed the user {name}")


@users.command(name="reset-password")
def reset_password(
    name: str,
    *,
    password_stdin: Annotated[
        bool, Parameter(help="Read the password from standard input.", negative="")
    ] = False,
    at: At = HERE,
) -> None:
    """Give a user another password: a random one, which is printed, or one from standard input."""
    with connect(at) as api:
        if password_stdin:
            body = {"newPassword": read_password()}
            answer = api.call("POST", "accounts", name, "changePassword", body=body)
            done(at, answer, f"changed the password of {name}")
        else:
            answer = api.call("POST", "accounts", name, "resetPassword")
            done(at, answer, f"{name} has the password {answer['password']}")


@users.command(name="activate")
def activate(name: str, *, at: At = HERE) -> None:
    """Let a user sign in again."""
    with connect(at) as api:
        done(at, api.call("PUT", "accounts", name, "activate"), f"{name} may sign in")


@users.command(name="deactivate")
def deactivate(name: str, *, at: At = HERE) -> None:
    """Let a user sign in no more, at once."""
    with connect(at) as api:
        done(at, api.call("PUT", "accounts", name, "deactivate"), f"{name} may not sign in")


@users.command(name="delete")
@organizations.command(name="delete")
def delete_account(name: str, *, at: At = HERE) -> None:
    """Delete a user or an organization that has no repositories."""
    with connect(at) as api:
        done(at, api.call("DELETE", "accounts", name), f"deleted {name}")


def read_password() -> str:
    """One line of standard input, without its end."""
    return sys.stdin.readline().rstrip("\r\n")


# ---- organizations ---------------------------------------------------------------------------
@organizations.command(name="list")
def list_organizations(*, filter: str = "", at: At = HERE) -> None:
    """List organizations."""
    with connect(at) as api:
        query = {"type": "organization", "filter": filter}
        show(at, api.pages("accounts", "accounts", query=query), ["name", "fullName", "createdAt"])


@organizations.command(name="create")
def create_organization(name: str, *, owner: str = "", at: At = HERE) -> None:
    """Make an organization, and a user its owner."""
    with connect(at) as api:
        made = api.call("POST", "accounts", body={"name": name, "type": "organization"})
        if owner:
            api.call("PUT", "accounts", name, "teams", "owners", "members", owner)
    done(at, made, f"made the organization {name}")
    if not owner and not at.json:
        say(f"it has no owner yet: dtrfast team add {name} owners USER")


@organizations.command(name="members")
def list_members(name: str, *, at: At = HERE) -> None:
    """List all that are in any team of an organization."""
    with connect(at) as api:
        show(at, api.pages("members", "accounts", name, "members"), _COLUMNS)


# ---- teams -----------------------------------------------------------------------------------
@teams.command(name="list")
def list_teams(organization: str, *, at: At = HERE) -> None:
    """List the teams of an organization."""
    with connect(at) as api:
        found = api.pages("teams", "accounts", organization, "teams")
        show(at, found, ["name", "type", "description", "ldapDN"])


@teams.command(name="create")
def create_team(
    organization: str,
    name: str,
    *,
    description: str = "",
    ldap_dn: Annotated[str, Parameter(help="A group, whose members the team then has.")] = "",
    ldap_attribute: Annotated[str, Parameter(help="What holds the group's members.")] = "",
    at: At = HERE,
) -> None:
    """Make a team."""
    body = {"name": name, "description": description}
    if ldap_dn:
        body |= {
            "type": "ldap",
            "ldapDN": ldap_dn,
            "ldapGroupMemberAttribute": ldap_attribute,
        }
    with connect(at) as api:
        made = api.call("POST", "accounts", organization, "teams", body=body)
    done(at, made, f"made the team {name} of {organization}")


@teams.command(name="delete")
def delete_team(organization: str, name: str, *, at: At = HERE) -> None:
    """Delete a team with what was granted to it."""
    with connect(at) as api:
        answer = api.call("DELETE", "accounts", organization, "teams", name)
    done(at, answer, f"deleted the team {name} of {organization}")


@teams.command(name="members")
def list_team_members(organization: str, name: str, *, at: At = HERE) -> None:
    """List the members of a team."""
    with connect(at) as api:
        show(at, api.pages("members", "accounts", organization, "teams", name, "members"), _COLUMNS)


@teams.command(name="add")
def add_member(organization: str, team: str, user: str, *, at: At = HERE) -> None:
    """Put a user into a team."""
    with connect(at) as api:
        answer = api.call("PUT", "accounts", organization, "teams", team, "members", user)
    done(at, answer, f"{user} is in the team {team} of {organization}")


@teams.command(name="remove")
def remove_member(organization: str, team: str, user: str, *, at: At = HERE) -> None:
    """Take a user out of a team."""
    with connect(at) as api:
        answer = api.call("DELETE", "accounts", organization, "teams", team, "members", user)
    done(at, answer, f"{user} is no more in the team {team} of {organization}")
