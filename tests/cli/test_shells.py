"""Completion typed into real shells: bash, zsh and fish."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.cli import completion
from dtrfast.cli.app import app

# A line that is typed, and the line after the tabulator.
_LINES = {
    "dtrfast jo": "dtrfast job ",
    "dtrfast job r": "dtrfast job run ",
    "dtrfast job run check --fo": "dtrfast job run check --follow ",
    "dtrfast user list --config b": "dtrfast user list --config bfile ",
    "dtrfast user import 'a f": "dtrfast user import 'a file' ",
    "dtrfast backup a": "dtrfast backup a\\ dir/",
    "dtrfast backup --data a": "dtrfast backup --data a\\ dir/",
    "dtrfast user list --profile p": "dtrfast user list --profile prod ",
    "dtrfast logout s": "dtrfast logout staging ",
    "dtrfast serve --auth=m": "dtrfast serve --auth=managed ",
    "dtrfast access grant localhost:5000/app ad": "dtrfast access grant localhost:5000/app admin ",
    "dtrfast user show b": "dtrfast user show b",
}
_ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]|\x1b[=>]")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with files, profiles, and the scripts where the page says that they go."""
    place = tmp_path_factory.mktemp("shells")
    (place / "a dir").mkdir()
    for name in ("a file", "bfile"):
        (place / name).touch()
    profiles = place / "dtrfast" / "profiles"
    profiles.mkdir(parents=True)
    for name in ("prod", "staging"):
        (profiles / f"{name}.json").touch()
    root = completion.describe(app)
    (place / "functions").mkdir()
    (place / "functions" / "_dtrfast").write_text(completion.script(root, "zsh"))
    (place / "functions" / "bash").write_text(completion.script(root, "bash"))
    (place / "functions" / "fish").write_text(completion.script(root, "fish"))
    return place


class Shell:
    """An interactive shell on a terminal."""

    def __init__(self, command: list[str], place: Path) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(place)
            os.environ.update(TERM="xterm", PS1="> ", COLUMNS="200", XDG_CONFIG_HOME=str(place))
            os.execvp(command[0], command)

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self.pid, 0)

    def run(self, text: str) -> None:
        """Run a command, and wait until the shell has read it all."""
        os.write(self._terminal, f"{text}; echo re''ady\n".encode())
        self._read_until("ready\r\n")

    def complete(self, line: str, wanted: str) -> str:
        """Type a line and a tabulator, and return the line that the shell shows then."""
        os.write(self._terminal, f"{line}\t".encode())
        shown = self._read_until(wanted, seconds=3)
        os.write(self._terminal, b"\x15")  # erases the line
        self.run("true")
        return shown

    def _read_until(self, wanted: str, seconds: float = 30) -> str:
        """Return what the terminal shows, at the latest after some seconds."""
        shown, deadline = b"", time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._terminal], [], [], left)[0]:
                break
            shown += os.read(self._terminal, 65_536)
            # An editor of lines moves back to draw a word anew.
            text = _ESCAPES.sub("", shown.decode(errors="replace"))
            text = re.sub(r"[^\b]\x08|\x08", "", text)
            if wanted in text:
                return wanted
        return _ESCAPES.sub("", shown.decode(errors="replace"))


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, place: Path) -> Iterator[Shell]:
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    options = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[name]
    shell = Shell([name, *options], place)
    try:
        if name == "bash":
            shell.run("bind 'set bell-style none'; . functions/bash")
        else:
            shell.run("fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -D")
        yield shell
    finally:
        shell.close()


def test_typing_a_tabulator(shell: Shell) -> None:
    shown = {line: shell.complete(line, wanted) for line, wanted in _LINES.items()}
    assert shown == _LINES


def test_fish(place: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    cases = {
        "dtrfast jo": ["job"],
        "dtrfast job run check --fo": ["--follow"],
        "dtrfast user list --config b": ["bfile"],
        "dtrfast user import a": ["a dir/", "a file"],
        "dtrfast backup a": ["a dir/"],
        "dtrfast user list --profile p": ["prod"],
        "dtrfast logout ": ["prod", "staging"],
        "dtrfast serve --auth=": ["--auth=managed", "--auth=none"],
        "dtrfast access grant acme/app read": ["read-only", "read-write"],
        "dtrfast user show b": [],
        "dtrfast job --h": ["--help"],
    }
    calls = "\n".join(f"echo line; complete -C {line!r}" for line in cases)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source functions/fish\n{calls}"],
        cwd=place,
        env={**os.environ, "XDG_CONFIG_HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    blocks = done.stdout.split("line\n")[1:]
    found = [[line.split("\t")[0] for line in block.splitlines()] for block in blocks]
    assert dict(zip(cases, found, strict=True)) == cases


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_the_scripts_parse(place: Path, shell_name: str) -> None:
    if shutil.which(shell_name) is None:
        pytest.skip(f"{shell_name} is not installed")
    file = "functions/" + {"zsh": "_dtrfast"}.get(shell_name, shell_name)
    done = subprocess.run([shell_name, "-n", file], cwd=place, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
