"""Completion in bash, in one process of it. tests/cli/test_shells.py types into real shells."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from dtrfast.cli import completion
from dtrfast.cli.app import app
from dtrfast.cli.completion import Command, Shell
from dtrfast.registry import job_records

# Prints the completions of a line, whose last word is the one to complete.
_COMPLETE = """
complete_line() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _dtrfast
    echo "${COMPREPLY[*]}"
}
"""


@pytest.fixture(scope="module")
def root() -> Command:
    return completion.describe(app)


@pytest.fixture(scope="module")
def script(root: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bash") / "dtrfast"
    path.write_text(completion.script(root, "bash"))
    return path


def completed(script: Path, lines: list[list[str]], **variables: str) -> list[list[str]]:
    """Return the completions of each line."""
    calls = "\n".join(f"complete_line dtrfast {shlex.join(line)}" for line in lines)
    text = f". {script}\n{_COMPLETE}\n{calls}\n"
    done = subprocess.run(
        ["bash", "--norc", "-c", text],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


def test_every_command_and_every_option(root: Command, script: Path) -> None:
    commands = list(root.walk())
    assert len(commands) > 60
    found = completed(script, [[*command.path, ""] for command in commands if command.children])
    for command, words in zip((c for c in commands if c.children), found, strict=True):
        assert words == [child.path[-1] for child in command.children], command.path
    found = completed(script, [[*command.path, "-"] for command in commands])
    for command, words in zip(commands, found, strict=True):
        assert words == [name for option in command.options for name in option.names], command.path


def test_words_in_the_middle_of_a_line(script: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dtrfast" / "profiles"
    folder.mkdir(parents=True)
    for name in ("prod", "staging"):
        (folder / f"{name}.json").touch()
    cases = {
        # Names of commands that are arguments of another command.
        "job run check --fo": ["--follow"],
        "repo tags list --js": ["--json"],
        # Options with and without a value stand anywhere.
        "repo update --public acme/app --des": ["--description"],
        "user list --filter user --wi": ["--wide"],
        "access grant --user alice acme/app read-": ["read-only", "read-write"],
        # bash splits words at = and :.
        "access grant localhost : 5000/app a": ["admin"],
        "serve --auth = m": ["managed"],
        "serve --auth =": ["managed", "none"],
        "access grant --user = alice acme/app ad": ["admin"],
        "job run ": list(job_records.TITLES),
        "completion z": ["zsh"],
        "logout ": ["prod", "staging"],
        "user list --profile s": ["staging"],
        "user nothing ": [],
        "user show ": [],
        "nothing --": ["--help"],
    }
    lines = [line.split(" ") for line in cases]
    found = completed(script, lines, XDG_CONFIG_HOME=str(tmp_path))
    assert dict(zip(cases, found, strict=True)) == cases
    empty = completed(script, [["logout", ""]], XDG_CONFIG_HOME=str(tmp_path / "none"))
    assert empty == [[]]


def test_the_scripts_of_all_shells_are_whole(root: Command) -> None:
    for command in root.walk():
        assert command.help, command.path
        for one in (*command.options, *command.positionals):
            assert one.help, (command.path, one.names)
            assert "\n" not in one.help, (command.path, one.names)
    shells: tuple[Shell, ...] = ("bash", "zsh", "fish")
    for shell in shells:
        text = completion.script(root, shell)
        assert not re.search(r"@[A-Z]+@", text), shell
        for command in root.walk():
            assert not command.path or command.path[-1] in text, (shell, command.path)
