"""The units of systemd: their hardening, their sockets, and the service under a real systemd."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.deploy.serving import get
from tests.e2e.programs import PROJECT, find, wait_until
from tests.e2e.registry import free_port

UNITS = PROJECT / "deploy"
_ENDINGS = (".service", ".socket", "-backup.service", "-backup.timer")
# Exposure of 10 is a service without any protection.
_EXPOSURE_MAX = 2.0


def test_the_service_is_hardened(environment: Mapping[str, str]) -> None:
    analyze = find("systemd-analyze", environment)
    said = analyze.run("security", "--offline=true", str(UNITS / "dtrfast.service"))
    found = re.search(r"Overall exposure level for dtrfast\.service: (\d+\.\d)", said)
    assert found is not None
    assert float(found[1]) <= _EXPOSURE_MAX


def test_units_are_valid(environment: Mapping[str, str]) -> None:
    """The program of the unit is not installed here, which is all that systemd may complain of."""
    analyze = find("systemd-analyze", environment)
    done = subprocess.run(
        [analyze.path, "verify", *(UNITS / f"dtrfast{ending}" for ending in _ENDINGS)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "dtrfast" in line]
    missing = "Command /opt/dtrfast/bin/dtrfast is not executable: No such file"
    assert [line for line in complaints if missing not in line] == []


def test_a_program_of_systemd_passes_its_socket(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    activate = find("systemd-socket-activate", environment)
    port = free_port()
    settings = {
        "DTRFAST_STORE_DATA": str(tmp_path / "data"),
        "DTRFAST_AUTH_MODE": "none",
        "DTRFAST_SERVER_BIND": "127.0.0.1:1",  # no server may use it
        "PYTHONPATH": str(PROJECT),
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(activate.path, f"--listen=127.0.0.1:{port}"),
                *(f"--setenv={name}={value}" for name, value in settings.items()),
                *(sys.executable, "-m", "dtrfast", "serve", "--workers", "2"),
            ],
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: get(f"{url}/healthz")[0] == 200, process, "answer", seconds=120)
        assert (
            f"listens on 127.0.0.1:{port}; server.bind does not count"
            in (tmp_path / "log").read_text()
        )
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
