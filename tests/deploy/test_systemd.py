"""The recipes for systemd, as they are written, under a real systemd that runs in a container."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import recipes
from tests.deploy.image import IMAGE, build_with
from tests.deploy.serving import get
from tests.e2e.programs import PROJECT, Program, ProgramFailed
from tests.e2e.registry import free_port
from tests.e2e.stores import Store

pytestmark = pytest.mark.deploy

MACHINE = "localhost/machine:test"
# The image has the program where the unit expects it, and the units as in a clone.
_CONTAINERFILE = f"""\
FROM {IMAGE}
USER root
RUN userdel dtrfast && apt-get update \\
    && apt-get install --yes --no-install-recommends dbus iproute2 nftables systemd
COPY deploy /source/deploy
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/lib/systemd/systemd"]
CMD []
"""
_SERVICE = "A service of systemd"
_AS_USER = "runuser -u dtrfast -- env DTRFAST_STORE_DATA=/var/lib/dtrfast /opt/dtrfast/bin/dtrfast"


@dataclass(frozen=True, slots=True)
class Machine:
    """A container in which systemd is the first process. It shares the network of this machine."""

    program: Program
    port: int  # of the service

    def run(self, *command: str, seconds: float = 180) -> str:
        return self.program.run(*command, seconds=seconds)

    def follow(self, recipe: str) -> str:
        """Run a recipe as root in the clone, and return its output. The port is another one."""
        recipe = re.sub(r"\b5000\b", str(self.port), recipe)
        return self.run("sh", "-ec", f"cd /source\n{recipe}", seconds=300)

    def answers(self) -> bool:
        return get(f"https://127.0.0.1:{self.port}/readyz")[0] == 200

    def states(self) -> list[str]:
        """Return the states of the service and the socket."""
        command = "systemctl is-active dtrfast.service dtrfast.socket || true"
        return self.run("sh", "-c", command).split()

    def strangers(self, folder: str) -> str:
        """Return the files of a folder that do not belong to the service's user."""
        return self.run("find", folder, "!", "-user", "dtrfast")


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
def machine(image_store: Store, new_folder: Callable[[str], Path]) -> Iterator[Machine]:
    """A machine with the service of the recipe."""
    folder = new_folder("machine")
    (folder / "Containerfile").write_text(_CONTAINERFILE)
    (folder / "deploy").mkdir()
    for unit in (PROJECT / "deploy").glob("dtrfast*"):
        (folder / "deploy" / unit.name).write_bytes(unit.read_bytes())
    build_with(image_store, f"--tag={MACHINE}", ".", folder=folder)
    podman = image_store.podman
    podman.run(
        *("run", "--detach", "--name=machine", "--network=host", "--systemd=always"),
        *("--privileged", "--cgroupns=private", "--no-healthcheck"),
        # The image's variable, which would decide before a profile. A machine does not have it.
        *("--unsetenv=DTRFAST_STORE_DATA", MACHINE),
    )
    machine = Machine(podman.called_with("exec", "machine"), free_port())
    try:
        _wait(lambda: _is_up(machine), machine)
        recipe = recipes.replaced(recipes.block(_SERVICE, "sysusers"), HOST="registry.example")
        assert "password  " in machine.follow(recipe)
        _wait(machine.answers, machine)
        yield machine
    finally:
        podman.run("rm", "--force", "--time=10", "--volumes", "machine")


def _wait(ready: Callable[[], bool], machine: Machine) -> None:
    deadline = time.monotonic() + 180
    while not ready():
        assert time.monotonic() < deadline, machine.run("journalctl", "--no-pager", "-n", "60")
        time.sleep(0.2)  # podman tells nothing of the start of a service


def _is_up(machine: Machine) -> bool:
    try:
        return machine.run("systemctl", "is-system-running") in ("running", "degraded")
    except ProgramFailed as failure:
        return "degraded" in str(failure)


def test_the_service_has_no_rights_and_commands_run_as_its_user(machine: Machine) -> None:
    shown = machine.run("systemctl", "show", "dtrfast", "--property=MainPID,ActiveState,SubState")
    assert "ActiveState=active" in shown
    pid = re.search(r"MainPID=(\d+)", shown)
    assert pid is not None
    status = dict(re.findall(r"^(\w+):\t(.*)$", machine.run("cat", f"/proc/{pid[1]}/status"), re.M))
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert machine.run("stat", "-c", "%U %a", "/var/lib/dtrfast") == "dtrfast 700"

    assert "disk free" in machine.follow(recipes.block(_SERVICE, "dtrfast df"))
    # Root is refused, and told the command that works.
    with pytest.raises(ProgramFailed) as refused:
        machine.run("/opt/dtrfast/bin/dtrfast", "verify", "--data", "/var/lib/dtrfast")
    told = re.search(r"run `(.*)`", str(refused.value))
    assert told is not None
    assert told[1] == f"{_AS_USER} verify --data /var/lib/dtrfast"
    machine.run("sh", "-c", told[1])
    assert machine.strangers("/var/lib/dtrfast") == ""


