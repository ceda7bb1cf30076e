"""What a peer is: a server that can be started, filled and measured."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from benchmarks import holdings
from benchmarks.holdings import Holding
from benchmarks.processes import Cost, ProcessTree

# A registry answers within one second, on a busy machine within a few.
_READY_SECONDS = 20.0
_ASK_AGAIN_SECONDS = 0.005


class Ability(Enum):
    """What a peer can be asked for; a workload that needs more passes it by."""

    PULL = auto()  # blobs and manifests under their URLs
    RECEIVE = auto()  # uploads, which it need not keep
    PUSH = auto()  # all that a registry does
    START = auto()  # it is started by us: new and empty whenever we like, its costs in sight
    PLAIN = auto()
    TLS = auto()


# Of a registry that is started as somebody wants it.
REGISTRY = frozenset({Ability.PULL, Ability.RECEIVE, Ability.PUSH, Ability.PLAIN, Ability.TLS})


class PeerUnavailable(Exception):
    """A peer is not on this machine, or does not start; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Start:
    """How a server is started: in this empty folder, with a certificate for TLS.

    `workers` is for servers of several processes; 0 leaves the number to them.
    """

    home: Path
    certificate: Certificate | None = None
    workers: int = 0

    @property
    def data(self) -> Path:
        """Where the server keeps what it is sent."""
        return self.home / "data"


class Server:
    """A running peer. `start` is None if somebody else started it."""

    def __init__(
        self,
        peer: Peer,
        address: tuple[str, int],
        *,
        tls: bool,
        processes: ProcessTree | None = None,
        start: Start | None = None,
    ) -> None:
        self.peer = peer
        self.address = address
        self.tls = tls
        self.start = start
        self._processes = processes

    @property
    def data(self) -> Path:
        """Where it keeps what it is sent."""
        assert self.start is not None, "only what we started has a folder that we know"
        return self.start.data

    @property
    def processes(self) -> ProcessTree:
        """What runs."""
        assert self._processes is not None, "only what we started has processes that we know"
        return self._processes

    @contextmanager
    def watched(self) -> Iterator[Cost]:
        """Measure what it costs while the block runs; nothing is known of what we did not start."""
        if self._processes is None:
            yield Cost()
            return
        with self._processes.watched() as cost:
            yield cost

    def fill(self, held: Sequence[Holding]) -> None:
        """Let it hold these. Raises FillFailed."""
        self.peer.fill(self, held)

    def wait_ready(self) -> None:
        """Return when it answers a request. Raises PeerUnavailable."""
        give_up = time.monotonic() + _READY_SECONDS
        while not self.answers():
            ended = self._processes is not None and self._processes.ended
            if ended or time.monotonic() > give_up:
                said = self._processes.said() if self._processes else ""
                raise PeerUnavailable(f"{self.peer.name} does not answer. {said}")
            time.sleep(_ASK_AGAIN_SECONDS)

    def answers(self) -> bool:
        """Whether it answers a request now, whatever the status."""
        connection = _connection(self.address, tls=self.tls)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def stop(self) -> None:
        """End what we started; the folder stays."""
        if self._processes is not None:
            self._processes.stop()


class Peer(ABC):
    """A kind of server, found on this machine."""

    # What is on disk when it has acknowledged a blob.
    durability = "unknown"

    def __init__(self, name: str, abilities: frozenset[Ability]) -> None:
        self.name = name
        self.abilities = abilities

    @abstractmethod
    def version(self) -> str:
        """What it says it is."""

    @abstractmethod
    def start(self, start: Start) -> Server:
        """A server of its own on a free loopback port, which may not answer yet."""

    def fill(self, server: Server, held: Sequence[Holding]) -> None:
        """Let a running server hold these: a registry is pushed to. Raises FillFailed."""
        holdings.push(server.address, held, tls=server.tls)


class Program(Peer):
    """A peer that is a program: most of them."""

    def __init__(self, name: str, program: Path, abilities: frozenset[Ability]) -> None:
        super().__init__(name, abilities | {Ability.START})
        self.program = program

    @abstractmethod
    def command(self, start: Start, port: int) -> Sequence[str]:
        """What to run; settings are written into `start.home`."""

    def environment(self) -> dict[str, str]:
        """What is added to ours."""
        return {}

    def start(self, start: Start) -> Server:
        start.data.mkdir(exist_ok=True)
        port = free_port()
        command = self.command(start, port)
        tree = ProcessTree(command, start.home / "log", self.environment())
        tls = start.certificate is not None
        return Server(self, ("127.0.0.1", port), tls=tls, processes=tree, start=start)


def find_program(name: str, folders: Sequence[Path]) -> Path | None:
    """An executable in these folders, or where a shell and an administrator have theirs."""
    for folder in folders:
        if found := shutil.which(name, path=str(folder)):
            return Path(found)
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return Path(found) if found else None


def output_of(*command: str | Path) -> str:
    """What a program prints, on either of its outputs."""
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _connection(address: tuple[str, int], *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(*address, timeout=5)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(*address, timeout=5, context=context)
