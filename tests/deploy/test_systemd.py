"""The service and its socket under a real systemd, which runs in a container."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.image import IMAGE, build_with
from tests.deploy.serving import get
from tests.e2e.programs import PROJECT, Program, ProgramFailed
from tests.e2e.stores import Store

pytestmark = pytest.mark.deploy

MACHINE = "localhost/machine:test"
# The image has the program where the unit expects it. The user is made by systemd-sysusers.
_CONTAINERFILE = f"""\
FROM {IMAGE}
USER root
RUN userdel dtrfast && apt-get update \\
    && apt-get install --yes --no-install-recommends systemd
COPY dtrfast.service dtrfast.socket /etc/systemd/system/
COPY dtrfast.sysusers.conf /etc/sysusers.d/dtrfast.conf
RUN systemd-sysusers
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/lib/systemd/systemd"]
CMD []
"""


def _free_low_port() -> int:
    """Return a free port that only root may open."""
    for port in range(700, 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise AssertionError("all ports from 700 to 1000 are in use")


@pytest.fixture(scope="module")
def machine(image_store: Store, new_folder: Callable[[str], Path]) -> Iterator[Program]:
    """A program that runs its arguments in a container in which systemd is the first process."""
    folder = new_folder("machine")
    (folder / "Containerfile").write_text(_CONTAINERFILE)
    for unit in (PROJECT / "deploy").glob("dtrfast.*"):
        (folder / unit.name).write_bytes(unit.read_bytes())
    build_with(image_store, f"--tag={MACHINE}", ".", folder=folder)
    podman = image_store.podman
    podman.run(
        *("run", "--detach", "--name=machine", "--network=host", "--systemd=always"),
        *("--privileged", "--cgroupns=private", "--no-healthcheck", MACHINE),
    )
    try:
        yield podman.called_with("exec", "machine")
    finally:
        podman.run("rm", "--force", "--time=10", "--volumes", "machine")


def _wait(ready: Callable[[], bool], machine: Program) -> None:
    deadline = time.monotonic() + 180
    while not ready():
        assert time.monotonic() < deadline, machine.run("journalctl", "--no-pager", "-n", "60")
        time.sleep(0.2)  # podman tells nothing of the start of a service


def _is_up(machine: Program) -> bool:
    try:
        return machine.run("systemctl", "is-system-running") in ("running", "degraded")
    except ProgramFailed as failure:
        return "degraded" in str(failure)


def test_the_service_runs_without_rights_and_its_socket_waits(machine: Program) -> None:
    _wait(lambda: _is_up(machine), machine)
    port = _free_low_port()
    # Several sockets of one address, as in the unit itself.
    sockets = "[Socket]\nListenStream=\n" + 3 * f"ListenStream={port}\n"
    limits = "[Service]\nCPUQuota=50%\nMemoryMax=700M\n"
    for unit, text in (("socket", sockets), ("service", limits)):
        folder = f"/etc/systemd/system/dtrfast.{unit}.d"
        machine.run("sh", "-c", f"mkdir {folder} && printf '%s' '{text}' > {folder}/own.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "dtrfast.socket", seconds=60)
    assert "inactive" in machine.run("sh", "-c", "systemctl is-active dtrfast.service || true")

    # The first connection starts the service, and waits for it.
    url = f"https://127.0.0.1:{port}"
    _wait(lambda: get(f"{url}/readyz")[0] == 200, machine)
    journal = machine.run("journalctl", "--no-pager", "--unit=dtrfast.service")
    assert f"the service manager listens on [::]:{port}; server.bind does not count" in journal
    assert "data in /var/lib/dtrfast, 1 workers" in journal
    assert "password  " in journal
    shown = machine.run("systemctl", "show", "dtrfast", "--property=MainPID,ActiveState,SubState")
    assert "ActiveState=active" in shown
    pid = re.search(r"MainPID=(\d+)", shown)
    assert pid is not None
    status = dict(re.findall(r"^(\w+):\t(.*)$", machine.run("cat", f"/proc/{pid[1]}/status"), re.M))
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert machine.run("stat", "-c", "%U %a", "/var/lib/dtrfast") == "dtrfast 700"

    # A connection during a restart is answered by the next server.
    with socket.create_connection(("127.0.0.1", port), timeout=180):
        machine.run("systemctl", "restart", "dtrfast.service", seconds=120)
        assert get(f"{url}/readyz")[0] == 200
    machine.run("systemctl", "stop", "dtrfast.socket", "dtrfast.service", seconds=120)
    shown = machine.run("systemctl", "show", "dtrfast", "--property=Result,ExecMainStatus")
    assert set(shown.split()) == {"Result=success", "ExecMainStatus=0"}
