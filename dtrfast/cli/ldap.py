"""`dtrfast ldap`: the directory that users come from."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from dtrfast.cli.accounts import At, read_password
from dtrfast.cli.connection import HERE, connect
from dtrfast.cli.output import done, say, show, show_one
from dtrfast.errors import SettingsInvalid

ldap = cyclopts.App(name="ldap", help="The LDAP directory that users and teams come from.")

_COLUMNS = ["change", "account", "team", "to", "dn", "reason"]


@ldap.command(name="show")
def show_settings(*, at: At = HERE) -> None:
    """Show the directory's settings, without its password."""
    with connect(at) as api:
        show_one(at, api.call("GET", "admin", "settings", "ldap"))


@ldap.command(name="set")
def set_settings(*, at: At = HERE) -> None:
    """Read the settings from standard input, as JSON (docs/ldap.md has an example)."""
    try:
        document = json.load(sys.stdin)
    except ValueError as error:
        raise SettingsInvalid(f"standard input is not JSON: {error}") from error
    with connect(at) as api:
        answer = api.call("PUT", "admin", "settings", "ldap", body=document)
    done(at, answer, "the settings are kept; try them: dtrfast ldap sync --dry-run")


@ldap.command(name="remove")
def remove_settings(*, at: At = HERE) -> None:
    """Use no directory any more; its accounts stay."""
    with connect(at) as api:
        done(at, api.call("DELETE", "admin", "settings", "ldap"), "no directory is used any more")


@ldap.command(name="sync")
def sync(
    *,
    dry_run: Annotated[bool, Parameter(help="Only say what would change.", negative="")] = False,
    allow_removals: Annotated[
        bool,
        Parameter(
            help="Remove more than removalShareMax, and believe what is there and empty.",
            negative="",
        ),
    ] = False,
    at: At = HERE,
) -> int:
    """Bring accounts and teams to what the directory says. Status 1: something is missing."""
    wish = {"dryRun": dry_run, "allowRemovals": allow_removals}
    with connect(at) as api:
        answer = api.call("POST", "admin", "ldap", "sync", body=wish)
    is_whole = not answer["error"] and not answer["problems"]
    if at.json:
        show_one(at, answer)
        return 0 if is_whole else 1
    show(at, answer["changes"], _COLUMNS)
    word = "would change" if dry_run else "changed"
    say(f"{len(answer['changes'])} {word}, {answer['users']} users, {answer['seconds']} s")
    for problem in answer["problems"]:
        say(f"missing: {problem['subject']}: {problem['dn']}: {problem['reason']}")
    if answer["error"]:
        say(answer["error"])
    return 0 if is_whole else 1


@ldap.command(name="try")
def try_login(name: str, *, at: At = HERE) -> int:
    """Try whether somebody could sign in; the password comes from standard input."""
    body = {"username": name, "password": read_password()}
    with connect(at) as api:
        answer = api.call("POST", "admin", "ldap", "tryLogin", body=body)
    done(at, answer, answer["message"])
    return 0 if answer["ok"] else 1
