"""What a workload is made of: cases, the servers that they need, and the turns in which they run.

A workload is a module in `workloads/` with a function `cases()`. A case is measured in turns, one
server after the other, over and over; what happens in a turn is its own function of `Turn`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import load
from benchmarks.content.workshop import Workshop
from benchmarks.disk import Place
from benchmarks.load import Job, Measure, Request, Result
from benchmarks.peers.peer import Ability, Peer, Server, Start
from benchmarks.processes import Cost
from benchmarks.results import Sample, Unit


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: enough for figures that hold, or as much as fits into a minute."""

    rounds: int
    seconds: float  # of a turn that lasts a certain time
    push_blobs: int  # of push_blob_bytes each, in a turn
    push_blob_bytes: int
    pull_blob_bytes: int
    pull_bytes: int  # in a turn, on all connections together
    storm_jobs: int
    day_images: int
    builds: int
    has_large_store: bool  # where one is started


FULL = Effort(
    rounds=3,
    seconds=3.0,
    push_blobs=16,
    push_blob_bytes=64 << 20,
    pull_blob_bytes=1 << 30,
    pull_bytes=8 << 30,
    storm_jobs=50,
    day_images=50,
    builds=30,
    has_large_store=True,
)
QUICK = Effort(
    rounds=2,
    seconds=0.7,
    push_blobs=4,
    push_blob_bytes=32 << 20,
    pull_blob_bytes=256 << 20,
    pull_bytes=1 << 30,
    storm_jobs=10,
    day_images=5,
    builds=6,
    has_large_store=False,
)


class Skipped(Exception):
    """A server is passed by in a case; the message says why."""


class Stock:
    """What a server holds before it is measured. Equal stocks are stocked once."""

    def before(self, stage: Stage) -> None:
        """Prepare the empty folder of a server that does not run yet."""
        return

    def after(self, stage: Stage) -> None:
        """Fill the running server."""
        return


class Empty(Stock):
    """Nothing."""


EMPTY = Empty()


@dataclass(frozen=True, slots=True)
class Setup:
    """What a server must be. 0 workers are as many as it likes."""

    stock: Stock = EMPTY
    place: Place = Place.MEMORY
    tls: bool = False
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the report.

    A case that writes has a new server for each turn, so that what is pushed is new to it. One
    that is not `running` starts the server itself. `rounds` is for what comes out the same always.
    """

    name: str
    about: str
    unit: Unit
    measure: Callable[[Turn], Sample]
    needs: frozenset[Ability]
    setup: Setup = Setup()
    writes: bool = False
    running: bool = True
    quick: bool = False
    rounds: int | None = None

    def is_for(self, peer: Peer) -> bool:
        """Whether this peer can do it."""
        kind = Ability.TLS if self.setup.tls else Ability.PLAIN
        return self.needs | {kind} <= peer.abilities


class Stage:
    """A server for a setup, in a folder of its own."""

    def __init__(
        self, peer: Peer, setup: Setup, start: Start, workshop: Workshop, effort: Effort
    ) -> None:
        self.peer = peer
        self.effort = effort
        self.setup = setup
        self.start = start
        self.workshop = workshop
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The running server."""
        assert self._server is not None, "the stage was not opened"
        return self._server

    def open(self) -> Server:
        """Start the server; return when it answers. Raises PeerUnavailable."""
        self._server = self.peer.start(self.start)
        self._server.wait_ready()
        return self._server

    def warm(self) -> None:
        """Have every process of the server answer, as one that runs for a while has."""
        ping = Job((Request("GET", "/v2/", expect=(200, 401, 403, 404)),))
        load.run(self.server.address, [ping] * 64, connections=16, tls=self.setup.tls)

    def close(self) -> None:
        """End the server, if it runs."""
        if self._server is not None:
            self._server.stop()
            self._server = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One server's turn. Content of another `salt` is other content."""

    stage: Stage
    effort: Effort
    salt: int = 0

    @property
    def server(self) -> Server:
        return self.stage.server

    @property
    def workshop(self) -> Workshop:
        return self.stage.workshop

    def run(
        self,
        jobs: Sequence[Job],
        *,
        connections: int,
        seconds: float | None = None,
        repeat: bool = False,
    ) -> Measured:
        """Let the load client do these jobs, and watch what the server spends on them."""
        server = self.server
        with server.watched() as cost:
            result = load.run(
                server.address,
                jobs,
                connections=connections,
                seconds=seconds,
                repeat=repeat,
                tls=server.tls,
            )
        return Measured(result, cost, known=server.start is not None)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the client saw and what the server spent."""

    result: Result
    cost: Cost
    known: bool

    def sample(
        self,
        work: float,
        *,
        by: Measure | None = None,
        figures: dict[str, float] | None = None,
    ) -> Sample:
        """The turn's sample; its latencies are those of all steps, or of one label."""
        result, peak = self.result, self.cost.peak
        latency = (by or result.total).latency
        return Sample(
            work=work,
            seconds=result.seconds,
            p50=latency.p50,
            p90=latency.p90,
            p99=latency.p99,
            errors=result.total.errors,
            messages=result.errors,
            cpu_seconds=self.cost.cpu_seconds if self.known else None,
            client_cpu_seconds=result.cpu_seconds,
            resident_peak=peak.resident if self.known else None,
            anonymous_peak=peak.anonymous if self.known else None,
            figures=figures or {},
        )
