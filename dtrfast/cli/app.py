"""The command line: its commands, and the messages for their errors."""

from __future__ import annotations

import itertools
import os
import platform
import sys
from collections.abc import Sequence
from typing import Literal

import cyclopts
import msgspec
from rich.console import Console

import dtrfast
from dtrfast.cli.api_refusal import ApiRefused
from dtrfast.cli.exit_status import FAILED, INTERRUPTED, OK, WRONG_USAGE
from dtrfast.cli.options import Json
from dtrfast.cli.output import finish, plain
from dtrfast.errors import DtrfastError, StartRefused
from dtrfast.oci import characters

app = cyclopts.App(
    name="dtrfast",
    help="A container registry for busy CI.",
    version=dtrfast.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `run` returns the status
)
# The module of a command is imported when the command runs, so that each starts fast.
_PLACES = {
    "serve": "serve:serve",
    "config": "config:app",
    "stats": "stats:stats",
    "df": "upkeep:df",
    "gc": "upkeep:gc",
    "verify": "upkeep:verify",
    "repair": "repair:repair",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "backups": "backup:backups",
    "rollback": "rollback:rollback",
    "seal": "rollback:seal",
    "diagnostics": "diagnostics:diagnostics",
    "login": "sign_in:login",
    "logout": "sign_in:logout",
    "whoami": "sign_in:whoami",
    "profile": "sign_in:profiles",
    "user": "accounts:users",
    "org": "accounts:organizations",
    "team": "accounts:teams",
    "repo": "repositories:repositories",
    "access": "repositories:access",
    "tag": "trash:tags",
    "trash": "trash:trash",
    "token": "credentials:tokens",
    "ldap": "ldap:ldap",
    "job": "jobs:jobs",
    "tier": "tier:tier",
}
for name, place in _PLACES.items():
    app.command(f"dtrfast.cli.{place}", name=name)


@app.command
def version(*, json: Json = False) -> None:
    """Print the version."""
    document = {"version": dtrfast.__version__, "python": platform.python_version()}
    finish(document, [f"dtrfast {dtrfast.__version__}"], is_json=json)


@app.command(name="completion")
def print_completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the script that completes commands in a shell. See docs/command-line.md."""
    from dtrfast.cli import completion

    sys.stdout.write(completion.script(completion.describe(app), shell))


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name. Returns the exit status. An error becomes one line on
    standard error; with --json it is one JSON document.
    """
    is_json = "--json" in itertools.takewhile(lambda argument: argument != "--", arguments)
    try:
        if sys.flags.optimize:
            raise StartRefused(
                "Python runs with -O, which removes the checks that protect the data: run it"
                " without -O and without PYTHONOPTIMIZE"
            )
        if not arguments or arguments[0] in app.help_flags or arguments[0] not in app:
            for name in _PLACES:
                app[name]  # loads it: the help lists the first sentence of each
        console = Console(stderr=True)
        result = app(arguments, error_console=console, exit_on_error=False, print_error=not is_json)
    except cyclopts.CycloptsError as error:
        if is_json:  # else the library printed it with the usage
            _report_json("USAGE", str(error))
        return WRONG_USAGE
    except DtrfastError as error:
        if is_json:
            _report_json(_code_of(error), str(error))
        else:
            sys.stderr.write(plain(f"dtrfast: {error}") + "\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. The flush at exit must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return result if isinstance(result, int) else OK


def _code_of(error: DtrfastError) -> str:
    """Return the API's code of an error."""
    if isinstance(error, ApiRefused):
        return error.code
    from dtrfast.api.errors import row_of  # not at the top: it loads the web framework

    return row_of(error).code


def _report_json(code: str, message: str) -> None:
    """Write an error to standard error, in the API's form of an error."""
    document = {"errors": [{"code": code, "message": message}]}
    sys.stderr.write(characters.escaped_json(msgspec.json.encode(document).decode()) + "\n")
