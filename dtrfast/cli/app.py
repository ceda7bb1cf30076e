"""The command line: its commands, and the messages for their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import cyclopts
from rich.console import Console

import dtrfast
from dtrfast.cli import (
    accounts,
    backup,
    config,
    credentials,
    diagnostics,
    jobs,
    ldap,
    repair,
    repositories,
    rollback,
    serve,
    stats,
    trash,
    upkeep,
)
from dtrfast.cli.output import plain
from dtrfast.errors import DtrfastError, StartRefused

app = cyclopts.App(
    name="dtrfast",
    help="A container registry for busy CI.",
    version=dtrfast.__version__,
    result_action="return_value",
)
app.command(serve.serve)
app.command(config.app)
app.command(stats.stats)
app.command(upkeep.df)
app.command(upkeep.gc)
app.command(upkeep.verify)
app.command(repair.repair)
app.command(backup.backup)
app.command(backup.restore)
app.command(backup.backups)
app.command(rollback.rollback)
app.command(rollback.seal)
app.command(diagnostics.diagnostics)
for part in (
    accounts.users,
    accounts.organizations,
    accounts.teams,
    repositories.repositories,
    repositories.access,
    trash.tags,
    trash.trash,
    credentials.tokens,
    ldap.ldap,
    jobs.jobs,
):
    app.command(part)


@app.command
def version() -> None:
    """Print the version."""
    Console().print(f"dtrfast {dtrfast.__version__}", highlight=False)


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name. Returns the exit status. An error becomes one line on
    standard error.
    """
    errors = Console(stderr=True)
    try:
        if sys.flags.optimize:
            raise StartRefused(
                "Python runs with -O, which removes the checks that protect the data: run it"
                " without -O and without PYTHONOPTIMIZE"
            )
        result = app(arguments, error_console=errors, exit_on_error=False)
    except cyclopts.CycloptsError:
        return 2  # the library printed it with the usage
    except DtrfastError as error:
        errors.print(plain(f"dtrfast: {error}"), markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe. The flush at exit must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0
