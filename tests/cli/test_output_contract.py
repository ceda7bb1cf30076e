"""The contract of docs/command-line.md: --json of every command, and the exit statuses."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtrfast.backup.snapshot import Snapshot
from dtrfast.cli import backup, exit_status, jobs, upkeep
from dtrfast.cli.app import app, run
from dtrfast.cli.completion import Command, describe
from dtrfast.config import Config, StoreConfig
from dtrfast.machine import locks
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import pending_changes
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from tests.cli import terminal
from tests.cli.test_progress import drawing, until

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"

# Commands without --json, and the reasons.
_WITHOUT_JSON = {
    "serve": "it prints no result; log.format is the form of its log",
    "completion": "it prints a script",
}


@pytest.fixture(scope="module")
def commands() -> list[Command]:
    return [command for command in describe(app).walk() if not command.children]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DTRFAST_AUTH_MODE", "managed")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(os, "nice", lambda _: 0)  # this process would keep the priority
    monkeypatch.chdir(tmp_path)
    store = Store.open(tmp_path / "data", StoreConfig())
    registry = Registry(store.engine, store.blobs, Config(), fullness=lambda: 0.0)
    name, content = RepositoryName("acme/app"), os.urandom(1 << 20)
    upload = registry.uploads.begin(name)
    upload.append(content)
    registry.uploads.finish(upload, name, Digest.of_bytes(content), registry.author())
    upload.release()
    pending_changes.drain(store.engine, store.change_log.append)  # as a server does
    store.close()
    return tmp_path / "data"


def test_every_command_has_json(commands: list[Command]) -> None:
    missing = {
        " ".join(command.path)
        for command in commands
        if all("--json" not in option.names for option in command.options)
    }
    assert missing == set(_WITHOUT_JSON)


def test_the_page_names_every_command_and_every_status(commands: list[Command]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = text.partition("## Commands")[2].partition("## Sign in")[0]
    assert {command.path[0] for command in commands} <= set(re.findall(r"`([a-z]+)", rows))
    table = text.partition("## Exit status")[2].partition("## Environment")[0]
    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", table, flags=re.M)}
    statuses = {value for name, value in vars(exit_status).items() if name.isupper()}
    assert documented == statuses


def documents(capsys: pytest.CaptureFixture[str], *lines: str) -> Iterator[tuple[int, Any]]:
    """Run commands with --json. Yield the status and the document of each."""
    for line in lines:
        status = run([*line.split(), "--json"])
        out, errors = capsys.readouterr()
        assert out, (line, errors)
        yield status, json.loads(out)


def test_documents_of_commands_on_a_data_directory(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (
        "version",
        "config show",
        "config check",
        "stats",
        "df",
        "gc --wait 0 --trash",
        "verify --deep",
        "backup place",
        "backups list place",
        "backups verify place",
        "backups prune place",
        "restore place --data again",
        "diagnostics --output file.tar.gz",
        "user create alice",
        "user list",
        "user import users.csv",
        "job list",
        "job run check",
        "job cancel check",
        "whoami",
        "profile list",
        "seal",
    )
    Path("users.csv").write_text("username\nbob\n")
    found = dict(zip(lines, documents(capsys, *lines), strict=True))
    assert {line for line, (status, _) in found.items() if status} == set()
    answers = {line: document for line, (_, document) in found.items()}
    assert answers["config show"]["store.data"] == {"value": "data", "source": "default"}
    assert answers["verify --deep"] == {
        "isSound": True,
        "findings": [],
        "damagedBlobs": 0,
        "damagedChunks": 0,
    }
    assert answers["backup place"]["bytesCopied"] > 1 << 20
    (listed,) = answers["backups list place"]["backups"]
    assert listed["files"] == answers["backup place"]["files"]
    assert answers["backups verify place"]["isComplete"]
    assert answers["restore place --data again"]["lost"] == []
    assert answers["diagnostics --output file.tar.gz"] == {"file": "file.tar.gz"}
    assert answers["user create alice"]["password"]
    assert answers["user import users.csv"]["made"] == ["bob"]
    assert answers["job run check"]["isWaiting"]
    assert answers["whoami"]["user"] == "system"


def test_a_job_is_followed_only_while_a_server_works(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "_HOUSEKEEPER_SECONDS", 0.0)
    follow = ["job", "run", "check", "--follow"]
    assert run(follow) == 1
    assert "no server works on data, so check would not end" in capsys.readouterr().err
    assert run(["job", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["jobs"]
    assert not any(one["isWaiting"] for one in listed), "the job was requested all the same"
    housekeeper = locks.try_housekeeper(data)
    assert housekeeper is not None

    def stop(seconds: float) -> None:
        monkeypatch.setattr(time, "sleep", pytest.fail)
        os.close(housekeeper)

    monkeypatch.setattr(time, "sleep", stop)  # of the first look at the job
    assert run(follow) == 1
    assert "no server works on data" in capsys.readouterr().err


def test_a_list_of_backups_shows_its_progress_and_all_its_columns(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backup", "place"]) == 0
    drawn = drawing(monkeypatch)
    described = backup._described

    def slow(one: Snapshot) -> dict[str, object]:
        until(lambda: "0 of 1" in drawn.getvalue())
        return described(one)

    monkeypatch.setattr(backup, "_described", slow)
    for options, is_whole in (([], False), (["--wide"], True)):
        table = terminal.opened(monkeypatch, 53)
        assert run(["backups", "list", "place", *options]) == 0
        assert ("changeNumber" in table.getvalue()) == is_whole, options


def test_sizes_have_one_form_and_tables_no_number_of_a_change(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["gc", "--wait", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "freed 0 bytes"
    assert run(["org", "create", "acme"]) == 0
    assert "it has no owner yet; add one: dtrfast team add acme" in capsys.readouterr().err
    assert run(["df", "acme"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split("\t")[-2:] == ["freedBytes", "isExact"]
    assert run(["df", "acme", "--json"]) == 0
    assert "changeNumber" in json.loads(capsys.readouterr().out)[0]
    terminal_output = terminal.opened(monkeypatch, 80)
    assert run(["gc", "--wait", "0"]) == 0
    assert terminal_output.getvalue().splitlines()[0] == "freed 0 B"


def test_damage_has_a_status_of_its_own(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ("backup place", "verify --deep", "backup place", "repair", "backups verify place")
    results = documents(capsys, *lines)
    assert next(results)[0] == exit_status.OK
    for path in (*(data / "packs").rglob("*"), *(data / "blobs").rglob("*")):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    status, document = next(results)
    assert (status, document["isSound"]) == (3, False)
    assert run(["verify", "--deep"]) == 3
    assert "are damaged" in capsys.readouterr().out
    for path in (*(data / "packs").rglob("*"), *(data / "blobs").rglob("*")):
        if path.is_file():
            path.unlink()
    status, document = next(results)
    assert (status, bool(document["missing"])) == (3, True)
    for path in (data / "index").iterdir():
        path.unlink()
    status, document = next(results)
    assert (status, [one["repository"] for one in document["lost"]]) == (3, ["acme/app"])
    for path in Path("place", "files").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    status, document = next(results)
    assert (status, document["isComplete"]) == (3, False)


def test_errors_with_json_are_one_document(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line, status, code in (
        ("user show ghost --json", 1, "NAME_UNKNOWN"),
        ("stats --data nowhere --json", 1, "UNKNOWN"),
        ("user list --url http://127.0.0.1:1 --json", 1, "UNAVAILABLE"),
        ("user --json nothing", 2, "USAGE"),
        ("gc --wait x --json", 2, "USAGE"),
    ):
        assert run(line.split()) == status, line
        out, errors = capsys.readouterr()
        assert out == "", line
        (error,) = json.loads(errors)["errors"]
        assert error["code"] == code, line
        assert error["message"], line
    assert run(["user", "show", "--", "--json"]) == 1  # --json is a name here
    assert capsys.readouterr().err.startswith("dtrfast: ")


def test_ctrl_c_is_130(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(upkeep, "reclaim", interrupt)
    assert run(["gc"]) == exit_status.INTERRUPTED == 130
