"""`dtrfast user`, `org` and `team`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from dtrfast.cli.api_client import connect
from dtrfast.cli.options import HERE, RegistryOptions
from dtrfast.cli.output import done, remark, show, show_one
from dtrfast.errors import SettingsInvalid
from dtrfast.identity.passwords import make_random

users = cyclopts.App(name="user", help="Manage users.")
organizations = cyclopts.App(name="org", help="Manage organizations: namespaces that teams share.")
teams = cyclopts.App(name="team", help="Manage teams of organizations, and their members.")

At = Annotated[RegistryOptions, Parameter(name="*")]
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
    admin: Annotated[
        bool, Parameter(help="Make the user a system administrator.", negative="")
    ] = False,
    full_name: str = "",
    password_stdin: Annotated[
        bool, Parameter(help="Read the password from standard input.", negative="")
    ] = False,
    at: At = HERE,
) -> None:
    """Create a user, with a random password unless you give one."""
    password = read_password() if password_stdin else make_random()
    with connect(at) as api:
        body = {"name": name, "password": password, "isAdmin": admin, "fullName": full_name}
        made = api.call("POST", "accounts", body=body)
    if password_stdin:
        done(at, made, f"created the user {name}")
    else:
        text = f"created the user {name} with the password {password}"
        done(at, {**made, "password": password}, text)


@users.command(name="import")
def import_users(
    file: Annotated[
        str,
        Parameter(
            help="Lines of username,password,fullName,isAdmin; - reads them from standard input."
        ),
    ],
    *,
    at: At = HERE,
) -> None:
    """Create users from a file of comma-separated values."""
    with connect(at) as api:
        try:
            data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise SettingsInvalid(f"{file} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise SettingsInvalid(f"{file} is not UTF-8 text: save it as UTF-8") from error
        answer = api.call("POST", "admin", "importAccounts", body={"csv": text})
        made, taken = len(answer["made"]), len(answer["taken"])
        done(at, answer, f"created {made} users; {taken} names existed already")


@users.command(name="show")
def show_user(name: str, *, at: At = HERE) -> None:
    """Show a user."""
    with connect(at) as api:
        show_one(at, api.call("GET", "accounts", name))


@users.command(name="update")
def update_user(
    name: str, *, admin: bool | None = None, full_name: str | None = None, at: At = HERE
) -> None:
    """Change a user's full name, or make the user a system administrator or not."""
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
    """Set a user's password: a random one, which is printed, or one from standard input."""
    with connect(at) as api:
        if password_stdin:
            body = {"newPassword": read_password()}
            answer = api.call("POST", "accounts", name, "changePassword", body=body)
            done(at, answer, f"changed the password of {name}")
        else:
            answer = api.call("POST", "accounts", name, "resetPassword")
            done(at, answer, f"the new password of {name} is {answer['password']}")


@users.command(name="activate")
def activate(name: str, *, at: At = HERE) -> None:
    """Allow a user to sign in again."""
    with connect(at) as api:
        done(at, api.call("PUT", "accounts", name, "activate"), f"{name} can sign in again")


@users.command(name="deactivate")
def deactivate(name: str, *, at: At = HERE) -> None:
    """Stop a user from signing in. Takes effect at once."""
    with connect(at) as api:
        done(at, api.call("PUT", "accounts", name, "deactivate"), f"{name} can no longer sign in")


@users.command(name="delete")
@organizations.command(name="delete")
def delete_account(name: str, *, at: At = HERE) -> None:
    """Delete a user or an organization that has no repositories."""
    with connect(at) as api:
        done(at, api.call("DELETE", "accounts", name), f"deleted {name}")


def read_password() -> str:
    """Read one line of standard input, without the line break. Raises `SettingsInvalid`."""
    try:
        text = sys.stdin.readline()
        text.encode()  # some locales let other bytes pass
    except UnicodeError as error:
        raise SettingsInvalid("the password on standard input is not UTF-8 text") from error
    return text.rstrip("\r\n")


# ---- organizations ---------------------------------------------------------------------------
@organizations.command(name="list")
def list_organizations(*, filter: str = "", at: At = HERE) -> None:
    """List organizations."""
    with connect(at) as api:
        query = {"type": "organization", "filter": filter}
        show(at, api.pages("accounts", "accounts", query=query), ["name", "fullName", "createdAt"])


@organizations.command(name="create")
def create_organization(
    name: str,
    *,
    owner: Annotated[str, Parameter(help="A user to make an owner.")] = "",
    at: At = HERE,
) -> None:
    """Create an organization, and make a user its owner. You become an owner too when you work on a
    registry with a token.
    """
    owners = ("accounts", name, "teams", "owners", "members")
    with connect(at) as api:
        made = api.call("POST", "accounts", body={"name": name, "type": "organization"})
        if owner:
            api.call("PUT", *owners, owner)
        is_owned = bool(owner or api.pages("members", *owners))
    done(at, made, f"created the organization {name}")
    if not is_owned and not at.json:
        remark(f"it has no owner yet; add one: dtrfast team add {name} owners USER")


@organizations.command(name="members")
def list_members(name: str, *, at: At = HERE) -> None:
    """List the users in any team of an organization."""
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
    ldap_dn: Annotated[
        str, Parameter(help="An LDAP group, by its DN: its members become the team's members.")
    ] = "",
    ldap_attribute: Annotated[
        str, Parameter(help="The attribute of the group that lists its members.")
    ] = "",
    at: At = HERE,
) -> None:
    """Create a team."""
    body = {"name": name, "description": description}
    if ldap_dn:
        body |= {
            "type": "ldap",
            "ldapDN": ldap_dn,
            "ldapGroupMemberAttribute": ldap_attribute,
        }
    with connect(at) as api:
        made = api.call("POST", "accounts", organization, "teams", body=body)
    done(at, made, f"created the team {name} of {organization}")


@teams.command(name="delete")
def delete_team(organization: str, name: str, *, at: At = HERE) -> None:
    """Delete a team and its grants."""
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
    """Add a user to a team."""
    with connect(at) as api:
        answer = api.call("PUT", "accounts", organization, "teams", team, "members", user)
    done(at, answer, f"{user} is a member of the team {team} of {organization}")


@teams.command(name="remove")
def remove_member(organization: str, team: str, user: str, *, at: At = HERE) -> None:
    """Remove a user from a team."""
    with connect(at) as api:
        answer = api.call("DELETE", "accounts", organization, "teams", team, "members", user)
    done(at, answer, f"{user} is no longer a member of the team {team} of {organization}")
