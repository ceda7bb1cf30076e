from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dtrfast", *arguments],
            env={**os.environ, "DTRFAST_STORE_DATA": str(tmp_path / "data"), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"the server ended without saying {pattern!r}")


def test_serve_answers_and_stops(start: Start, tmp_path: Path) -> None:
    process = start("serve", "--bind", "127.0.0.1:0", "--workers", "1")
    url = wait_for_line(process, r"listening on (\S+), data in \S+/data, 1 workers")[1]
    wait_for_line(process, "auth is none: any client may do everything")
    with urllib.request.urlopen(f"{url}/v2/", timeout=20) as response:
        assert response.status == 200
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert '"GET" "/v2/" 200' in output
    assert "Traceback" not in errors


def test_a_service_manager_passes_the_socket_and_hears_of_start_and_stop(tmp_path: Path) -> None:
    # The shell puts the socket where the protocol wants it, and keeps its process id.
    command = 'LISTEN_PID=$$ exec "$0" -m dtrfast serve --workers 2 3<&0 </dev/null'
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        process = subprocess.Popen(
            ["sh", "-c", command, sys.executable],
            env={
                **os.environ,
                "DTRFAST_STORE_DATA": str(tmp_path / "data"),
                "LISTEN_FDS": "1",
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
            },
            stdin=listening.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert wait_for_line(process, r"listening on (\S+), data")[1] == url
            assert manager.recv(100) == b"READY=1"
            with urllib.request.urlopen(f"{url}/v2/", timeout=60) as response:
                assert response.status == 200
            process.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert process.wait(20) == 0
            # The manager still has the socket, so clients wait for the next server.
            socket.create_connection(listening.getsockname(), timeout=5).close()
        finally:
            process.kill()
            process.communicate()


def test_serving_the_network_without_authentication_is_warned_of(start: Start) -> None:
    process = start("serve", "--bind", "0.0.0.0:0", "--workers", "1")
    wait_for_line(process, "WARNING .*ANY CLIENT THAT REACHES 0.0.0.0:0 MAY READ")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_too_few_descriptors_are_warned_of(tmp_path: Path) -> None:
    command = 'ulimit -n 2000 && exec "$0" -m dtrfast serve --bind 127.0.0.1:0 --workers 1'
    process = subprocess.Popen(
        ["sh", "-c", command, sys.executable],
        env={**os.environ, "DTRFAST_STORE_DATA": str(tmp_path / "data")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_line(process, "WARNING .*may open 2000 files .* raise the hard limit")
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize(
    "arguments",
    [
        ("hypercorn", "--bind", "127.0.0.1:0", "dtrfast.app:app"),
        ("uvicorn", "--port", "0", "dtrfast.app:app"),
    ],
)
def test_any_asgi_server_serves_the_application(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    pytest.importorskip(arguments[0])
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "DTRFAST_STORE_DATA": str(tmp_path / "data")},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = wait_for_line(process, r"[Rr]unning on (http://\S+)")[1]
        with urllib.request.urlopen(f"{url}/v2/", timeout=20) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert "Traceback" not in errors
        assert (tmp_path / "data" / "housekeeper.lock").exists()
    finally:
        process.kill()
        process.communicate()


def test_an_asgi_server_is_refused_beside_a_server(start: Start, tmp_path: Path) -> None:
    process = start("serve", "--bind", "127.0.0.1:0", "--workers", "1")
    wait_for_line(process, "listening on")
    result = subprocess.run(
        [sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:0", "dtrfast.app:app"],
        env={**os.environ, "DTRFAST_STORE_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "is in use by another server" in result.stderr


def test_what_lies_where_it_is_started_is_not_run(tmp_path: Path) -> None:
    """A folder that other users write to may have files with the names of dtrfast's modules."""
    for name in ("uvloop", "lmdb", "dtrfast"):
        (tmp_path / f"{name}.py").write_text("open('run', 'w').write('')\nraise SystemExit(9)\n")
    command = Path(sys.executable).with_name("dtrfast")
    process = subprocess.Popen(
        [command, "serve", "--bind", "127.0.0.1:0", "--workers", "1"],
        cwd=tmp_path,
        env={**os.environ, "DTRFAST_STORE_DATA": str(tmp_path / "data")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = wait_for_line(process, r"listening on (\S+),")[1]
        with urllib.request.urlopen(f"{url}/v2/", timeout=20) as response:
            assert response.status == 200
        assert not (tmp_path / "run").exists()
    finally:
        process.terminate()
        process.communicate()
