"""Commands that change a data directory, or copy its secrets, write an audit event there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dtrfast.cli.app import app, run
from dtrfast.config import StoreConfig, load
from dtrfast.identity.events import Event, EventFilter, EventReader
from dtrfast.server import first_start
from dtrfast.store.store import Store

# Commands that do not use the management API. A walk of its own covers the API.
_LEAVE_EVENTS = {"backup", "gc", "repair", "restore", "rollback", "seal", "serve", "tier"}
_READ_ONLY = {"backups", "completion", "config", "profile", "stats", "verify", "version"}
_ASK_THE_API = {
    "access",
    "df",
    "diagnostics",
    "job",
    "ldap",
    "login",
    "logout",
    "org",
    "repo",
    "tag",
    "team",
    "token",
    "trash",
    "user",
    "whoami",
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DTRFAST_AUTH_MODE", "managed")
    monkeypatch.setattr(os, "nice", lambda _: 0)  # this process would keep the priority
    Store.open(tmp_path / "data", StoreConfig()).close()
    return tmp_path / "data"


def events_in(data: Path) -> list[Event]:
    return EventReader(data / "audit").page(EventFilter())[0]


def test_every_command_is_one_of_these() -> None:
    names = {name for name in app if not name.startswith("-")}
    assert names == _LEAVE_EVENTS | _READ_ONLY | _ASK_THE_API


def test_commands_leave_events(data: Path, tmp_path: Path) -> None:
    place, again = str(tmp_path / "place"), tmp_path / "again"
    here = ("--data", str(data))
    for arguments in (
        ("gc", "--trash", "--wait", "0", *here),
        *(("tier", verb, *here) for verb in ("convert", "evict", "expand")),
        ("backup", place, *here),
        ("restore", place, "--data", str(again)),
        ("rollback", *here),
        ("seal", "--data", str(again)),
    ):
        assert run(arguments) == 0, arguments
    first = ["tier.expand", "tier.evict", "tier.convert", "trash.empty"]
    assert [one.kind for one in events_in(data)] == ["store.rollback", "backup", *first]
    kinds = [one.kind for one in events_in(again)]
    assert kinds == ["store.seal", "restore", *first]  # the backup has the first events
    (restored,) = (one for one in events_in(again) if one.kind == "restore")
    assert (restored.actor, restored.remote) == ("system", "command line")
    assert (restored.subject, restored.outcome) == (place, "ok")


def test_the_first_administrator_is_an_event(data: Path) -> None:
    config = load(None, os.environ, {"store.data": str(data)})
    store = Store.open(data, StoreConfig())
    for _ in range(2):
        first_start.make_admin(store, config)
    store.close()
    assert [(one.kind, one.subject) for one in events_in(data)] == [("account.create", "admin")]


def test_a_repair_leaves_an_event(data: Path) -> None:
    shutil.rmtree(data / "index")
    assert run(("repair", "--data", str(data))) == 0
    assert [one.kind for one in events_in(data)] == ["store.repair"]


def test_without_accounts_there_are_no_events(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTRFAST_AUTH_MODE", "none")
    assert run(("seal", "--data", str(data))) == 0
    assert events_in(data) == []
