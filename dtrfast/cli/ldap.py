"""`dtrfast ldap`: the LDAP directory that users come from."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from dtrfast.cli.accounts import At, read_password
from dtrfast.cli.api_client import connect
from dtrfast.cli.exit_status import FAILED, OK
from dtrfast.cli.options import HERE
from dtrfast.cli.output import done, say, show, show_json, show_one
from dtrfast.errors import SettingsInvalid

ldap = cyclopts.App(name="ldap", help="Manage the LDAP directory of users and teams.")

_COLUMNS = ["change", "account", "team", "to", "dn", "reason"]


@ldap.command(name="show")
def show_settings(*, at: At = HERE) -> None:
    """Show the settings of the directory, without its password."""
    with connect(at) as api:
        show_one(at, api.call("GET", "admin", "settings", "ldap"))


@ldap.command(name="set")
def set_settings(*, at: At = HERE) -> None:
    """Set up the directory. Reads JSON from standard input (docs/ldap.md has an example)."""
    try:
        document = json.load(sys.stdin)
    except ValueError as error:
        raise SettingsInvalid(f"standard input is not JSON: {error}") from error
    with connect(at) as api:
        answer = api.call("PUT", "admin", "settings", "ldap", body=document)
    done(at, answer, "saved the settings; try them: dtrfast ldap sync --dry-run")


@ldap.command(name="remove")
def remove_settings(*, at: At = HERE) -> None:
    """Stop using the directory. Its accounts stay."""
    with connect(at) as api:
        answer = api.call("DELETE", "admin", "settings", "ldap")
        done(at, answer, "the directory is no longer used")


@ldap.command(name="sync")
def sync(
    *,
    dry_run: Annotated[
        bool, Parameter(help="Show the changes, and make none of them.", negative="")
    ] = False,
    allow_removals: Annotated[
        bool,
        Parameter(
            help="Allow more removals than removalShareMax, and accept empty user sets and groups.",
            negative="",
        ),
    ] = False,
    at: At = HERE,
) -> int:
    """Synchronize accounts and teams with the directory. Exit status 1: there were problems."""
    wish = {"dryRun": dry_run, "allowRemovals": allow_removals}
    with connect(at) as api:
        answer = api.call("POST", "admin", "ldap", "sync", body=wish)
    is_whole = not answer["error"] and not answer["problems"]
    if at.json:
        show_json(answer)
        return OK if is_whole else FAILED
    show(at, answer["changes"], _COLUMNS)
    word = "changes to make" if dry_run else "changes made"
    say(f"{len(answer['changes'])} {word}, {answer['users']} users, {answer['seconds']} s")
    for problem in answer["problems"]:
        say(f"missing: {problem['subject']}: {problem['dn']}: {problem['reason']}")
    if answer["error"]:
        say(answer["error"])
    return OK if is_whole else FAILED


@ldap.command(name="try")
def try_login(name: str, *, at: At = HERE) -> int:
    """Test the sign-in of a user. Reads the password from standard input."""
    body = {"username": name, "password": read_password()}
    with connect(at) as api:
        answer = api.call("POST", "admin", "ldap", "tryLogin", body=body)
    done(at, answer, answer["message"])
    return OK if answer["ok"] else FAILED
