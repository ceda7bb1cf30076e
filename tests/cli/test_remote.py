"""Commands on a server with a certificate of its own, as processes on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import certificates
from tests.e2e import managed as registries
from tests.e2e.managed import ManagedRegistry


@pytest.fixture(scope="module")
def managed() -> Iterator[ManagedRegistry]:
    with tempfile.TemporaryDirectory(prefix="dtrfast-cli-") as folder:
        certificate = certificates.make(Path(folder))
        with registries.running(Path(folder), tls=certificate) as server:
            yield server


def command(
    place: Path, *arguments: str, text: str = "", status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "dtrfast", *arguments],
        env={**os.environ, "XDG_CONFIG_HOME": str(place)},
        cwd=place,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_from_login_to_logout(managed: ManagedRegistry, tmp_path: Path) -> None:
    url, password = managed.registry.url, managed.secrets["admin"]
    assert managed.registry.tls is not None
    login = ("login", url, "--user", "admin", "--password-stdin")
    refused = command(tmp_path, *login, text=password, status=1)
    assert "is not trusted (self-signed certificate)" in refused.stderr
    assert "--ca-file FILE" in refused.stderr
    authority = tmp_path / "authority.pem"
    authority.write_bytes(managed.registry.tls.authority.read_bytes())
    signed_in = command(tmp_path, *login, "--ca-file", str(authority), text=password)
    assert "signed in to" in signed_in.stdout
    authority.unlink()  # the profile has its content
    who = json.loads(command(tmp_path, "whoami", "--json").stdout)
    assert (who["url"], who["user"], who["isAdmin"]) == (url, "admin", True)
    ran = command(tmp_path, "job", "run", "check", "--follow", "--json")
    assert json.loads(ran.stdout)["state"] == "done"
    assert f"working on {url} as admin" in ran.stderr
    command(tmp_path, "logout")
    tokens = managed.api("GET", "accounts/admin/tokens")["credentials"]
    assert [one["name"] for one in tokens if one["name"].startswith("dtrfast ")] == []


def test_ctrl_c_leaves_a_clean_terminal(managed: ManagedRegistry, tmp_path: Path) -> None:
    """The registry is stopped in the middle of a request, so the command shows that it waits."""
    made = managed.api("POST", "accounts/admin/tokens", {"name": "ctrl-c"})
    assert managed.registry.tls is not None
    arguments = ["user", "list", "--url", managed.registry.url]
    arguments += ["--ca-file", str(managed.registry.tls.authority)]
    workers = managed.registry.workers()
    for worker in workers:
        worker.suspend()
    try:
        pid, terminal = pty.fork()
        if pid == 0:
            # Tests that run in the background of a shell ignore this signal.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ.update(TERM="xterm", COLUMNS="80", DTRFAST_TOKEN=made["token"])
            os.execv(sys.executable, [sys.executable, "-m", "dtrfast", *arguments])
        shown = b""
        while b"0:0" not in shown:
            shown += os.read(terminal, 4096)
        os.kill(pid, signal.SIGINT)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        shown += os.read(terminal, 4096)
        os.close(terminal)
    finally:
        for worker in workers:
            worker.resume()
    assert status == 130
    assert shown.endswith(b"\r\x1b[K")
    assert b"Traceback" not in shown
