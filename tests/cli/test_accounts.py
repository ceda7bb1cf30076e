"""Commands on accounts: on a data directory, beside its running server, and on a URL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dtrfast.config import StoreConfig
from dtrfast.store.store import Store
from tests.e2e import managed as registries
from tests.e2e.managed import ManagedRegistry

pytestmark = pytest.mark.slow

Run = Callable[..., str]


class Failed(Exception):
    """A command ended with an error. The message is the command's own."""


def command(*arguments: str, text: str = "", variables: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dtrfast", *arguments],
        env={**os.environ, "COLUMNS": "200", "DTRFAST_AUTH_MODE": "managed", **(variables or {})},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        assert "Traceback" not in done.stderr
        raise Failed(done.stderr + done.stdout)
    return done.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that no server uses."""
    path = tmp_path / "data"
    Store.open(path, StoreConfig()).close()
    return path


@pytest.fixture
def run(data: Path) -> Run:
    def on_data(*arguments: str, **options: Any) -> str:
        return command(*arguments, "--data", str(data), **options)

    return on_data


@pytest.fixture(scope="module")
def managed() -> Iterator[ManagedRegistry]:
    with (
        tempfile.TemporaryDirectory(prefix="dtrfast-cli-") as folder,
        registries.running(Path(folder)) as server,
    ):
        yield server


def test_from_nothing_to_a_grant(run: Run) -> None:
    assert "password" in run("user", "create", "alice", "--admin")
    run("user", "create", "bob", "--password-stdin", text="correct horse\n")
    run("org", "create", "acme", "--owner", "alice")
    run("team", "create", "acme", "dev", "--description", "those who build")
    run("team", "add", "acme", "dev", "bob")
    run("repo", "create", "acme/app", "--description", "the app")
    run("access", "grant", "acme/app", "read-only", "--team", "dev")
    assert run("access", "check", "bob", "acme/app") == "bob has read-only on acme/app\n"
    run("access", "grant-namespace", "acme", "dev", "read-write")
    assert run("access", "check", "bob", "acme/app") == "bob has read-write on acme/app\n"
    run("access", "revoke-namespace", "acme", "dev")
    run("access", "revoke", "acme/app", "--team", "dev")
    assert run("access", "check", "bob", "acme/app") == "bob has none on acme/app\n"


def test_lists(run: Run) -> None:
    run("user", "create", "alice", "--full-name", "Alice A.")
    run("org", "create", "acme", "--owner", "alice")
    run("repo", "create", "acme/app", "--public")
    assert "Alice A." in run("user", "list")
    assert "acme" not in run("user", "list")
    assert "acme" in run("org", "list")
    assert "alice" in run("org", "members", "acme")
    assert "owners" in run("team", "list", "acme")
    assert "public" in run("repo", "list", "acme")
    assert json.loads(run("repo", "list", "--json"))[0]["visibility"] == "public"
    assert run("repo", "tags", "acme/app") == ""
    run("repo", "update", "acme/app", "--private")
    assert "private" in run("repo", "show", "acme/app")


def test_users_of_a_file(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "users.csv"
    table.write_text("username,fullName\nalice,Alice A.\nbob,Bob B.\n")
    assert run("user", "import", str(table)) == "created 2 users; 0 names existed already\n"
    assert "Bob B." in run("user", "list")
    with pytest.raises(Failed, match="cannot be read"):
        run("user", "import", str(tmp_path / "none.csv"))


def test_tokens(run: Run) -> None:
    run("user", "create", "alice")
    run("org", "create", "acme", "--owner", "alice")
    make = ("token", "create", "alice", "ci", "--scope", "acme/*:pull", "--days", "7")
    token = run(*make).split()[0]
    assert token.startswith("dtrp_")
    robot = json.loads(
        run("token", "create", "acme", "ci", "--robot", "--scope", "acme/*:pull,push", "--json")
    )
    assert robot["user"] == "acme+ci"
    listed = run("token", "list", "alice")
    assert "ci" in listed
    assert token not in listed
    run("token", "delete", "alice", "ci")
    assert run("token", "list", "alice") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("user", "show", "ghost"), "there is no account 'ghost'"),
        (("user", "create", "A B"), "is not a name for an account"),
        (("user", "create", "$(x)"), "is not a name for an account"),
        (("access", "grant", "acme/app", "read-only"), "--user NAME or --team NAME"),
        (("access", "grant", "acme/app", "everything", "--user", "x"), "Invalid value"),
        (("token", "create", "x", "y", "--scope", "acme"), "is not a scope"),
        (("repo", "delete", "acme/app"), "there is no repository"),
        (("ldap", "show"), "no LDAP directory is set up"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Failed, match=message):
        run(*arguments)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="not a data directory that you may open"):
        command("user", "list", "--data", str(tmp_path / "nowhere"))


def test_beside_a_running_server(managed: ManagedRegistry) -> None:
    data = str(managed.registry.data)
    password = command("user", "reset-password", "nora", "--data", data).split()[-1]
    managed.secrets["nora"] = password
    assert managed.api("GET", "accounts/nora", who="nora")["name"] == "nora"
    command("user", "deactivate", "nora", "--data", data)
    with pytest.raises(AssertionError, match="401"):
        managed.api("GET", "accounts/nora", who="nora")
    command("user", "activate", "nora", "--data", data)


def test_on_a_url(managed: ManagedRegistry, tmp_path: Path) -> None:
    made = managed.api("POST", "accounts/owen/tokens", {"name": "cli"}, who="owen")
    file = tmp_path / "token"
    file.write_text(made["token"] + "\n")
    url = ("--url", managed.registry.url)
    assert "acme" in command("repo", "list", *url, "--token-file", str(file))
    variables = {"DTRFAST_TOKEN": made["token"]}
    assert "acme" in command("repo", "list", *url, variables=variables)
    with pytest.raises(Failed, match="only a system administrator"):
        command("user", "create", "x", *url, variables=variables)
    with pytest.raises(Failed, match="not known, or was revoked"):
        command("repo", "list", *url, variables={"DTRFAST_TOKEN": "dtrp_x"})
    with pytest.raises(Failed, match="give a token"):
        command("repo", "list", *url)
    with pytest.raises(Failed, match="does not answer"):
        command("repo", "list", "--url", "http://127.0.0.1:1", variables=variables)


def test_a_repository_of_a_deleted_account_is_restored_by_its_id_alone(run: Run) -> None:
    """Another account has its name by now, and may have requested the restoration."""
    run("org", "create", "acme")
    run("repo", "create", "acme/app")
    run("repo", "delete", "acme/app")
    run("org", "delete", "acme")
    run("org", "create", "acme")
    with pytest.raises(Failed, match="use its id, 1"):
        run("trash", "restore", "acme/app")
    assert "restored" in run("trash", "restore", "1")
