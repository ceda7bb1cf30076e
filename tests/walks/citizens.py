"""The accounts of a city, their grants, and the logs of their operations."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import msgspec

from dtrfast.identity import accounts, grants, sessions, teams, tokens
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.callers import Caller
from dtrfast.identity.events import Detail, Event
from dtrfast.identity.grants import Level
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.records import Account, Bound
from dtrfast.identity.sessions import NewSession
from dtrfast.identity.teams import NewTeam
from dtrfast.identity.tokens import NewToken
from dtrfast.index.engine import WriteTransaction
from dtrfast.logs.line import LogLine
from dtrfast.machine.line_files import LineFiles
from dtrfast.machine.paths import Layout
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.records import RepositoryChange
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town

_USERS = 5_000
_MEMBERS = 2_000
_GRANTS = 1_000
_TEAMS = 200
_TOKENS = 300
_SESSIONS = 2_000
_REPOSITORIES = 12_000
_LINES = 50_000
_LINES_SIZE_MAX = 256 << 20
_REMOTE = "192.0.2.1"
_NOW = 1_700_000_000


def settle(town: Town) -> None:
    """Add users, teams, credentials and repositories to a town."""
    author = Author("admin", town.clock())
    for change in (_add_users, _add_teams, _add_credentials, _add_repositories):
        town.engine.write(partial(change, author=author))


def _add_users(transaction: WriteTransaction, author: Author) -> None:
    acme = accounts.get(transaction, "acme")
    readers = teams.get(transaction, acme, "readers")
    app = grants.repository_place(repositories.get(transaction, RepositoryName("acme/app")))
    for number in range(_USERS):
        new = NewAccount(AccountName(f"user{number:05}"), full_name=f"A User {number}")
        user = accounts.create(transaction, author, new)
        if number < _MEMBERS:
            teams.add_member(transaction, author, acme, readers, user)
        if number < _GRANTS:
            grants.put(transaction, author, app, user.id, Level.READ_WRITE)
        if number < _SESSIONS:
            _open_session(transaction, author, user)


def _open_session(transaction: WriteTransaction, author: Author, user: Account) -> None:
    caller = Caller("user", user.name, "password", user.id, user.generation)
    new = NewSession.make(caller, author.now, _REMOTE)
    sessions.open_session(transaction, new, author.now)


def _add_teams(transaction: WriteTransaction, author: Author) -> None:
    acme = accounts.get(transaction, "acme")
    rita = accounts.get(transaction, "rita")
    place = grants.namespace_place(acme.id)
    app = grants.repository_place(repositories.get(transaction, RepositoryName("acme/app")))
    for number in range(_TEAMS):
        team = teams.create(transaction, author, acme, NewTeam(TeamName(f"team{number:03}")))
        teams.add_member(transaction, author, acme, team, rita)
        grants.put(transaction, author, place, team.id, Level.READ_ONLY)
        grants.put(transaction, author, app, team.id, Level.READ_ONLY)


def _add_credentials(transaction: WriteTransaction, author: Author) -> None:
    rita = accounts.get(transaction, "rita")
    acme = accounts.get(transaction, "acme")
    bounds = [Bound("acme/app", 1)]
    for number in range(_TOKENS):
        mine = NewToken.make("personal", f"token {number}")
        tokens.create(transaction, author, rita, mine)
        robot = NewToken.make("robot", f"robot{number}", bounds)
        tokens.create(transaction, author, acme, robot)


def _add_repositories(transaction: WriteTransaction, author: Author) -> None:
    for number in range(_REPOSITORIES):
        name = RepositoryName(f"acme/service{number:05}")
        repositories.create(transaction, name, author, RepositoryChange(description="A service"))


# ---- logs ------------------------------------------------------------------------------------
def write_logs(data: Path) -> None:
    """Write audit events and lines of the server's log, as many as a busy day has."""
    _write(Layout(data).audit, (_event(number) for number in range(_LINES)))
    _write(Layout(data).server_log, (_line(number) for number in range(_LINES)))


def _event(number: int) -> Event:
    subject = "acme/app" if number % 2 else f"acme/service{number % _REPOSITORIES:05}"
    detail: Detail = {"reference": f"t{number:05}"}
    return Event(_NOW + number, "push", f"user{number % _USERS:05}", _REMOTE, "ok", subject, detail)


def _line(number: int) -> LogLine:
    return LogLine(
        time=_NOW + number,
        level="info",
        process=f"worker {number % 4}",
        kind="request",
        method="GET",
        path=f"/v2/acme/app/manifests/t{number:05}",
        status=200,
        repository="acme/app",
        user=f"user{number % _USERS:05}",
        remote=_REMOTE,
    )


def _write(directory: Path, lines: Iterable[msgspec.Struct]) -> None:
    files = LineFiles(directory, _LINES_SIZE_MAX)
    files.append(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    files.close()
