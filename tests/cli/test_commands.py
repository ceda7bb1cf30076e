from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dtrfast
from dtrfast.cli.figures import human
from dtrfast.config import StoreConfig
from dtrfast.machine import locks
from dtrfast.store.store import Store
from tests.cli.conftest import Command

pytestmark = pytest.mark.slow


def test_version(command: Command) -> None:
    assert command("version").stdout == f"dtrfast {dtrfast.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["version"], ["repo", "list", "--url", "http://127.0.0.1:9"]]
)
def test_a_command_without_a_data_directory_loads_no_server(arguments: list[str]) -> None:
    code = (
        f"import sys; from dtrfast.cli.app import run; run({arguments}); "
        "print({'starlette', 'lmdb', 'dtrfast.registry', 'dtrfast.api'} & {*sys.modules})"
    )
    variables = {**os.environ, "DTRFAST_TOKEN": "t"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "set()"


def test_config_show_prints_toml_with_origins(command: Command, tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("[log]\naccess = false\n")
    result = command("config", "show", "--config", "d.toml", DTRFAST_SERVER_WORKERS="3")
    settings = tomllib.loads(result.stdout)
    assert settings["server"]["workers"] == 3
    assert settings["log"]["access"] is False
    assert "access = false  # d.toml:2\n" in result.stdout
    assert "workers = 3  # DTRFAST_SERVER_WORKERS\n" in result.stdout


def test_config_check(command: Command, tmp_path: Path) -> None:
    assert command("config", "check").returncode == 0
    (tmp_path / "d.toml").write_text("[log]\nformt = 1\n")
    result = command("config", "check", "--config", "d.toml")
    assert result.returncode == 1
    assert result.stderr.startswith("dtrfast: d.toml:2: unknown setting log.formt")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("serve", "--bind", "nowhere"), "server.bind: expected HOST:PORT"),
        (("serve", "--bind", "192.0.2.1:1"), "cannot listen on 192.0.2.1:1"),
        (("serve", "--auth", "basic"), "--auth: auth.mode: expected one of managed, none"),
        (("serve", "--data", "/proc/x"), "the data directory /proc/x cannot be used"),
        (("serve", "--data", ""), "--data: store.data: expected a path"),
        (("serve", "--bind", "a..b:5000"), "cannot listen on a..b:5000: not a host name"),
        (("stats", "--data", "nowhere"), "nowhere is not a data directory"),
        (("stats", "--data", "."), ". is not a data directory"),
    ],
)
def test_a_refused_start_is_one_message(
    command: Command, arguments: tuple[str, ...], expected: str
) -> None:
    result = command(*arguments)
    assert result.returncode == 1
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_locked_directory_is_refused(command: Command, tmp_path: Path) -> None:
    locks.take_server(tmp_path / "data")
    result = command("serve", "--bind", "127.0.0.1:0")
    assert result.returncode == 1
    assert "data is in use by another server" in result.stderr


def test_python_without_assertions_is_refused(command: Command) -> None:
    result = command("version", flags=("-O",))
    assert result.returncode == 1
    assert "Python runs with -O" in result.stderr


def test_a_wrong_option_is_explained(command: Command) -> None:
    result = command("serve", "--prot", "1")
    assert result.returncode == 2
    assert "--prot" in result.stderr


def test_stats(command: Command, tmp_path: Path) -> None:
    Store.open(tmp_path / "data", StoreConfig()).close()
    numbers = json.loads(command("stats", "--json").stdout)
    assert numbers["repositories"] == numbers["logical_bytes"] == 0
    assert numbers["index_bytes"] > 0
    assert "logical" in command("stats").stdout


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1_500_000, "1.43 MiB"), (1 << 50, "1024 TiB")],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert human(size) == text