def test_the_first_team_can_push(machine: Machine) -> None:
    """The commands of an administrator, on a registry with its own certificate."""
    (link,) = re.findall(r"^ln -s .*$", recipes.block("Packages", "ln -s"), re.M)
    machine.follow(link)
    journal = machine.run("journalctl", "--no-pager", "--unit=dtrfast.service")
    first = re.search(r"password +(\S+)", journal)
    assert first is not None
    trusted = "--ca-file /var/lib/dtrfast/tls/server.crt --password-stdin"
    host = f"127.0.0.1:{machine.port}"

    def login(password: str, name: str) -> str:
        return f"printf %s '{password}' | dtrfast login {host} {trusted} --user {name}"

    team = recipes.block("The first team", "dtrfast login")
    assert "dtrfast login registry.example " in team
    team = team.replace("dtrfast login registry.example", login(first[1], "admin"))
    told = machine.follow(recipes.replaced(team, maria="rita"))
    second = re.search(r"created the user rita with the password (\S+)", told)
    assert second is not None
    machine.follow(f"{login(second[1], 'rita')} --profile rita")
    machine.follow("dtrfast repo create acme/debian --profile rita")
    assert "read-write" in machine.follow("dtrfast access list acme/debian")


def test_sockets_wait_for_the_service(machine: Machine) -> None:
    low = _free_low_port()
    # Several sockets of one address, as in the unit itself.
    sockets = "[Socket]\nListenStream=\n" + 3 * f"ListenStream={low}\n"
    limits = "[Service]\nCPUQuota=50%\nMemoryMax=700M\n"
    for unit, text in (("socket", sockets), ("service", limits)):
        folder = f"/etc/systemd/system/dtrfast.{unit}.d"
        machine.run("sh", "-c", f"mkdir {folder} && printf '%s' '{text}' > {folder}/own.conf")
    machine.follow(recipes.block(_SERVICE, "dtrfast.socket"))
    # Challenges and the console name the address that clients use now.
    machine.run("grep", "EXTERNAL_URL=https://registry.example$", "/etc/dtrfast/environment")
    url = f"https://127.0.0.1:{low}"
    _wait(lambda: get(f"{url}/readyz")[0] == 200, machine)
    journal = machine.run("journalctl", "--no-pager", "--unit=dtrfast.service")
    assert f"the service manager listens on [::]:{low}; server.bind does not count" in journal
    assert "data in /var/lib/dtrfast, 1 workers" in journal

    # A connection during a restart is answered by the next server.
    with socket.create_connection(("127.0.0.1", low), timeout=180):
        machine.run("systemctl", "restart", "dtrfast.service")
        assert get(f"{url}/readyz")[0] == 200
    # The first connection starts a stopped service, and waits for it.
    machine.run("systemctl", "stop", "dtrfast.service")
    assert machine.states() == ["inactive", "active"]
    _wait(lambda: get(f"{url}/readyz")[0] == 200, machine)
    # This stops both, as the recipes do that change the data.
    machine.run("systemctl", "stop", "dtrfast.*")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", low))
    assert machine.states() == ["inactive", "inactive"]
    shown = machine.run("systemctl", "show", "dtrfast", "--property=Result,ExecMainStatus")
    assert set(shown.split()) == {"Result=success", "ExecMainStatus=0"}
    machine.run("systemctl", "start", "dtrfast")
    assert machine.states() == ["active", "active"]
    _wait(lambda: get(f"{url}/readyz")[0] == 200, machine)

    machine.run("systemctl", "stop", "dtrfast.*")
    machine.run("systemctl", "disable", "dtrfast.socket")
    machine.run("sh", "-c", "rm -r /etc/systemd/system/dtrfast.*.d && systemctl daemon-reload")
    machine.run("systemctl", "start", "dtrfast")


