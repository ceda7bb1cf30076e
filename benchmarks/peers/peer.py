"""The interface of a peer: a server that can be started, filled and measured."""

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

# A registry is ready within one second, on a busy machine within a few.
_READY_SECONDS = 20.0
_ASK_AGAIN_SECONDS = 0.005


class Ability(Enum):
    """An ability of a peer. Cases that need others are not measured on the peer."""

    PULL = auto()  # blobs and manifests under their URLs
    RECEIVE = auto()  # uploads, even if it does not store them
    PUSH = auto()  # pushes to a registry
    START = auto()  # started by the benchmarks: new, empty, and with a known cost
    PLAIN = auto()
    TLS = auto()


# The abilities of a registry that was started elsewhere, except TLS or plain HTTP.
REGISTRY = frozenset({Ability.PULL, Ability.RECEIVE, Ability.PUSH, Ability.PLAIN, Ability.TLS})


class PeerUnavailable(Exception):
    """A peer is not installed, or does not start. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Start:
    """The conditions of a server's start: an empty folder, and a certificate for TLS.

    `workers` is for servers with several processes; with 0 the server chooses the number.
    """

    home: Path
    certificate: Certificate | None = None
    workers: int = 0

    @property
    def data(self) -> Path:
        """The folder of the server's data."""
        return self.home / "data"


class Server:
    """A running peer. `start` is None if it was started elsewhere."""

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
        """The folder of the server's data."""
        assert self.start is not None, "only what we started has a folder that we know"
        return self.start.data

    @property
    def processes(self) -> ProcessTree:
        """The processes of the server."""
        assert self._processes is not None, "only what we started has processes that we know"
        return self._processes

    @contextmanager
    def watched(self) -> Iterator[Cost]:
        """Measure the cost while the block runs. It stays zero if the server runs elsewhere."""
        if self._processes is None:
            yield Cost()
            return
        with self._processes.watched() as cost:
            yield cost

    def fill(self, held: Sequence[Holding]) -> None:
        """Fill the server with this content. Raises FillFailed."""
        self.peer.fill(self, held)

    def wait_ready(self) -> None:
        """Wait until the server answers a request. Raises PeerUnavailable."""
        give_up = time.monotonic() + _READY_SECONDS
        while not self.answers():
            ended = self._processes is not None and self._processes.ended
            if ended or time.monotonic() > give_up:
                said = self._processes.said() if self._processes else ""
                raise PeerUnavailable(f"{self.peer.name} does not answer. {said}")
            time.sleep(_ASK_AGAIN_SECONDS)

    def answers(self) -> bool:
        """Return True if the server answers a request now, with any status."""
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
        """Stop the server if it was started here. The folder stays."""
        if self._processes is not None:
            self._processes.stop()


class Peer(ABC):
    """A kind of server that is installed on this machine."""

    # A description of the data on disk when the server has acknowledged a blob.
    durability = "unknown"

    def __init__(self, name: str, abilities: frozenset[Ability]) -> None:
        self.name = name
        self.abilities = abilities

    @abstractmethod
    def version(self) -> str:
        """Return the version that the program reports."""

    @abstractmethod
    def start(self, start: Start) -> Server:
        """Start a server on a free loopback port. It may not answer yet."""

    def fill(self, server: Server, held: Sequence[Holding]) -> None:
        """Fill a running server, by pushes if it is a registry. Raises FillFailed."""
        holdings.push(server.address, held, tls=server.tls)


class Program(Peer):
    """A peer that is an installed program."""

    def __init__(self, name: str, program: Path, abilities: frozenset[Ability]) -> None:
        super().__init__(name, abilities | {Ability.START})
        self.program = program

    @abstractmethod
    def command(self, start: Start, port: int) -> Sequence[str]:
        """Return the command to run. Settings are written into `start.home`."""

    def environment(self) -> dict[str, str]:
        """Return the variables that are added to the environment."""
        return {}

    def start(self, start: Start) -> Server:
        start.data.mkdir(exist_ok=True)
        port = free_port()
        command = self.command(start, port)
        tree = ProcessTree(command, start.home / "log", self.environment())
        tls = start.certificate is not None
        return Server(self, ("127.0.0.1", port), tls=tls, processes=tree, start=start)


def find_program(name: str, folders: Sequence[Path]) -> Path | None:
    """Find an executable in these folders, in PATH, or in the `sbin` folders."""
    for folder in folders:
        if found := shutil.which(name, path=str(folder)):
            return Path(found)
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return Path(found) if found else None


def output_of(*command: str | Path) -> str:
    """Run a program and return its standard output and standard error."""
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
    """Return an unused TCP port of the loopback interface."""
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
