"""The health check of the image, against servers with each kind of connection."""

import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import certificates
from tests.e2e.programs import PROJECT, wait_until
from tests.e2e.registry import free_port

pytestmark = pytest.mark.deploy

# The shortest `timeoutSeconds` of the probes in the Helm chart.
PROBE_SECONDS = 5.0


def _check(settings: Mapping[str, str], *path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROJECT / "deploy/healthcheck.py", *path],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def _served(folder: Path, settings: Mapping[str, str], *options: str) -> Iterator[None]:
    """Run a server until the block ends; the block begins once the check succeeds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dtrfast", "serve", "--workers", "1", *options],
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until(lambda: _check(settings).returncode == 0, process, "health", seconds=120)
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_each_kind_of_connection_is_checked(new_folder: Callable[[str], Path]) -> None:
    pair = certificates.make(new_folder("certificate"))
    tls = {"DTRFAST_SERVER_TLS_CERT": str(pair.chain), "DTRFAST_SERVER_TLS_KEY": str(pair.key)}
    for name, settings, options in (
        ("tls", {}, ()),
        ("plain", {"DTRFAST_SERVER_TLS": "off"}, ()),
        ("plain by option", {}, ("--tls", "off")),
        ("proxy", {"DTRFAST_SERVER_PROXY_PROTOCOL": "required"}, ()),
        ("client certificates", {**tls, "DTRFAST_SERVER_TLS_CLIENT_CA": str(pair.chain)}, ()),
    ):
        given = {
            **settings,
            "DTRFAST_STORE_DATA": str(new_folder("data")),
            "DTRFAST_SERVER_BIND": f"0.0.0.0:{free_port()}",
        }
        with _served(new_folder("served"), given, *options):
            assert _check(given, "/readyz").returncode == 0, name
            if "TLS_CLIENT_CA" not in str(given):  # then no path is asked
                assert _check(given, "/no/such").returncode == 1, name
        stopped = _check(given)
        assert (stopped.returncode, "refused" in stopped.stdout) == (1, True), name


def test_a_server_that_hangs_fails_before_the_probes_give_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(PROJECT / "deploy/healthcheck.py"))["main"]
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        monkeypatch.setenv("DTRFAST_SERVER_BIND", f"127.0.0.1:{hanging.getsockname()[1]}")
        began = time.monotonic()
        assert main() == 1
        assert time.monotonic() - began < PROBE_SECONDS
    assert capsys.readouterr().out.count("timed out") == 1