def test_backup_restore_and_the_way_back(machine: Machine) -> None:
    machine.run("sh", "-ec", f"{_AS_USER} user create maria")
    machine.follow(recipes.block("Backup by timer", "dtrfast-backup.timer"))
    machine.run("systemctl", "start", "dtrfast-backup")
    journal = machine.run("journalctl", "--no-pager", "--unit=dtrfast-backup")
    assert len(re.findall(r" files, \d+ of them new", journal)) == 2, journal
    assert len(re.findall(r"deleted 0 backups", journal)) == 2, journal
    assert machine.run("systemctl", "is-active", "dtrfast-backup.timer") == "active"
    assert machine.run("stat", "-c", "%U %a", "/etc/dtrfast/backup") == "root 600"
    assert machine.strangers("/mnt/backups") == ""
    assert "restored the backup" in machine.follow(recipes.block("Backup by timer", "tried"))

    machine.run("sh", "-ec", f"{_AS_USER} user create later")
    way_back = recipes.without(recipes.block("The way back", "pip"), "pip install")
    assert "the previous version can open" in machine.follow(way_back)
    _wait(machine.answers, machine)
    assert "later" in machine.run("sh", "-ec", f"{_AS_USER} user list")
    pair = "/var/lib/dtrfast/tls/server.crt"
    certificate = machine.run("cat", pair)
    machine.run("cp", "-r", "/var/lib/dtrfast/tls", "/source/tls")
    machine.follow(recipes.block("Restore", "dtrfast.old"))
    _wait(machine.answers, machine)
    assert machine.run("cat", pair) != certificate
    machine.follow(recipes.block("Restore", "tls/*"))
    _wait(machine.answers, machine)
    assert machine.run("cat", pair) == certificate
    bucket = recipes.block("Restore", "systemd-run").replace("s3://BUCKET/PREFIX", "/mnt/backups")
    bucket = bucket.replace("/var/lib/dtrfast", "/var/tmp/from-bucket")
    assert "restored the backup" in machine.follow(bucket)
    users = machine.run("sh", "-ec", f"{_AS_USER} user list")
    assert "maria" in users
    assert "later" not in users
    assert machine.strangers("/var/lib/dtrfast") == ""


# Networks: 10.0.3.5 is the host of the registry; 10.0.3.7 the proxy and 10.0.3.8 another machine,
# which are addresses of one peer; 10.88.0.2 is a container behind the host's published port.
_NETWORKS = """
for name in host peer inside; do ip netns add $name; ip -n $name link set lo up; done
ip link add wire netns host type veth peer name wire netns peer
ip link add bridge netns host type veth peer name eth0 netns inside
ip -n host address add 10.0.3.5/24 dev wire; ip -n host address add 10.88.0.1/16 dev bridge
ip -n peer address add 10.0.3.7/24 dev wire; ip -n peer address add 10.0.3.8/24 dev wire
ip -n inside address add 10.88.0.2/16 dev eth0
for end in host:wire host:bridge peer:wire inside:eth0; do
    ip -n ${end%:*} link set ${end#*:} up
done
ip -n inside route add default via 10.88.0.1
ip netns exec host sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
for name in host inside; do
    ip netns exec $name python3 -m http.server --bind 0.0.0.0 5000 >/dev/null 2>&1 &
done
"""
_PUBLISH = """
nft add table ip published
nft add chain ip published incoming '{ type nat hook prerouting priority dstnat; }'
nft add rule ip published incoming fib daddr type local tcp dport 5000 dnat to 10.88.0.2
"""
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[2], 5000), 1, (sys.argv[1], 0))"


def test_only_the_proxy_reaches_a_port_behind_the_firewall(machine: Machine) -> None:
    machine.run("sh", "-ec", _NETWORKS)

    def connects(network: str, source: str, target: str) -> bool:
        command = ("ip", "netns", "exec", network, "python3", "-c", _CONNECT, source, target)
        try:
            machine.run(*command)
        except ProgramFailed:
            return False
        return True

    _wait(lambda: connects("peer", "10.0.3.8", "10.0.3.5"), machine)
    within = "ip netns exec host sh -ec"
    machine.run("sh", "-ec", f'cd /source; {within} "$0"', recipes.block("Firewall", "nft"))
    for published in (False, True):
        if published:
            machine.run("sh", "-ec", f'{within} "$0"', _PUBLISH)
        assert connects("peer", "10.0.3.7", "10.0.3.5"), published
        assert not connects("peer", "10.0.3.8", "10.0.3.5"), published
        assert connects("host", "127.0.0.1", "127.0.0.1"), published
    # The file for the next boot has the same rules.
    machine.run("sh", "-ec", f"{within} 'nft -f /etc/nftables.conf'")
    assert not connects("peer", "10.0.3.8", "10.0.3.5")
    assert machine.run("systemctl", "is-enabled", "nftables") == "enabled"
