"""`dtrfast ldap sync` names all missing objects, and its exit status reports them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgspec
import pytest

from dtrfast.cli.app import run
from dtrfast.config import StoreConfig
from dtrfast.identity.ldap.settings import UserSet
from dtrfast.store.store import Store
from tests.identity.ldap.slapd import GROUPS, PEOPLE, Slapd

pytestmark = pytest.mark.slow


class Commands:
    """Commands on a data directory, in this process: a process for each would take a minute."""

    def __init__(
        self, data: Path, slapd: Slapd, patch: pytest.MonkeyPatch, shown: pytest.CaptureFixture[str]
    ) -> None:
        Store.open(data, StoreConfig()).close()
        self._data = data
        self._slapd = slapd
        self._patch = patch
        self._shown = shown

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command. Return its exit status and its output."""
        self._shown.readouterr()
        status = run([*arguments, "--data", str(self._data)])
        out, errors = self._shown.readouterr()
        return status, out + errors

    def use(self, wanted: str) -> None:
        """Write settings with the users that a filter finds."""
        ldap = self._slapd.settings(user_sets=(UserSet(base_dn=PEOPLE, filter=wanted),))
        self._patch.setattr("sys.stdin", io.StringIO(json.dumps(msgspec.to_builtins(ldap))))
        assert self.run("ldap", "set")[0] == 0


def test_the_status_tells_what_is_missing(
    slapd: Slapd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DTRFAST_AUTH_MODE", "managed")
    commands = Commands(tmp_path / "data", slapd, monkeypatch, capsys)
    commands.run("org", "create", "acme")
    commands.use("(sn=user10*)")
    assert commands.run("ldap", "sync")[0] == 0
    commands.run("team", "create", "acme", "typo", "--ldap-dn", f"cn=fwe,{GROUPS}")
    for more in ((), ("--dry-run",), ("--json",)):
        status, text = commands.run("ldap", "sync", *more)
        assert (status, f"cn=fwe,{GROUPS}" in text, "team acme/typo" in text) == (1, True, True)
    commands.use("(sn=user100*)")
    for more in ((), ("--dry-run",)):
        status, text = commands.run("ldap", "sync", *more)
        assert (status, "100 of 111" in text, "--allow-removals" in text) == (1, True, True)
    assert text.count("deactivate") == 100
    assert commands.run("ldap", "sync", "--allow-removals")[0] == 1  # the group is still missing
    commands.run("team", "delete", "acme", "typo")
    status, text = commands.run("ldap", "sync")
    assert (status, "0 changes made" in text) == (0, True)
