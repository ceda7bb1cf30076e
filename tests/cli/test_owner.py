"""Root leaves the data directory of another user alone, whose server could not open its files."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from dtrfast.cli.app import run
from dtrfast.config import StoreConfig
from dtrfast.errors import StartRefused
from dtrfast.machine import locks
from dtrfast.store.store import Store

_OTHER = 1  # the user daemon of each Debian


def _given_away(path: Path, user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let root look at a directory of another user, also if the tests run as another user."""
    if os.geteuid() == 0:
        os.chown(path, user, user)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # this process would keep the priority


@pytest.fixture
def data(tmp_path: Path) -> Path:
    Store.open(tmp_path / "data", StoreConfig()).close()
    return tmp_path / "data"


def _files(folder: Path) -> list[tuple[str, int, int]]:
    found = [(path, path.lstat()) for path in sorted(folder.rglob("*"))]
    return [(str(path), status.st_uid, status.st_mtime_ns) for path, status in found]


def test_each_command_refuses_and_writes_nothing(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, empty = tmp_path / "place", tmp_path / "empty"
    assert run(["backup", str(place), "--data", str(data)]) == 0
    empty.mkdir()
    for folder in (data, empty):
        _given_away(folder, _OTHER, monkeypatch)
    before = _files(tmp_path)
    for target, *arguments in (
        (data, "backup", str(place)),
        (data, "backup", str(tmp_path / "new")),
        (empty, "restore", str(place)),
        (data, "rollback"),
        (data, "seal"),
        (data, "repair"),
        (data, "verify"),
        (data, "gc"),
        (data, "stats"),
        (data, "df"),
        (data, "user", "reset-password", "admin"),
    ):
        capsys.readouterr()
        assert run([*arguments, "--data", str(target)]) == 1, arguments
        said = capsys.readouterr().err
        assert said.startswith(f"dtrfast: {target} belongs to the user "), said
    # `serve` and each ASGI server take this lock first.
    for target in (data, empty):
        with pytest.raises(StartRefused, match="belongs to the user"):
            locks.take_server(target)
    assert _files(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: only root can give a directory away")
def test_the_message_has_the_command_to_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for user, changed in (
        (_OTHER, "runuser -u daemon --"),
        # Such as the user of an image, which has no name here.
        (4_000_000, "setpriv --reuid=4000000 --regid=4000000 --clear-groups"),
    ):
        _given_away(data, user, monkeypatch)
        for argv, again in (
            ([sys.executable, "seal", "a b"], f"{sys.executable} seal 'a b'"),
            (["/not/executable", "seal"], shlex.join(sys.orig_argv)),  # as with `python -m`
        ):
            monkeypatch.setattr(sys, "argv", argv)
            with pytest.raises(StartRefused) as refused:
                locks.take_server(data)
            command = f"{changed} env DTRFAST_STORE_DATA={data} {again}"
            assert str(refused.value).endswith(f" run `{command}`"), user
